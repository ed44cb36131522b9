// SPDX-License-Identifier: Apache-2.0
use std::path::Path;

use super::keys::keys;
use super::*;

fn read(text: &str) -> Result<Config> {
    let mut raw = Raw::defaults();
    raw.overlay(Path::new("/etc/vhost-accord/vhost-accord.conf"), text)?;
    Config::from_raw(&raw)
}

#[test]
fn defaults_are_valid_and_documented() {
    let config = Config::from_raw(&Raw::defaults()).unwrap();
    assert_eq!(config.gid, 42477);
    assert_eq!((config.modes.as_slice(), config.looks), (&[PortType::Dpdkvhostuserclient][..], true));
    assert_eq!(config.hook.incoming, None);
    assert!(keys().all(|key| !key.meaning.is_empty()));
    let names: std::collections::BTreeSet<&str> = keys().map(|key| key.name).collect();
    assert_eq!(names.len(), keys().count(), "a name twice");
}

fn all(raw: &Raw) -> impl Iterator<Item = (&'static str, &Effective)> {
    SECTIONS.iter().flat_map(|section| raw.of(section))
}

#[test]
fn a_later_file_wins_and_the_origin_is_kept() {
    let mut raw = Raw::defaults();
    raw.overlay(Path::new("/a"), "[accord]\ngid = 7\ngroup = one\n").unwrap();
    raw.overlay(Path::new("/b"), "# comment\n[accord]\n\ngid = 8\n").unwrap();
    let values: Vec<String> = all(&raw).map(|(name, e)| format!("{name}={} {}", e.value, e.origin)).collect();
    assert!(values.contains(&"gid=8 /b:4".to_string()), "{values:?}");
    assert!(values.contains(&"group=one /a:3".to_string()), "{values:?}");
}

#[test]
fn a_user_with_a_group_is_one_value() {
    let config = read("[accord]\ndataplane-user = openvswitch:hugetlbfs\n").unwrap();
    let expected = DataplaneUser::Named("openvswitch".into(), Some("hugetlbfs".into()));
    assert_eq!(config.dataplane_user, expected);
}

#[test]
fn bad_input_gets_one_line_with_the_place_and_what_was_expected() {
    let cases = [
        ("[accord]\nqemu_group = keep\n", ":2: unknown key 'qemu_group'; did you mean 'qemu-group'?"),
        ("[accord]\n\ngid = many\n", ":3: gid = many: expected a group number"),
        ("[accord]\ngid = 0\n", ":2: gid = 0: expected a group number"),
        (
            "[accord]\nsocket-directory = var/lib\n",
            ":2: socket-directory = var/lib: expected an absolute path",
        ),
        ("[accord]\nsocket-directory = /var/lib/../x\n", "expected a clean path"),
        ("[accord]\nsocket-directory = /var\n", "expected a directory of its own"),
        ("[accord]\ngroup = Huge\n", "expected an account name"),
        (
            "[accord]\nmodes = server\n",
            "expected look, or dpdkvhostuserclient or dpdkvhostuser, not 'server'",
        ),
        ("[accord]\nmodes =\n", ":2: modes has no value"),
        ("[accord]\nmodes\n", ":2: modes has no value"),
        ("\n[acord]\ngid = 1\n", ":2: unknown section [acord]"),
        ("gid = 1\n", "unknown section"),
        ("[accord]\nauto-apply = maybe\n", ":2: auto-apply = maybe: expected yes or no"),
        ("[accord]\nmanage = everything\n", "expected all, or some of accounts"),
        ("[accord]\nqemu-ids = qemu:hugetlbfs\n", "expected look, or UID:GID in numbers"),
        ("[accord]\nqemu-ids = 0:0\n", "and not root's"),
        ("[accord]\ndataplane-user = root:qemu\n", "with a user that is not root"),
        ("[accord]\nincoming = keep\n", ":2: 'incoming' belongs below [convert], not [accord]"),
        ("[accord]\ngid = 7\n[convert]\n\nmodes = dpdkvhostuser\n", ":5: 'modes' belongs below [accord]"),
        ("[convert]\nincomming = keep\n", ":2: unknown key 'incomming'; did you mean 'incoming'?"),
        ("[convert]\nincoming = client\n", ":2: incoming = client: expected keep, dpdkvhostuserclient"),
        (
            "[accord]\nmodes = dpdkvhostuserclient\n[convert]\nincoming = dpdkvhostuser\n",
            ":4: incoming = dpdkvhostuser: expected one of modes",
        ),
        (
            "[converts]\nincoming = keep\n",
            ":1: unknown section [converts]; the sections are [accord], [convert], [watch] and [dataplane NAME]",
        ),
    ];
    for (text, expected) in cases {
        let error = format!("{:#}", read(text).unwrap_err());
        assert!(error.contains(expected), "{text:?} gave {error:?}");
        assert!(error.starts_with("/etc/vhost-accord/vhost-accord.conf"), "{error:?}");
        assert_eq!(error.lines().count(), 1, "{error:?}");
    }
}

#[test]
fn a_socket_of_neutron_fits_beneath_the_longest_directory() {
    let fits = format!("/{}/{}", "a".repeat(40), "b".repeat(50));
    assert_eq!(fits.len() + 1 + 14, 107);
    read(&format!("[accord]\nsocket-directory = {fits}\n")).unwrap();
    read(&format!("[accord]\nsocket-directory = {fits}b\n")).unwrap_err();
}

#[test]
fn the_packaged_file_sets_nothing_and_uncommented_sets_the_defaults() {
    let mut raw = Raw::defaults();
    raw.overlay(Path::new("/packaged"), &commented()).unwrap();
    assert_eq!(raw, Raw::defaults());
    let uncommented: String = commented()
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    raw.overlay(Path::new("/packaged"), &uncommented).unwrap();
    let value = |raw: &Raw| all(raw).map(|(name, e)| (name, e.value.clone())).collect::<Vec<_>>();
    assert_eq!(value(&raw), value(&Raw::defaults()));
    assert!(all(&raw).all(|(_, effective)| effective.origin != Origin::Default));
}

#[test]
fn what_is_added_at_the_end_of_the_packaged_file_is_for_the_first_section() {
    let mut raw = Raw::defaults();
    raw.overlay(Path::new("/packaged"), &format!("{}\nqemu-group = keep\n", commented())).unwrap();
    assert_eq!(Config::from_raw(&raw).unwrap().qemu_group, QemuGroup::Keep);
}

#[test]
fn what_comes_in_goes_over_to_one_of_the_modes() {
    let config =
        read("[accord]\nmodes = dpdkvhostuser dpdkvhostuserclient\n[convert]\nincoming = dpdkvhostuser\n")
            .unwrap();
    assert_eq!(config.hook.incoming, Some(PortType::Dpdkvhostuser));
    let config = read("[convert]\nincoming = dpdkvhostuserclient\n").unwrap();
    assert_eq!(config.hook.incoming, Some(PortType::Dpdkvhostuserclient));
}

#[test]
fn a_type_that_the_configuration_leaves_out_is_known_with_its_place() {
    assert_eq!(read("").unwrap().excluded(), None);
    assert_eq!(read("[accord]\nmodes = dpdkvhostuser dpdkvhostuserclient\n").unwrap().excluded(), None);
    let config = read("[accord]\n\nmodes = dpdkvhostuserclient\n").unwrap();
    let place = Origin::File("/etc/vhost-accord/vhost-accord.conf".into(), 3);
    assert_eq!(config.excluded(), Some((PortType::Dpdkvhostuser, &place)));
    // What comes in may go over to any type where the node looks.
    assert!(read("[convert]\nincoming = dpdkvhostuser\n").is_ok());
}

#[test]
fn a_declared_dataplane_is_read_and_each_mistake_has_its_line() {
    let section = "[dataplane disks]\ndriver = declared\nunit = disks.service\nsockets = /var/run/disks\n";
    let config = read(section).unwrap();
    let [found] = config.sections.as_slice() else { panic!("{config:?}") };
    let declared = Declared::parse(found, &config.socket_directory).unwrap();
    assert_eq!((declared.name.as_str(), declared.made_by), ("disks", MadeBy::Dataplane));
    assert_eq!(declared.sockets.directory, Path::new("/run/disks"));
    for (line, expected) in [
        ("unit = disks\n", ":5: unit = disks: expected the name of a service, such as storage.service"),
        ("driver = V\n", ":5: driver = V: expected the name of a driver, such as declared"),
        // What a driver may find by itself is not missed, and what is set is checked.
        ("driver = vpp\nunit = vpp\n", ":6: unit = vpp: expected the name of a service"),
        ("made-by = me\n", ":5: made-by = me: expected qemu or dataplane"),
        ("sockets = /var/lib\n", ":5: sockets = /var/lib: expected a directory for these sockets alone"),
        ("sockets = /etc/disks\n", ":5: sockets = /etc/disks: expected a directory for these sockets alone"),
        ("sockets = /var/lib/vhost_sockets/a\n", ":5: [dataplane disks] sockets: expected another directory"),
        (
            "sockets = /run/disks/v*\nmade-by = qemu\n",
            ":5: [dataplane disks] sockets: expected a directory, since",
        ),
        (
            "control = /run/disks/rpc\n",
            ":5: [dataplane disks] control: expected paths that sockets does not have",
        ),
        ("control = rpc\n", ":5: control = rpc: expected none, or absolute paths"),
        ("socket = /run/a\n", ":5: unknown key 'socket'; did you mean 'sockets'?"),
        ("[dataplane A]\n", ":5: [dataplane A]: expected a name of lower-case letters"),
        ("[dataplane two]\nunit = a.service\n", ":5: driver is missing; expected the driver, which finds"),
    ] {
        let error = read(&format!("{section}{line}")).unwrap_err().to_string();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn a_pattern_stands_for_names_in_one_directory() {
    let sockets = |pattern: &str| Sockets { directory: "/run/a".into(), pattern: Some(pattern.to_string()) };
    for (pattern, name, is) in [
        ("vhost*", "vhost0", true),
        ("vhost*", "vhos", false),
        ("*.sock", "a.sock", true),
        ("*.sock", "a.socket", false),
        ("a*b*c", "a-b-c", true),
        ("a*b*c", "abc", true),
        ("a*b*c", "acb", false),
        ("a*a", "a", false),
    ] {
        assert_eq!(sockets(pattern).has(name), is, "{pattern} {name}");
    }
    assert!(sockets("v*").is_at(Path::new("/run/a/v0")) && !sockets("v*").is_at(Path::new("/run/a/b/v0")));
}
