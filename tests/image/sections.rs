// SPDX-License-Identifier: Apache-2.0
//! A section `[dataplane NAME]` that does not count for a while takes nothing back.

use std::fs;

use super::{Image, same};

const UNIT: &str = "usr/lib/systemd/system/storage.service";
const SECTIONS: &str = "[accord]\nmodes = dpdkvhostuserclient\n\
    [dataplane storage]\ndriver = declared\nunit = storage.service\nsockets = /run/storage/disks\n\
    [dataplane cards]\ndriver = declared\nunit = storage.service\nsockets = /run/cards\nmade-by = qemu\n";

/// What apply creates for the two.
const MADE: [&str; 4] = [
    "etc/systemd/system/storage.service.d/50-vhost-accord-declared.conf",
    "etc/tmpfiles.d/vhost-accord-storage.conf",
    "etc/tmpfiles.d/vhost-accord-cards.conf",
    "run/storage/disks",
];

#[test]
#[ignore = "needs root: make test"]
fn a_section_that_does_not_count_keeps_what_was_made_for_it() {
    let image = Image::debian();
    image.write(
        "usr/lib/systemd/system/storage.service",
        "[Service]\nUser=storage\nGroup=disks\nExecStart=/x\n",
    );
    image.write("etc/passwd", &format!("{}storage:x:700:700::/:/bin/false\n", image.read("etc/passwd")));
    image.write("etc/group", &format!("{}storage:x:700:\ndisks:x:701:\n", image.read("etc/group")));
    let configuration = |text: &str| image.write("etc/vhost-accord/vhost-accord.conf", text);
    configuration(SECTIONS);
    let stock = image.tree();
    image.expect("apply", 0);
    let made = image.tree();
    for path in MADE {
        assert!(image.path(path).exists(), "{path}");
    }

    let (passwd, group, unit) = (image.read("etc/passwd"), image.read("etc/group"), image.read(UNIT));
    let back = || {
        image.write("etc/passwd", &passwd);
        image.write("etc/group", &group);
        image.write(UNIT, &unit);
        configuration(SECTIONS);
    };
    let away: [(&str, &dyn Fn(), &str); 4] = [
        ("dataplane-unit-missing", &|| fs::remove_file(image.path(UNIT)).unwrap(), "there is no such unit"),
        (
            "dataplane-user-missing",
            &|| image.write("etc/passwd", &passwd.replace("storage:x:700:700::/:/bin/false\n", "")),
            "the user 'storage', which does not exist",
        ),
        (
            "group-missing",
            &|| image.write("etc/group", &group.replace("disks:x:701:\n", "")),
            "the group 'disks', which does not exist",
        ),
        // A mistake in the section itself.
        (
            "dataplane-directory-taken",
            &|| configuration(&SECTIONS.replace("/run/storage/disks", "/run/openvswitch/a")),
            "Open vSwitch has this directory",
        ),
    ];
    for (id, take_away, why) in away {
        take_away();
        let before = image.tree();
        let plan = image.expect("plan", 0);
        let told =
            plan.lines().find(|line| line.starts_with("[dataplane storage] does not count: ")).unwrap();
        assert!(told.contains(why) && told.contains("; what apply created for it stays; fix: "), "{told}");
        let check = image.expect("check", 2);
        let subjects: Vec<_> = check.lines().filter(|line| line.starts_with(id)).collect();
        let sections = if id == "dataplane-directory-taken" { 1 } else { 2 };
        assert_eq!(subjects.len(), sections, "{check}");
        let findings = check.lines().filter(|line| line.starts_with("    fix: ")).count();
        assert_eq!(findings, sections, "{check}");
        image.expect("apply", 2);
        same(&before, &image.tree());
        back();
        assert_eq!(image.expect("apply", 0), "Nothing to change.\n", "{id}");
        same(&made, &image.tree());
    }

    // One goes from the configuration while the other is away: it alone is taken back.
    fs::remove_file(image.path(UNIT)).unwrap();
    let kept = SECTIONS
        .replace("[dataplane storage]", "#")
        .split_once("[dataplane cards]")
        .map(|(_, cards)| format!("[accord]\nmodes = dpdkvhostuserclient\n[dataplane cards]{cards}"));
    configuration(&kept.unwrap());
    image.expect("apply", 2);
    for path in MADE {
        assert_eq!(image.path(path).exists(), path.contains("cards"), "{path}");
    }
    back();
    image.expect("revert", 0);
    same(&stock, &image.tree());
}
