// SPDX-License-Identifier: Apache-2.0
//! `dataplane::ovs::legacy`: the field's in-place patches, recognised and undone.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::process::Command;

use proptest::prelude::*;
use vhost_accord::dataplane::ovs::legacy::{Kind, What, find, undo};

/// As OVS 2.6 ships it.
const VSWITCHD: &str = r"[Unit]
Description=Open vSwitch Forwarding Unit
After=ovsdb-server.service network-pre.target systemd-udev-settle.service
PartOf=openvswitch.service

[Service]
Type=forking
Restart=on-failure
EnvironmentFile=-/etc/sysconfig/openvswitch
ExecStart=/usr/share/openvswitch/scripts/ovs-ctl \
          --no-ovsdb-server --no-monitor --system-id=random \
          start $OPTIONS
TimeoutSec=300
";

/// Ends in the two lines that the patch looks for.
const OVSDB: &str = r"[Unit]
Description=Open vSwitch Database Unit
PartOf=openvswitch.service

[Service]
Type=forking
ExecStart=/usr/share/openvswitch/scripts/ovs-ctl \
          --no-ovs-vswitchd --no-monitor --system-id=random \
          start $OPTIONS
RuntimeDirectory=openvswitch
RuntimeDirectoryMode=0755
";

const NONETWORK: &str = "[Unit]\nDescription=Open vSwitch Internal Unit\n\n[Service]\nType=oneshot\n\
    ExecStart=/usr/share/openvswitch/scripts/ovs-ctl start \\\n          --system-id=random $OPTIONS\n\
    ExecStop=/usr/share/openvswitch/scripts/ovs-ctl stop\n";

const OVS_CTL: &str = "#! /bin/sh\n# umask 0002 && start_daemon \"$OVS_VSWITCHD_PRIORITY\"\nstart_forwarding () {\n\
    \tset ovs-vswitchd unix:\"$DB_SOCK\"\n\tstart_daemon \"$OVS_VSWITCHD_PRIORITY\" \"$OVS_VSWITCHD_WRAPPER\" \"$@\"\n}\n\
    umask 0002 && true\n";

const OVS_CTL_3: &str = "start_ovsdb () {\n        start_daemon \"$OVSDB_SERVER_PRIORITY\" \"$OVSDB_SERVER_WRAPPER\" \"$@\" || return 1\n}\n\
    do_start_forwarding () {\n        start_daemon \"$OVS_VSWITCHD_PRIORITY\" \"$OVS_VSWITCHD_WRAPPER\" \"$@\" ||\n            return 1\n}\n";

/// What the deployers' scripts do to a unit, said again in Rust.
fn patched(unit: &str, group: &str) -> String {
    let mut out = if unit.contains("RuntimeDirectoryMode=") {
        unit.replace("RuntimeDirectoryMode=0755", "RuntimeDirectoryMode=0775")
    } else {
        format!("{unit}RuntimeDirectoryMode=0775\n")
    };
    for line in [group, "UMask=0002"] {
        if !out.lines().any(|l| l == line) {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[test]
fn appended_lines_are_found_and_removed() {
    for unit in [VSWITCHD, NONETWORK] {
        let node = patched(unit, "Group=qemu");
        let found: Vec<What> = find(Kind::Unit, &node).iter().map(|p| p.what).collect();
        assert_eq!(found, [What::ModeAppended, What::GroupAppended, What::UmaskAppended]);
        assert_eq!(undo(Kind::Unit, &node), unit);
    }
    let node = patched(VSWITCHD, "Group=qemu");
    let group = &find(Kind::Unit, &node)[1];
    assert_eq!((group.line, group.text.as_str()), (15, "Group=qemu"));
}

#[test]
fn a_changed_mode_is_changed_back() {
    let node = patched(OVSDB, "Group=qemu");
    assert_eq!(find(Kind::Unit, &node)[0].what, What::ModeChanged);
    assert_eq!(undo(Kind::Unit, &node), OVSDB);
    let mode_only = OVSDB.replace("0755", "0775");
    assert_eq!(undo(Kind::Unit, &mode_only), OVSDB);
    let install = format!("{OVSDB}\n[Install]\nWantedBy=multi-user.target\n");
    assert_eq!(undo(Kind::Unit, &patched(&install, "Group=qemu")), install);
}

#[test]
fn other_groups_count_when_appended_in_the_same_way() {
    for group in ["Group=libvirt-qemu", "Group=hugetlbfs", "Group=kvm", "Group=42477"] {
        assert_eq!(undo(Kind::Unit, &patched(VSWITCHD, group)), VSWITCHD, "{group}");
    }
    assert_eq!(undo(Kind::Unit, &format!("{VSWITCHD}Group=hugetlbfs\n")), VSWITCHD);
    assert_eq!(undo(Kind::Unit, &format!("{VSWITCHD}UMask=0002\n\n")), format!("{VSWITCHD}\n"));
}

#[test]
fn a_packagers_own_lines_stay() {
    let own = [
        VSWITCHD.to_owned(),
        OVSDB.to_owned(),
        NONETWORK.to_owned(),
        format!("{VSWITCHD}Group=openvswitch\n"),
        format!("{VSWITCHD}User=openvswitch\nGroup=hugetlbfs\nUMask=0002\n"),
        format!("{VSWITCHD}UMask=0007\n"),
        format!("{VSWITCHD}  Group=qemu\n"),
        format!("{VSWITCHD}Group=qemu\nTimeoutStopSec=5\n"),
        format!("{VSWITCHD}ExecStop=/bin/echo \\\nGroup=qemu\n"),
        VSWITCHD.replace("TimeoutSec", "RuntimeDirectoryMode=0775\nTimeoutSec"),
        String::new(),
    ];
    for unit in own {
        assert_eq!(find(Kind::Unit, &unit), [], "{unit}");
        assert_eq!(undo(Kind::Unit, &unit), unit);
    }
}

#[test]
fn ovs_ctl_is_fixed_also_when_patched_twice() {
    assert_eq!(find(Kind::OvsCtl, OVS_CTL), []);
    assert_eq!(undo(Kind::OvsCtl, OVS_CTL), OVS_CTL);
    let once = OVS_CTL.replace("\tstart_daemon", "\tumask 0002 && start_daemon");
    let twice = once.replace("\tumask", "\tumask 0002 && umask");
    for node in [once, twice] {
        let found = find(Kind::OvsCtl, &node);
        assert_eq!((found.len(), found[0].line, found[0].what), (1, 5, What::UmaskInCtl));
        assert_eq!(undo(Kind::OvsCtl, &node), OVS_CTL);
    }
}

#[test]
fn ovs_ctl_gets_back_what_the_sed_ate() {
    // TripleO's own command, run on a release that goes on in the next line.
    let dir = tempfile::tempdir().unwrap();
    let sed = r#"s/start_daemon \"\$OVS_VSWITCHD_PRIORITY.*/umask 0002 \&\& start_daemon \"$OVS_VSWITCHD_PRIORITY\" \"$OVS_VSWITCHD_WRAPPER\" \"$@\"/"#;
    for shipped in [OVS_CTL, OVS_CTL_3] {
        let path = dir.path().join("ovs-ctl");
        let tail = shipped
            .trim_start_matches("#! /bin/sh\n# umask 0002 && start_daemon \"$OVS_VSWITCHD_PRIORITY\"\n");
        fs::write(&path, tail).unwrap();
        assert!(Command::new("sed").args(["-i", sed]).arg(&path).status().unwrap().success());
        let node = fs::read_to_string(&path).unwrap();
        assert_ne!(node, tail);
        assert_eq!(undo(Kind::OvsCtl, &node), tail);
    }
}

fn unit_like() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec![
        "[Service]",
        "",
        "Group=qemu",
        "Group=foo",
        "UMask=0002",
        "UMask=0022",
        "RuntimeDirectory=x",
        "RuntimeDirectoryMode=0775",
        "RuntimeDirectoryMode=0755",
        "Exec=a \\",
        "User=x",
        "umask 0002 && umask 0002 && start_daemon \"$OVS_VSWITCHD_PRIORITY\"",
        "\tumask 0002 && start_daemon \"$OVS_VSWITCHD_PRIORITY\" \"$OVS_VSWITCHD_WRAPPER\" \"$@\"",
        "return 1",
    ]);
    (prop::collection::vec(line, 0..9), any::<bool>()).prop_map(|(lines, ended)| {
        let text = lines.join("\n");
        if ended { text + "\n" } else { text }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn undoing_is_idempotent_and_leaves_the_rest(text in unit_like()) {
        for kind in [Kind::Unit, Kind::OvsCtl] {
            let patches = find(kind, &text);
            let undone = undo(kind, &text);
            prop_assert_eq!(find(kind, &undone), []);
            prop_assert_eq!(undo(kind, &undone), undone.clone());
            prop_assert_eq!(patches.is_empty(), undone == text);
            let kept = text.split_inclusive('\n').enumerate().filter(|(at, _)| patches.iter().all(|p| p.line != at + 1));
            let mut left = undone.split_inclusive('\n');
            for (_, line) in kept {
                prop_assert!(left.any(|l| l == line), "lost {:?} of {:?}", line, text);
            }
        }
    }

    #[test]
    fn nothing_panics(text in any::<String>()) {
        let _ = undo(Kind::Unit, &text).len() + undo(Kind::OvsCtl, &text).len();
    }
}
