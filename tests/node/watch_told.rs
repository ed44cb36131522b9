// SPDX-License-Identifier: Apache-2.0
//! What the service that watches tells: each finding when it begins and when it ends, nothing that `apply` is about to change,
//! and who does not give up.

use super::support::{Node, on_nodes};
use super::watch::{UNIT, settled, told, watched};

on_nodes!(later bookworm = "bookworm":
    an_apply_is_left_to_itself
    each_finding_begins_and_ends
    drift_by_other_tools_is_told_and_ends);

/// `MESSAGE_ID=` of a finding that began, of one that ended, of a fix, and of a tug of war.
const SAID: &str = "MESSAGE_ID=aa97fd87968c4df0933932b4feed9ed2 MESSAGE_ID=40d575d6c581494db2a97bcada7edb00 \
                    MESSAGE_ID=cdffd922cc804f4581f7c39cbcd4a541 MESSAGE_ID=2b0b0a955f424207afc9e5fbb0ec5791";
const SOCKETS: &str = "/var/lib/vhost_sockets";

/// What the service said of the node since the mark.
fn said(node: &Node, mark: &str) -> String {
    node.sh(&format!("journalctl -q --no-pager -o cat --since={mark} {SAID}"))
}

/// Now, as the journal has it.
fn mark(node: &Node) -> String {
    node.sh("date +@%s.%6N").trim().to_string()
}

fn finding(node: &Node, id: &str, subject: &str, state: &str) {
    told(node, &format!("VA_FINDING={id} VA_STATE={state} VA_SUBJECT='{subject}'"));
}

fn an_apply_is_left_to_itself(kind: &'static str) {
    let fix = "[watch]\\ndrift = fix\\n";
    let node = watched(kind, fix);
    let begun = mark(&node);
    // What is edited is not told before its apply, and not during it; nor is anything of it taken for drift.
    node.configure(&format!(
        "modes = dpdkvhostuserclient dpdkvhostuser\\ndataplane-user = openvswitch\\nqemu-group = keep\\n{fix}"
    ));
    settled(&node);
    let (code, findings) = node.check();
    assert!(code == 2 && !findings.is_empty(), "there was to be something to tell: {findings:?}");
    node.apply("--restart");
    settled(&node);
    assert_eq!(said(&node, &begun), "");
    node.agrees("after apply");

    // Another run has the lock: nothing is told, fixed or refused to it.
    node.sh("systemd-run -q --unit=other flock /run/vhost-accord.lock sleep 999; until ! flock -n /run/vhost-accord.lock true; do sleep 0.1; done");
    node.sh(&format!("chmod 700 {SOCKETS}"));
    let once = node.accord("watch --once");
    assert!(once.code == 1 && once.stderr.contains("another vhost-accord"), "{once}");
    assert_ne!(node.try_sh("timeout 3 vhost-accord watch --settle").code, 0, "it waits for the other run");
    assert_eq!(said(&node, &begun), "");
    assert_eq!(node.sh(&format!("stat -c %a {SOCKETS}")).trim(), "2700");
    node.sh("systemctl stop other");
    node.wait_for("the fix", &format!("test $(stat -c %a {SOCKETS}) = 2775"));

    // An edit that no apply follows is told, at the latest when the service starts.
    node.configure("modes = dpdkvhostuserclient dpdkvhostuser\\n");
    settled(&node);
    let edited = mark(&node);
    node.sh(&format!("systemctl restart {UNIT}"));
    settled(&node);
    assert_ne!(said(&node, &edited), "");
}

fn each_finding_begins_and_ends(kind: &'static str) {
    let node = watched(kind, "on-problem = warn\\n");
    let client = |name: &str| {
        format!(
            "ovs-vsctl add-port br-int {name} -- set Interface {name} type=dpdkvhostuserclient options:vhost-server-path={SOCKETS}/{name}"
        )
    };
    // A VM that waits for a port at its start.
    node.sh("ovs-vsctl del-port vhus0; systemd-run -q --unit=start virsh start vms");
    finding(&node, "port-missing", &format!("{SOCKETS}/vhus0"), "begun");
    node.sh(&client("vhus0"));
    finding(&node, "port-missing", &format!("{SOCKETS}/vhus0"), "ended");
    node.wait_for("the VM", "virsh domstate vms | grep -q running");

    // One whose monitor is frozen by a card without a port.
    node.sh(&format!(
        "printf \"<interface type='vhostuser'><mac address='52:54:00:00:05:77'/><source type='unix' \
         path='{SOCKETS}/vhus9' mode='server'/><model type='virtio'/></interface>\" > /root/card.xml; \
         systemd-run -q --unit=attach virsh attach-device vms /root/card.xml --live"
    ));
    finding(&node, "hot-plug-waits", &format!("{SOCKETS}/vhus9"), "begun");
    node.sh(&client("vhus9"));
    finding(&node, "hot-plug-waits", &format!("{SOCKETS}/vhus9"), "ended");
    node.wait_for("the end of the attempt", "! systemctl is-active -q attach");
    node.sh("virsh destroy vms; ovs-vsctl --if-exists del-port vhus9");

    // A port that OVS cannot create.
    let again = "ovs-vsctl --if-exists del-port vhuc0 -- add-port br-int vhuc0 -- set Interface vhuc0 type=dpdkvhostuser";
    node.sh(&format!("ovs-vsctl del-port vhuc0; mkdir /run/openvswitch/vhuc0; {again} 2>&1 || :"));
    finding(&node, "port-failed", "/run/openvswitch/vhuc0", "begun");
    node.sh(&format!("ovs-vsctl del-port vhuc0; rmdir /run/openvswitch/vhuc0; {again}"));
    finding(&node, "port-failed", "/run/openvswitch/vhuc0", "ended");

    // A VM that the switch's restart cut off.
    node.start("vmc", true);
    node.sh(&format!("systemctl restart {}", node.switch()));
    finding(&node, "nic-dead-after-restart", "/run/openvswitch/vhuc0", "begun");
    node.sh("virsh destroy vmc && virsh start vmc");
    finding(&node, "nic-dead-after-restart", "/run/openvswitch/vhuc0", "ended");

    // A port is added before its VM is started, and goes after it: that is how it is done.
    let all = node.sh(&format!("journalctl -q --no-pager -o cat {SAID} VA_FINDING=port-without-vm || :"));
    assert_eq!(all, "", "what passes was told");
    node.agrees("at the end");
}

fn drift_by_other_tools_is_told_and_ends(kind: &'static str) {
    let node = watched(kind, "");
    node.sh(&format!("printf 'd {SOCKETS} 0755 root root\\n' > /etc/tmpfiles.d/other.conf"));
    let loops = |name: &str, command: &str| {
        node.sh(&format!("systemd-run -q --unit={name} sh -c 'while :; do {command}; sleep 0.3; done'"));
    };
    let holds = format!("test \"$(stat -c '%a %G' {SOCKETS})\" = '2775 hugetlbfs'");
    // Once, with drift = report.
    for tool in [
        "systemd-tmpfiles --create /etc/tmpfiles.d/other.conf".to_string(),
        format!("install -d -o root -g root -m 0755 {SOCKETS}"),
    ] {
        let before = mark(&node);
        node.sh(&tool);
        node.wait_for(&tool, &format!("journalctl -q --no-pager -o cat --since={before} VA_STATE=begun VA_SUBJECT={SOCKETS} | grep ."));
        // That the file is there is a finding of its own.
        node.apply_anyway("");
        node.wait_for(&tool, &format!("journalctl -q --no-pager -o cat --since={before} VA_STATE=ended VA_SUBJECT={SOCKETS} | grep ."));
    }
    // Again and again, with drift = fix.
    node.configure("modes = dpdkvhostuserclient dpdkvhostuser\\n[watch]\\ndrift = fix\\n");
    let journal = node.sh("cat /var/lib/vhost-accord/journal.json");
    for (name, tool) in [
        ("tmpfiles", "systemd-tmpfiles --create /etc/tmpfiles.d/other.conf"),
        ("tool", &format!("setfacl -b {SOCKETS}; chgrp kvm {SOCKETS}")),
    ] {
        let before = mark(&node);
        loops(name, tool);
        let said = |fields: &str| {
            node.wait_for(
                name,
                &format!("journalctl -q --no-pager -o cat --since={before} {fields} | grep ."),
            );
        };
        said("MESSAGE_ID=2b0b0a955f424207afc9e5fbb0ec5791");
        // It ends: what is set back stays so, and is a finding.
        said(&format!("VA_STATE=begun VA_SUBJECT={SOCKETS}"));
        node.sh(&format!("systemctl stop {name}; systemctl reload {UNIT}"));
        node.wait_for("it is fixed again", &holds);
        said(&format!("VA_STATE=ended VA_SUBJECT={SOCKETS}"));
    }
    node.sh("rm /etc/tmpfiles.d/other.conf");
    settled(&node);
    assert_eq!(
        node.sh("cat /var/lib/vhost-accord/journal.json"),
        journal,
        "revert restores what was there at first"
    );
    node.agrees("at the end");
}
