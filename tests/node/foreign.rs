// SPDX-License-Identifier: Apache-2.0
//! Other dataplanes beside OVS-DPDK, the real ones: dpdk-testpmd in both roles, qemu-storage-daemon, virtiofsd, and a second
//! Open vSwitch with a database of its own. What would start is not refused, and nobody is accused in their place.

use std::path::Path;
use std::process::Command;

use super::steps::BOTH;
use super::support::{Node, on_nodes};
use super::{second, sections};

on_nodes!(later bookworm = "bookworm": other_dataplanes_are_left_in_peace);

/// Each VM, the unit at the other end of its socket, and what QEMU has to be let in to.
const VMS: [(&str, &str, &str); 7] = [
    ("fpc", "testpmd.service", "/run/tpmd/s0"),
    ("fps", "testpmd.service", "/run/tpmd"),
    ("fblk", "qsd.service", "/run/qsd/blk"),
    ("ffs", "vfs.service", "/run/vfs/s"),
    ("fovs", "ovs2.service", "/run/ovs2/vhx0"),
    // In the directory that is agreed on for the switch.
    ("fac", "testpmd.service", "/var/lib/vhost_sockets/tp0"),
    ("fas", "testpmd.service", "/var/lib/vhost_sockets"),
];
const STARTS: usize = 3;

fn node(kind: &'static str) -> Node {
    let node = Node::up(kind);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/node");
    let output = Command::new(script).args(["testpmd", kind]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    node.push(Path::new(String::from_utf8_lossy(&output.stdout).trim()), "/root/testpmd.tgz");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/lib/foreign");
    node.push(&script, "/root/foreign");
    node.sh("sh -eu /root/foreign");
    node
}

/// By a right of QEMU's user of its own, as an operator may give it. virtiofsd makes its socket for each VM, and is told a group.
fn let_in(node: &Node, path: &str) {
    match path {
        "/run/vfs/s" => node.sh("sed -i s/nogroup/libvirt-qemu/ /etc/systemd/system/vfs.service; systemctl daemon-reload; systemctl restart vfs; until stat -c %G /run/vfs/s | grep -q libvirt-qemu; do sleep 0.1; done"),
        path => node.sh(&format!("setfacl -m u:{}:rwx {path}", node.qemu())),
    };
}

pub fn starts(node: &Node, vm: &str) {
    let output = node.try_sh(&format!("timeout 30 virsh start {vm} --paused"));
    assert_eq!(output.code, 0, "{vm}: {output}");
}

/// What `check` says of the VMs of others: nothing.
fn accuses_none(node: &Node, when: &str) {
    let (_, findings) = node.check();
    let of_others = |finding: &&String| {
        VMS.iter().any(|(vm, _, path)| finding.ends_with(path) || finding.ends_with(&format!("VM {vm}")))
            || finding.contains("/run/tpmd")
            || finding.contains("/tp")
    };
    // The switch's own directory is missing on a stock node.
    let own = |finding: &&String| finding.ends_with(" /var/lib/vhost_sockets");
    let wrong: Vec<&String> = findings.iter().filter(|line| of_others(line) && !own(line)).collect();
    assert!(wrong.is_empty(), "{when}: {wrong:?}");
}

fn other_dataplanes_are_left_in_peace(kind: &'static str) {
    let node = node(kind);
    let own = &VMS[..5];
    for (vm, _, path) in own {
        let told = node.refuses(vm);
        assert!(told.contains("Permission denied"), "{vm}, stock: {told}");
        let_in(&node, path);
        starts(&node, vm);
    }
    accuses_none(&node, "stock");
    node.sh("for vm in fpc fps fblk ffs fovs; do virsh -q destroy $vm; done");

    node.configure(BOTH);
    node.apply("--restart");
    node.sh("systemctl restart testpmd; for s in /run/tpmd/s0 /var/lib/vhost_sockets/tp0; do until test -S $s; do sleep 0.1; done; done");
    for path in ["/run/tpmd/s0", "/var/lib/vhost_sockets/tp0"] {
        let_in(&node, path);
    }
    for (vm, _, _) in VMS {
        for _ in 0..STARTS {
            starts(&node, vm);
            node.sh(&format!("virsh -q destroy {vm}"));
        }
        starts(&node, vm);
    }
    node.start("vmc", true);
    node.start("vms", true);
    node.agrees("with the VMs of all dataplanes running");
    each_is_named(&node);
    node.sh("for vm in fpc fps fblk ffs fovs fac fas; do virsh -q destroy $vm; done");
    fixes_are_not_those_of_the_switch(&node);
    sections::each_breakage_is_named_alone(&node);
    second::a_second_switch_has_sections(&node);
}

fn each_is_named(node: &Node) {
    let json: serde_json::Value = serde_json::from_str(&node.accord("check --json").stdout).unwrap();
    let rows = json["endpoints"].as_array().unwrap();
    for (vm, unit, _) in VMS {
        let row = rows.iter().find(|row| row["vm"] == vm).unwrap();
        assert_eq!(row["backend"]["unit"], unit, "{row}");
        assert_eq!((&row["verdict"], row["dataplane"].is_null()), (&"ok".into(), true), "{row}");
    }
    for vm in ["vmc", "vms"] {
        let row = rows.iter().find(|row| row["vm"] == vm).unwrap();
        assert_eq!(row["backend"]["name"], "ovs-vswitchd", "{row}");
    }
}

fn fixes_are_not_those_of_the_switch(node: &Node) {
    let refused = |vm: &str, id: &str, says: &str| {
        let told = node.refuses(vm);
        assert!(told.contains(&format!("vhost-accord: {id}: ")) && told.contains(says), "{vm}: {told}");
        let fix = told.rsplit("; fix: ").next().unwrap().to_string();
        assert!(!fix.contains("ovs-") && !fix.contains("openvswitch"), "{vm}: {fix}");
        fix
    };
    for (vm, unit, path) in VMS.iter().filter(|(vm, ..)| *vm != "ffs" && *vm != "fas" && *vm != "fps") {
        node.sh(&format!("setfacl -b {path}; chmod 0755 {path}"));
        let fix = refused(vm, "server-socket-refuses-qemu", if *vm == "fovs" { path } else { unit });
        // What is told can be pasted.
        node.sh(&fix);
        starts(node, vm);
        node.sh(&format!("virsh -q destroy {vm}"));
    }
    node.sh("setfacl -b /run/tpmd");
    node.sh(&refused("fps", "socket-directory-refuses-qemu", "/run/tpmd"));
    starts(node, "fps");
    node.sh("virsh -q destroy fps; systemctl stop testpmd qsd");
    refused("fpc", "server-socket-missing", "grep -rlsF");
    refused("fblk", "server-socket-missing", "grep -rlsF");
    node.sh("systemctl start testpmd qsd");
}
