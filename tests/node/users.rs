// SPDX-License-Identifier: Apache-2.0
//! OVS as another user than the distribution's: as `openvswitch`, as root, and back again.

use super::steps::BOTH;
use super::support::{Node, on_every_node, on_nodes};

on_every_node!(ovs_runs_as_openvswitch, ovs_runs_as_root, the_classical_recipe_is_called_what_it_is);

/// The two shapes in which the old dataplane goes about its files differently: with all of root's capabilities, and without.
mod by_hand {
    use super::*;

    on_nodes!(bookworm = "bookworm": a_restart_by_hand_hands_over);
    on_nodes!(sid = "sid": a_restart_by_hand_hands_over);
    on_nodes!(rhel_2_9 = "rhel-2.9": a_restart_by_hand_hands_over);
}

fn ovs_runs_as_openvswitch(kind: &'static str) {
    let node = Node::up(kind);
    node.configure(&format!("{BOTH}dataplane-user = openvswitch\\n"));
    // Compacting makes the database anew with the daemon's own group: part of the stock state, not of what comes later.
    node.sh("ovs-appctl -t ovsdb-server ovsdb-server/compact");
    let stock = node.snapshot();
    node.apply("--restart");
    let works = |when: &str| {
        node.agrees(when);
        for daemon in ["ovs-vswitchd", "ovsdb-server"] {
            assert_eq!(node.process(daemon).0, "openvswitch:hugetlbfs 0022", "{when}");
        }
        node.start("vmc", false);
        node.start("vms", false);
    };
    works("after apply");
    node.reboot();
    works("after a reboot");
    node.sh(&format!("systemctl restart {}", node.switch()));
    works("after a restart");
    let old = node.sh("pgrep -o ovs-vswitchd");
    node.sh("kill -9 $(pgrep -o ovs-vswitchd)");
    node.wait_for(
        "a new ovs-vswitchd",
        &format!(
            "pid=$(cat /run/openvswitch/ovs-vswitchd.pid) && test $pid != {} && kill -0 $pid && \
             systemctl is-active -q ovs-vswitchd && test $(stat -c %a /run/openvswitch/vhuc0) = 775",
            old.trim()
        ),
    );
    // Whoever is killed leaves its control socket; that is neither ours nor of the stock state.
    node.sh(&format!("rm -f /run/openvswitch/ovs-vswitchd.{}.ctl", old.trim()));
    works("after ovs-vswitchd was killed");
    node.sh("ovs-appctl -t ovsdb-server ovsdb-server/compact");
    node.agrees("after the database was compacted");
    node.sh("logrotate -f /etc/logrotate.d/openvswitch*");
    node.sh("ovs-appctl vlog/reopen && ovs-appctl -t ovsdb-server vlog/reopen");
    node.agrees("after the logs were rotated");

    node.configure(BOTH);
    node.apply("--restart");
    node.agrees("after going back to the distribution's user");
    let expected = match kind {
        _ if !node.is_rhel() => "root:root 0022",
        "rhel-2.9" => "root:hugetlbfs 0022",
        _ => "openvswitch:hugetlbfs 0022",
    };
    assert_eq!(node.process("ovs-vswitchd").0, expected);
    node.start("vmc", false);
    node.start("vms", false);

    node.configure(&format!("{BOTH}dataplane-user = openvswitch\\n"));
    node.apply("--restart");
    node.sh("rm -f /var/lib/vhost_sockets/vhus0");
    let output = node.accord("revert --restart");
    assert_eq!(output.code, 0, "{output}");
    node.same_as(&stock, "after revert");
}

fn ovs_runs_as_root(kind: &'static str) {
    let node = Node::up(kind);
    node.configure(&format!("{BOTH}dataplane-user = root\\n"));
    let stock = node.snapshot();
    node.apply("--restart");
    node.agrees("after apply");
    let expected = if kind == "rhel-2.9" { "root:hugetlbfs 0022" } else { "root:root 0022" };
    assert_eq!(node.process("ovs-vswitchd").0, expected);
    node.start("vmc", false);
    node.start("vms", false);
    node.reboot();
    node.agrees("after a reboot");
    node.start("vmc", false);
    node.start("vms", false);
    node.sh("rm -f /var/lib/vhost_sockets/vhus0");
    let output = node.accord("revert --restart");
    assert_eq!(output.code, 0, "{output}");
    node.same_as(&stock, "after revert");
}

/// A shared group and umask 0002: VMs start, and QEMU could drive the switch. It works where it is asked for, and is never
/// called agreed.
fn the_classical_recipe_is_called_what_it_is(kind: &'static str) {
    let node = Node::up(kind);
    node.configure(&format!("{BOTH}server-access = umask\\n"));
    node.apply_anyway("--restart");
    let (code, findings) = node.check();
    assert_eq!(code, 2, "{findings:?}");
    if kind == "rhel-2.9" {
        // That generation's ovs-ctl loads /etc/init.d/functions, which takes the umask back.
        assert!(findings.iter().any(|line| line.starts_with("dataplane-umask")), "{findings:?}");
        return;
    }
    assert!(findings.iter().any(|line| line.starts_with("qemu-reaches-control-socket")), "{findings:?}");
    node.start("vmc", false);
    node.start("vms", false);
    node.configure(BOTH);
    node.apply("--restart");
    node.agrees("after going on to grants");
    node.start("vmc", false);
}

/// `apply` without `--restart`, and an operator who restarts OVS when it suits.
fn a_restart_by_hand_hands_over(kind: &'static str) {
    let node = Node::up(kind);
    let restart = format!("systemctl restart {} libvirtd", node.switch());
    for (user, expected) in [("openvswitch", "openvswitch:hugetlbfs 0022"), ("root", "root:")] {
        node.configure(&format!("{BOTH}dataplane-user = {user}\\n"));
        let output = node.apply_anyway("");
        assert!(output.stdout.contains("pending restart: ovs-vswitchd"), "{output}");
        let (code, findings) = node.check();
        assert_eq!(code, 2, "{findings:?}");
        assert!(
            findings.iter().any(|line| line.starts_with("dataplane-identity ovs-vswitchd")),
            "{findings:?}"
        );
        node.sh(&restart);
        node.wait_for("OVS", "ovs-appctl --timeout=5 version");
        node.agrees(&format!("after a restart by hand as {user}"));
        assert!(node.process("ovs-vswitchd").0.starts_with(expected), "{:?}", node.process("ovs-vswitchd"));
        node.start("vmc", false);
        node.start("vms", false);
    }
}
