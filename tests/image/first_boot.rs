// SPDX-License-Identifier: Apache-2.0
//! The first boot of a node from an image whose `/etc` is merged into that of the node, with a `/var` of its own: systemd's own
//! programs do what the image says.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use super::Image;

/// What systemd does at a boot before it starts any service of the node.
fn boot(node: &Image) {
    for program in ["systemd-sysusers", "systemd-tmpfiles --create --prefix=/var"] {
        let mut words = program.split(' ');
        let output = Command::new(words.next().unwrap()).args(words).arg("--root").arg(node.root()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_node_with_other_numbers_agrees_at_its_first_boot() {
    let image = Image::debian();
    let before = image.expect("plan", 2);
    assert!(!before.contains("left to the first boot"), "its /etc is that of the node: {before}");
    symlink("sysroot/ostree", image.path("ostree")).unwrap();
    image.expect("apply", 0);
    let plan = image.expect("plan", 0);
    for line in [
        "left to the first boot: group hugetlbfs (/usr/lib/sysusers.d/vhost-accord.conf)",
        "left to the first boot: owner of /var/lib/vhost_sockets (/usr/lib/tmpfiles.d/vhost-accord-image.conf)",
    ] {
        assert!(plan.lines().any(|found| found == line), "{line}: {plan}");
    }
    let accounts = image.read("usr/lib/sysusers.d/vhost-accord.conf");
    assert!(accounts.ends_with("\ng hugetlbfs 42477\n"), "{accounts}");
    let directories = image.read("usr/lib/tmpfiles.d/vhost-accord-image.conf");
    assert!(
        directories.ends_with("\nd /var/lib/vhost_sockets 2775 libvirt-qemu hugetlbfs -\n"),
        "{directories}"
    );

    // The node has accounts of its own, where QEMU's user has another number, and an empty /var.
    let kept = |name: &str, old: &str, new: &str| {
        let text = image.read(name);
        let own: Vec<&str> = text.lines().filter(|line| !line.starts_with("hugetlbfs:")).collect();
        image.write(name, &format!("{}\n", own.join("\n").replace(old, new)));
    };
    kept("etc/group", "x:64055:", "x:971:");
    kept("etc/gshadow", "x", "x");
    kept("etc/passwd", "x:64055:", "x:972:");
    fs::remove_dir_all(image.path("var")).unwrap();
    boot(&image);
    assert!(image.read("etc/group").contains("\nhugetlbfs:x:42477:"));
    let directory = fs::metadata(image.path("var/lib/vhost_sockets")).unwrap();
    assert_eq!((directory.mode() & 0o7777, directory.uid(), directory.gid()), (0o2775, 972, 42477));
    boot(&image);
}

/// `/etc` of a tree that ostree has committed is elsewhere: it is neither taken for an empty one nor created.
#[test]
#[ignore = "needs root: make test"]
fn a_committed_tree_is_left_alone() {
    let image = Image::debian();
    symlink("sysroot/ostree", image.path("ostree")).unwrap();
    fs::rename(image.path("etc"), image.path("usr/etc")).unwrap();
    for command in ["plan", "apply", "check", "revert"] {
        let output = image.run(command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains("it has /usr/etc and no /etc"),
            "{command}: {said}"
        );
    }
    assert!(!image.path("etc").exists() && !image.path("usr/lib/sysusers.d").exists());
    // A deployment has both.
    let copied = Command::new("cp").arg("-a").arg(image.path("usr/etc")).arg(image.path("etc")).status();
    assert!(copied.unwrap().success());
    assert!(image.expect("plan", 2).contains("left to the first boot: group hugetlbfs"));
}

/// By a stand-in for the program.
#[test]
fn greenboot_is_told_of_what_is_broken_alone() {
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("vhost-accord");
    for (verdict, expected) in [(0, 0), (1, 0), (2, 1)] {
        fs::write(&program, format!("#!/bin/sh\n[ \"$*\" = check ] && exit {verdict}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/greenboot/40_vhost_accord.sh");
        let path = format!("{}:/usr/bin:/bin", place.path().display());
        let status = Command::new(script).env("PATH", path).status().unwrap();
        assert_eq!(status.code(), Some(expected), "check ends with {verdict}");
    }
}
