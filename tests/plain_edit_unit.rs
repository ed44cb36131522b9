// SPDX-License-Identifier: Apache-2.0
//! `edit::unit`: unit files and drop-ins as systemd puts them together.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::process::Command;

use proptest::prelude::*;
use vhost_accord::edit::unit::UnitText;

const UNIT: &str = r#"[Unit]
Description=Open vSwitch Forwarding Unit
After=ovsdb-server.service network-pre.target

[Service]
Type=forking
EnvironmentFile=/etc/openvswitch/default.conf
EnvironmentFile=-/etc/sysconfig/openvswitch
ExecStartPre=-/bin/sh -c '/usr/bin/chown :$${OVS_USER_ID##*:} /dev/hugepages'
ExecStartPre=-/usr/bin/chmod 0775 /dev/hugepages
ExecStart=/usr/share/openvswitch/scripts/ovs-ctl \
          --no-ovsdb-server \
# a comment between
   ; and another
          start $OPTIONS
Group = one
  Group=two %i
UMask=0002
"#;

const DROP_IN: &str = "[Service]\r\nExecStartPre=\r\nExecStartPre=/bin/true\r\nUMask=\r\nGroup=three\r\n";

#[test]
fn reads_sections_repeats_and_continuations() {
    let unit = UnitText::parse(UNIT);
    assert_eq!(
        unit.values("Service", "EnvironmentFile"),
        ["/etc/openvswitch/default.conf", "-/etc/sysconfig/openvswitch"]
    );
    assert_eq!(unit.list("Service", "ExecStartPre").len(), 2);
    let start = unit.last("Service", "ExecStart").unwrap();
    assert_eq!(
        start.split_whitespace().collect::<Vec<_>>(),
        ["/usr/share/openvswitch/scripts/ovs-ctl", "--no-ovsdb-server", "start", "$OPTIONS"]
    );
    assert_eq!(unit.last("Service", "Group"), Some("two %i"));
    assert_eq!(unit.last("Unit", "Group"), None);
}

#[test]
fn a_drop_in_resets_and_overrides() {
    let whole = UnitText::merge([UnitText::parse(UNIT), UnitText::parse(DROP_IN)]);
    assert_eq!(whole.list("Service", "ExecStartPre"), ["/bin/true"]);
    assert_eq!(whole.values("Service", "ExecStartPre").len(), 4);
    assert_eq!(whole.last("Service", "UMask"), None);
    assert_eq!(whole.last("Service", "Group"), Some("three"));
    assert_eq!(whole.list("Service", "EnvironmentFile").len(), 2);
}

#[test]
fn a_section_does_not_reach_into_the_next_fragment() {
    let whole = UnitText::merge([UnitText::parse("[Service]\nA=1\n"), UnitText::parse("A=2\n")]);
    assert_eq!(whole.values("Service", "A"), ["1"]);
}

#[test]
fn oddities() {
    let unit = UnitText::parse("\u{feff}[S]\nA=1\\\n\nB=2\\\\\nC\n=x\nD=a=b\nE=end\\");
    assert_eq!(unit.values("S", "A"), ["1"]);
    assert_eq!(unit.values("S", "B"), ["2\\\\"]);
    assert_eq!(unit.values("S", "D"), ["a=b"]);
    assert_eq!(unit.values("S", "E"), ["end"]);
    let torn = UnitText::parse("[S]\nA=1\n[T\nB=2\n[S]\nA=3\n");
    assert_eq!(torn.values("S", "A"), ["1"]);
}

/// systemd's own reader, through what `systemctl enable` makes of `WantedBy=` in a directory.
#[test]
#[ignore = "needs systemctl: make test"]
fn systemd_reads_the_same() {
    let bodies = [
        "[Install]\nWantedBy=a.target b.target\n",
        "[Install]\nWantedBy=a.target \\\n# comment\\\n  b.target\nWantedBy=c.target",
        "[Install]\nWantedBy=a.target\\\n\nWantedBy=b.target\n",
        "[Install]\nWantedBy=a.target\nWantedBy=\nWantedBy=c.target\n",
        "[Install]\r\nWantedBy = a.target\r\n; WantedBy=b.target\r\n",
        "[Unit]\nWantedBy=a.target\n[Install]\n \tWantedBy=\t b.target \\",
        "WantedBy=a.target\n[Install]\nWantedBy\nWantedBy=b.target\\\n  c.target\n[X-Other]\nWantedBy=d.target\n",
    ];
    for body in bodies {
        let root = tempfile::tempdir().unwrap();
        let units = root.path().join("etc/systemd/system");
        fs::create_dir_all(&units).unwrap();
        fs::write(units.join("x.service"), body).unwrap();
        let root_option = format!("--root={}", root.path().display());
        let done =
            Command::new("systemctl").args([root_option.as_str(), "enable", "x.service"]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let unit = UnitText::parse(body);
        for target in ["a", "b", "c", "d"] {
            let name = format!("{target}.target");
            let ours =
                unit.list("Install", "WantedBy").iter().any(|v| v.split_whitespace().any(|t| t == name));
            assert_eq!(ours, units.join(format!("{name}.wants")).exists(), "{name} in {body:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics(text in any::<String>(), marks in "[A=\\[\\]\\\\#; \n\r\t\0\u{feff}]{0,24}") {
        for text in [text, marks] {
            let unit = UnitText::parse(&text);
            prop_assert!(unit.list("A", "A").iter().all(|value| !value.is_empty()));
        }
    }
}
