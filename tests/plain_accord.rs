// SPDX-License-Identifier: Apache-2.0
//! The accord that each shape of node gets: made from images with the units of Debian and of four generations of RHEL's
//! packages, without root and without running anything.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use vhost_accord::base::root::Root;
use vhost_accord::items::Item;
use vhost_accord::survey::{Options, Survey};
use vhost_accord::systemd;

const BOTH: &str = "[accord]\nmodes = dpdkvhostuserclient dpdkvhostuser\n";
const RHEL_ACCOUNTS: [(&str, &str); 2] = [
    (
        "etc/passwd",
        "root:x:0:0::/root:/bin/sh\nqemu:x:107:107::/:/sbin/nologin\nopenvswitch:x:999:996::/:/sbin/nologin\n",
    ),
    ("etc/group", "root:x:0:\nkvm:x:36:qemu\nqemu:x:107:\nopenvswitch:x:996:\nhugetlbfs:x:995:openvswitch\n"),
];

struct Node(TempDir);

impl Node {
    fn debian() -> Node {
        let node = Node(tempfile::tempdir().unwrap());
        node.copy("src/demo/image");
        node
    }

    fn rhel(kind: &str) -> Node {
        let node = Node(tempfile::tempdir().unwrap());
        node.copy("tests/node/kinds/rhel-common/root");
        node.copy(&format!("tests/node/kinds/{kind}/root"));
        for (path, text) in RHEL_ACCOUNTS {
            node.write(path, text);
        }
        node.write("etc/libvirt/qemu.conf", "user = \"qemu\"\ngroup = \"qemu\"\n");
        node.write("usr/lib/systemd/system/virtqemud.service", "[Service]\nExecStart=/usr/sbin/virtqemud\n");
        if kind != "rhel-2.9" {
            node.write("etc/sysconfig/openvswitch", "OPTIONS=\"\"\nOVS_USER_ID=\"openvswitch:hugetlbfs\"\n");
        }
        node
    }

    fn copy(&self, from: &str) {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(from);
        let status =
            std::process::Command::new("cp").arg("-r").arg(from.join(".")).arg(self.0.path()).status();
        assert!(status.unwrap().success());
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn survey(&self, config: &str) -> anyhow::Result<Survey> {
        self.write("etc/vhost-accord/vhost-accord.conf", config);
        let root = Root::open(self.0.path())?;
        let manager = systemd::connect(&root)?;
        Survey::take(&root, manager.as_ref(), Options::default())
    }
}

/// The content of a file of ours, without its first line.
fn content(survey: &Survey, path: &str) -> Option<String> {
    survey.accord.items.iter().find_map(|item| match item {
        Item::File(file) if file.path == Path::new(path) => {
            Some(file.content.lines().skip(1).collect::<Vec<_>>().join("\n"))
        }
        _ => None,
    })
}

fn vswitchd(survey: &Survey) -> Option<String> {
    content(survey, "/etc/systemd/system/ovs-vswitchd.service.d/50-vhost-accord.conf")
}

const SOCKET: &str = "/run/openvswitch/db.sock";

/// What the unit of the database's socket is told, as OVS 4.0 has it.
fn socket(survey: &Survey) -> Option<String> {
    content(survey, "/etc/systemd/system/ovsdb-server.socket.d/50-vhost-accord.conf")
}

/// `uid:gid mode` asked for at a path.
fn owner(survey: &Survey, path: &str) -> Option<(Option<u32>, Option<u32>, Option<u32>)> {
    survey.accord.items.iter().find_map(|item| match item {
        Item::Owner(owner) if owner.path == Path::new(path) => Some((owner.uid, owner.gid, owner.mode)),
        _ => None,
    })
}

#[test]
fn debian_keeps_root_and_only_sockets_are_given_away() {
    let survey = Node::debian().survey(BOTH).unwrap();
    let dataplane = survey.accord.dataplane.as_ref().unwrap();
    assert_eq!((dataplane.user.as_str(), dataplane.uid, dataplane.umask), ("root", 0, 0o022));
    assert!(!dataplane.is_confined() && !dataplane.is_switched());
    assert_eq!(dataplane.switch_unit, "openvswitch-switch.service");
    assert_eq!(content(&survey, "/etc/vhost-accord/dataplane.env"), None);
    let drop_in = "[Service]\nExecStartPre=-+/usr/bin/vhost-accord service vswitchd-pre\nExecStartPost=-+/usr/bin/vhost-accord service vswitchd-post";
    assert_eq!(vswitchd(&survey).as_deref(), Some(drop_in));
    assert_eq!(survey.accord.group.gid, 42477);
    let qemu = survey.accord.qemu.as_ref().unwrap();
    assert_eq!((qemu.group.as_str(), qemu.grant_group.as_str()), ("hugetlbfs", "libvirt-qemu"));
    assert_eq!(owner(&survey, "/var/lib/vhost_sockets"), Some((Some(qemu.uid), Some(42477), Some(0o2775))));
    assert_eq!(owner(&survey, "/var/lib/openvswitch"), None);
}

#[test]
fn one_port_type_asks_for_its_own_part_only() {
    let node = Node::debian();
    let client = node.survey("[accord]\nmodes = dpdkvhostuserclient\n").unwrap();
    assert_eq!(vswitchd(&client), None);
    assert!(client.accord.server_access.is_none());
    let server = node.survey("[accord]\nmodes = dpdkvhostuser\n").unwrap();
    assert!(vswitchd(&server).is_some());
    assert_eq!(owner(&server, "/var/lib/vhost_sockets"), None);
    assert!(!server.accord.items.iter().any(|item| matches!(item, Item::Setting(_))), "qemu.conf is touched");
}

#[test]
fn debian_as_openvswitch_gets_account_options_and_state() {
    let node = Node::debian();
    node.write("etc/default/openvswitch-switch", "OVS_CTL_OPTS='--no-mlockall --ovs-user=old'\n");
    let survey = node.survey("[accord]\ndataplane-user = openvswitch\n").unwrap();
    let environment = content(&survey, "/etc/vhost-accord/dataplane.env").unwrap();
    assert!(environment.contains("--no-mlockall --ovs-user=openvswitch:hugetlbfs"), "{environment}");
    assert!(!environment.contains("old"), "{environment}");
    assert!(survey.accord.items.iter().any(|item| matches!(item, Item::User(user) if user.uid == 42476)));
    assert!(
        survey
            .accord
            .items
            .iter()
            .any(|item| matches!(item, Item::Member(member) if member.group == "hugetlbfs"))
    );
    assert_eq!(owner(&survey, "/var/lib/openvswitch"), Some((Some(42476), None, Some(0o700))));
}

#[test]
fn a_dataplane_in_the_shared_group_stays_and_its_database_is_closed_to_qemu() {
    for kind in ["rhel-2.17", "rhel-3.6", "rhel-4.0"] {
        let survey = Node::rhel(kind).survey(BOTH).unwrap();
        let dataplane = survey.accord.dataplane.as_ref().unwrap();
        assert_eq!(
            (dataplane.user.as_str(), dataplane.group.as_str(), dataplane.gid),
            ("openvswitch", "hugetlbfs", 995),
            "{kind}"
        );
        assert!(dataplane.is_confined() && !dataplane.is_switched(), "{kind}");
        assert_eq!(survey.accord.group.gid, 995, "an existing number stays");
        assert_eq!(survey.accord.qemu.as_ref().unwrap().daemon_unit.as_deref(), Some("virtqemud.service"));
        assert_eq!(owner(&survey, "/var/lib/openvswitch"), Some((Some(999), None, Some(0o700))), "{kind}");
        let apart = Node::rhel(kind).survey(&format!("{BOTH}qemu-group = keep\n")).unwrap();
        assert_eq!(owner(&apart, "/var/lib/openvswitch"), Some((Some(999), None, None)), "{kind}");
    }
}

#[test]
fn systemds_socket_is_the_dataplanes_and_not_qemus() {
    let node = Node::debian();
    let unit = "[Socket]\nListenStream=/var/run/openvswitch/db.sock\nSocketMode=0770\n";
    node.write("usr/lib/systemd/system/ovsdb-server.socket", unit);
    let root = node.survey(BOTH).unwrap();
    assert_eq!((socket(&root), owner(&root, SOCKET)), (None, None), "root's own is left alone");
    let own = node.survey("[accord]\ndataplane-user = openvswitch\n").unwrap();
    let lines = "[Socket]\nSocketUser=openvswitch\nSocketGroup=root\nSocketMode=0770";
    assert_eq!(socket(&own).as_deref(), Some(lines));
    assert_eq!(owner(&own, SOCKET), Some((Some(42476), Some(0), Some(0o770))));
    let tmpfiles = content(&own, "/etc/tmpfiles.d/vhost-accord.conf").unwrap();
    assert_eq!(tmpfiles, "d /run/openvswitch 0755 openvswitch hugetlbfs -");
    // Nobody said a mode: systemd's own is 0666.
    node.write("usr/lib/systemd/system/ovsdb-server.socket", &unit.replace("SocketMode=0770\n", ""));
    assert_eq!(owner(&node.survey(BOTH).unwrap(), SOCKET), Some((None, Some(0), Some(0o664))));
}

#[test]
fn rhels_socket_of_the_shared_group_is_closed_to_it() {
    let node = Node::rhel("rhel-4.0");
    for (config, user, uid) in [("", "openvswitch", Some(999)), ("dataplane-user = root\n", "root", None)] {
        let survey = node.survey(&format!("{BOTH}{config}")).unwrap();
        let lines = format!("[Socket]\nSocketUser={user}\nSocketGroup=hugetlbfs\nSocketMode=0750");
        assert_eq!(socket(&survey).as_deref(), Some(lines.as_str()), "{config}");
        assert_eq!(owner(&survey, SOCKET), Some((uid, Some(995), Some(0o750))), "{config}");
        let waits = vswitchd(&survey).unwrap().starts_with("[Unit]\nAfter=ovsdb-server.service\n");
        assert_eq!(waits, config.is_empty(), "only one that has a user to be told waits");
    }
}

#[test]
fn a_root_that_loses_its_capabilities_gets_the_shared_group() {
    let survey = Node::rhel("rhel-2.9").survey(BOTH).unwrap();
    let dataplane = survey.accord.dataplane.as_ref().unwrap();
    assert_eq!((dataplane.uid, dataplane.group.as_str()), (0, "hugetlbfs"));
    assert!(dataplane.is_confined() && dataplane.is_switched());
    let environment = content(&survey, "/etc/vhost-accord/dataplane.env").unwrap();
    assert_eq!(environment, "OVS_USER_ID=\"root:hugetlbfs\"");
    let ovsdb = content(&survey, "/etc/systemd/system/ovsdb-server.service.d/50-vhost-accord.conf").unwrap();
    assert!(
        ovsdb.contains("\nRuntimeDirectory=\n"),
        "systemd would give the run directory back to root: {ovsdb}"
    );
    let tmpfiles = content(&survey, "/etc/tmpfiles.d/vhost-accord.conf").unwrap();
    assert_eq!(tmpfiles, "d /run/openvswitch 0755 root hugetlbfs -");
}

#[test]
fn our_own_drop_ins_do_not_change_the_profile() {
    for node in [Node::debian(), Node::rhel("rhel-2.9"), Node::rhel("rhel-4.0")] {
        let config = &format!("{BOTH}dataplane-user = openvswitch\n");
        let before = node.survey(config).unwrap();
        for item in &before.accord.items {
            if let Item::File(file) = item {
                node.write(file.path.strip_prefix("/").unwrap().to_str().unwrap(), &file.content);
            }
        }
        let after = node.survey(config).unwrap();
        assert_eq!(before.accord.items, after.accord.items);
    }
}

#[test]
fn what_stands_in_the_way_is_said_in_one_line() {
    let taken = Node::debian();
    taken.write("etc/group", "root:x:0:\nkvm:x:104:\nlibvirt-qemu:x:64055:libvirt-qemu\nother:x:42477:\n");
    let cases = [
        (taken, BOTH, "group-gid-taken: gid 42477 belongs to group 'other'"),
        (Node::debian(), "[accord]\nqemu-group = nosuch\n", "group-missing: qemu-group = nosuch"),
        (Node::debian(), "[accord]\ndataplane-user = nobodys\n", "dataplane-user-missing"),
        (Node::debian(), "[accord]\ndataplane-user = openvswitch:nosuch\n", "group-missing"),
    ];
    for (node, config, expected) in cases {
        let error = format!("{:#}", node.survey(config).unwrap_err());
        assert!(error.starts_with(expected), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        // To `check` it is a finding: the node is broken, not the program.
        let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_vhost-accord"));
        let output = check.args(["check", "--json", "--root"]).arg(node.0.path()).output().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let id = expected.split(':').next().unwrap();
        assert_eq!((output.status.code(), json["findings"][0]["id"].as_str()), (Some(2), Some(id)));
        assert!(vhost_accord::rules::catalogue::find(id).is_some(), "explain {id}");
    }
}

#[test]
fn what_is_not_installed_is_left_out_and_said() {
    let node = Node::debian();
    fs::remove_file(node.0.path().join("usr/lib/systemd/system/ovs-vswitchd.service")).unwrap();
    let survey = node.survey(BOTH).unwrap();
    assert!(survey.accord.dataplane.is_none() && survey.accord.qemu.is_some());
    assert!(survey.findings().iter().any(|finding| finding.id == "no-dataplane"));
    assert!(owner(&survey, "/var/lib/vhost_sockets").is_some(), "QEMU's part is made ready");
    fs::remove_file(node.0.path().join("usr/lib/systemd/system/libvirtd.service")).unwrap();
    let survey = node.survey(BOTH).unwrap();
    assert!(survey.findings().iter().any(|finding| finding.id == "no-libvirt"));
    assert!(survey.accord.qemu.is_none());
}

#[test]
fn every_declared_hugetlbfs_mount_keeps_its_options() {
    let node = Node::debian();
    node.write(
        "etc/fstab",
        "nodev /mnt/huge\\0401G hugetlbfs pagesize=1G,mode=0700 0 0\n/dev/sda1 / ext4 defaults 0 1\n",
    );
    let survey = node.survey(BOTH).unwrap();
    let drop_in =
        content(&survey, "/etc/systemd/system/mnt-huge\\x201G.mount.d/50-vhost-accord.conf").unwrap();
    assert_eq!(drop_in, "[Mount]\nOptions=pagesize=1G,gid=42477,mode=0775");
}

/// No such libvirt is to be had on a node any more: before 6.5 it calls `hooks/qemu` alone.
#[test]
fn an_older_libvirt_gets_the_hook_where_it_looks_or_is_told_of() {
    let link = |survey: &Survey| {
        survey.accord.items.iter().find_map(|item| match item {
            Item::Link(link) => Some(link.path.display().to_string()),
            _ => None,
        })
    };
    let found = |survey: &Survey| survey.findings().iter().any(|finding| finding.id == "hook-shadowed");
    let node = Node::debian();
    let survey = node.survey(BOTH).unwrap();
    assert_eq!(link(&survey).as_deref(), Some("/etc/libvirt/hooks/qemu.d/50-vhost-accord"));
    node.write("usr/lib/x86_64-linux-gnu/libvirt.so.0.6004.0", "");
    let survey = node.survey(BOTH).unwrap();
    assert_eq!(link(&survey).as_deref(), Some("/etc/libvirt/hooks/qemu"));
    assert!(!found(&survey));
    // Someone else's is never replaced: it is asked to call ours.
    node.write("etc/libvirt/hooks/qemu", "#!/bin/sh\n");
    let survey = node.survey(BOTH).unwrap();
    assert_eq!((link(&survey), found(&survey)), (None, true));
}

/// A failure of ours keeps the dataplane from starting only where that is asked for, and never takes a running one down.
#[test]
fn entries_are_in_the_way_only_if_told_to() {
    let node = Node::debian();
    assert!(vswitchd(&node.survey(BOTH).unwrap()).unwrap().contains("ExecStartPre=-+"));
    let insists = vswitchd(&node.survey(&format!("{BOTH}on-error = refuse\n")).unwrap()).unwrap();
    assert!(insists.contains("ExecStartPre=+/usr/bin/vhost-accord service vswitchd-pre"), "{insists}");
    assert!(insists.contains("ExecStartPost=-+"), "{insists}");
}
