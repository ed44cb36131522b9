// SPDX-License-Identifier: Apache-2.0

use super::*;

/// As systemd 252 prints it.
const SHOWN: &str = r#"MainPID=181
ExecStartPre={ path=/bin/sh ; argv[]=/bin/sh -c a b ; ignore_errors=yes ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }
ExecStartPre={ path=/bin/true ; argv[]=/bin/true ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }
ExecStart={ path=/usr/share/ovs-ctl ; argv[]=/usr/share/ovs-ctl start $OVS_CTL_OPTS ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=124 ; code=exited ; status=0 }
Environment="LIBVIRTD_ARGS=--timeout 120" HOME=/var/run/openvswitch
EnvironmentFiles=/etc/default/openvswitch-switch (ignore_errors=yes)
EnvironmentFiles=/etc/must be there (ignore_errors=no)
UMask=0002
User=
Group=hugetlbfs
RuntimeDirectoryPreserve=yes
RuntimeDirectory=openvswitch openvswitch/vhost
Id=ovsdb-server.service
LoadState=loaded
ActiveState=active
FragmentPath=/lib/systemd/system/ovsdb-server.service
DropInPaths=/etc/systemd/system/ovsdb-server.service.d/a.conf /run/systemd/system/ovsdb-server.service.d/b.conf
UnitFileState=static
ActiveEnterTimestamp=Mon 2026-11-23 17:38:09.271214 UTC
DefaultDependencies=no
NeedDaemonReload=yes
"#;

#[test]
fn reads_what_systemctl_shows() {
    let mut unit = parse_show(SHOWN).unwrap().unwrap();
    let written = UnitText::parse("[Service]\nExecStartPre=-/bin/sh -c 'a b'\nExecStartPre=/bin/false\n");
    restore_words(&mut unit, &written);
    let words = |line: &[&str]| line.iter().map(|word| (*word).to_string()).collect::<Vec<_>>();
    let expected = UnitFact {
        name: "ovsdb-server.service".into(),
        load_state: "loaded".into(),
        active_state: "active".into(),
        unit_file_state: "static".into(),
        fragment: Some("/lib/systemd/system/ovsdb-server.service".into()),
        drop_ins: vec![
            "/etc/systemd/system/ovsdb-server.service.d/a.conf".into(),
            "/run/systemd/system/ovsdb-server.service.d/b.conf".into(),
        ],
        need_daemon_reload: true,
        group: Some("hugetlbfs".into()),
        umask: 0o002,
        environment: words(&["LIBVIRTD_ARGS=--timeout 120", "HOME=/var/run/openvswitch"]),
        environment_files: vec![
            ("/etc/default/openvswitch-switch".into(), true),
            ("/etc/must be there".into(), false),
        ],
        runtime_directory: words(&["openvswitch", "openvswitch/vhost"]),
        runtime_directory_preserve: "yes".into(),
        default_dependencies: false,
        main_pid: Some(181),
        exec_start_pre: vec![words(&["/bin/sh", "-c", "a b"]), words(&["/bin/true"])],
        exec_start: vec![words(&["/usr/share/ovs-ctl", "start", "$OVS_CTL_OPTS"])],
        active_enter_timestamp: Some(1_795_455_489_271_214),
        ..UnitFact::default()
    };
    assert_eq!(unit, expected);
}

#[test]
fn tells_a_missing_unit_from_no_answer() {
    assert_eq!(parse_show("Id=x.service\nLoadState=not-found\n").unwrap(), None);
    assert!(parse_show("").is_err());
    assert!(parse_show("LoadState=loaded\nUMask=9\n").is_err());
}

#[test]
fn reads_times() {
    // Expected values from `date -u -d ... +%s`.
    assert_eq!(timestamp("Thu 1970-01-01 00:00:00 UTC"), Some(0));
    assert_eq!(timestamp("Tue 2000-02-29 23:59:59 UTC"), Some(951_868_799_000_000));
    assert_eq!(timestamp("Fri 2027-12-31 12:00:00.5 UTC"), Some(1_830_254_400_500_000));
    assert_eq!(timestamp("Wed 2028-03-01 00:00:00 UTC"), Some(1_835_481_600_000_000));
    for bad in [
        "",
        "n/a",
        "Mon 2026-11-23 17:38:09 CET",
        "Mon 2026-13-23 17:38:09 UTC",
        "Mon 2026-11-00 17:38:09 UTC",
    ] {
        assert_eq!(timestamp(bad), None, "{bad}");
    }
}
