// SPDX-License-Identifier: Apache-2.0
//! What is new with OVS 4.0: systemd holds the database's socket.

use super::agree::qemu_cannot_drive_the_switch;
use super::steps::BOTH;
use super::support::{Node, on_nodes};

on_nodes!(rhel_4_0 = "rhel-4.0": the_switch_does_not_overtake_its_database revert_gives_the_stock_node_back);
on_nodes!(sid = "sid": the_database_is_closed_to_qemu_and_open_to_the_switch a_stopped_database_stays_stopped);

/// RHEL's ovs-vswitchd.service does not wait for ovsdb-server.service, which writes down whom it has to run as.
fn the_switch_does_not_overtake_its_database(kind: &'static str) {
    let node = Node::up(kind);
    node.sh("mkdir -p /etc/systemd/system/ovsdb-server.service.d; \
         printf '[Service]\\nExecStopPost=/bin/rm -f /run/openvswitch.useropts\\nExecCondition=/bin/sleep 2\\n' \
         > /etc/systemd/system/ovsdb-server.service.d/slow.conf; \
         systemctl daemon-reload; systemctl restart openvswitch");
    assert_eq!(
        node.process("ovs-vswitchd").0,
        "root:root 0022",
        "the units wait for each other by themselves"
    );
    node.configure(BOTH);
    let (_, findings) = node.check();
    assert!(findings.iter().any(|line| line.starts_with("dataplane-identity ovs-vswitchd")), "{findings:?}");
    node.apply("--restart");
    for when in ["after apply", "after a reboot"] {
        node.agrees(when);
        assert_eq!(node.process("ovs-vswitchd").0, "openvswitch:hugetlbfs 0022", "{when}");
        node.reboot();
    }
}

fn revert_gives_the_stock_node_back(kind: &'static str) {
    let node = Node::up(kind);
    // Whom ovs-vswitchd runs as is a matter of luck else.
    node.sh("mkdir -p /etc/systemd/system/ovs-vswitchd.service.d; \
         printf '[Unit]\\nAfter=ovsdb-server.service\\n' > /etc/systemd/system/ovs-vswitchd.service.d/order.conf; \
         systemctl daemon-reload; systemctl restart openvswitch");
    for user in ["keep", "root"] {
        node.configure(&format!("{BOTH}dataplane-user = {user}\\n"));
        let stock = node.snapshot();
        node.apply("--restart");
        node.agrees(user);
        node.start("vms", true);
        qemu_cannot_drive_the_switch(&node);
        node.sh("virsh destroy vms; rm -f /var/lib/vhost_sockets/vhus0");
        let output = node.accord("revert --restart");
        assert_eq!(output.code, 0, "{output}");
        node.same_as(&stock, "after revert");
    }
}

/// The unit's own way to say whom its socket is for, and the socket that is there.
fn the_database_is_closed_to_qemu_and_open_to_the_switch(kind: &'static str) {
    let node = Node::up(kind);
    // A site's own choice of group stays where QEMU is not in it.
    node.sh("groupadd -r agents; mkdir -p /etc/systemd/system/ovsdb-server.socket.d; \
         printf '[Socket]\\nSocketGroup=agents\\n' > /etc/systemd/system/ovsdb-server.socket.d/site.conf; \
         systemctl daemon-reload; systemctl stop openvswitch-switch ovsdb-server.socket; systemctl start openvswitch-switch");
    assert_eq!(node.owner("/run/openvswitch/db.sock"), "root:agents 0770");
    node.configure(&format!("{BOTH}dataplane-user = openvswitch\\n"));
    node.apply("--restart");
    node.agrees("after apply");
    assert_eq!(node.owner("/run/openvswitch/db.sock"), "openvswitch:agents 0770");
    node.start("vms", true);
    qemu_cannot_drive_the_switch(&node);

    node.sh("chown openvswitch:hugetlbfs /run/openvswitch/db.sock");
    assert_eq!(node.check(), (2, vec!["database-socket-owner /run/openvswitch/db.sock".to_string()]));
    node.apply("");
    node.agrees("after it was opened to QEMU");

    let drop_in = "/etc/systemd/system/ovsdb-server.socket.d/99-later.conf";
    node.sh(&format!("printf '[Socket]\\nSocketMode=0777\\n' > {drop_in}; systemctl daemon-reload"));
    node.apply_anyway("");
    assert_eq!(node.check(), (2, vec!["drop-in-without-effect ovsdb-server.socket".to_string()]));
    node.sh(&format!("rm {drop_in}; systemctl daemon-reload"));
    node.apply("");

    // systemd 262 takes what apply wrote, and its accounts are as they would be by sysusers.d.
    let output = node.try_sh("systemd-tmpfiles --dry-run --create vhost-accord.conf && systemd-sysusers && systemctl daemon-reload");
    assert_eq!(
        (output.code, output.stderr.lines().find(|line| line.contains("vhost-accord.conf:"))),
        (0, None),
        "{output}"
    );
    node.agrees("after systemd made all accounts that packages ask for");
    rules_of_udev(&node);

    // QEMU in the site's group: the group loses its say.
    node.sh("usermod -aG agents libvirt-qemu; virsh destroy vms");
    node.apply("--restart");
    node.agrees("with QEMU in the socket's group");
    assert_eq!(node.owner("/run/openvswitch/db.sock"), "openvswitch:agents 0750");
    node.start("vms", true);
    qemu_cannot_drive_the_switch(&node);
}

/// RHEL's rule for VFIO devices, and the number that containers agree on.
fn rules_of_udev(node: &Node) {
    let rule = "ACTION==\"add\", SUBSYSTEM==\"vfio*\", GROUP=\"hugetlbfs\", MODE=\"0660\"";
    let packaged = "/usr/lib/udev/rules.d/91-vfio.rules";
    node.sh(&format!("printf '%s\\n' '{rule}' > {packaged}"));
    assert_eq!(node.check(), (1, vec![format!("udev-group-deprecated {packaged}")]));
    // Nobody listens to udevadm in a container: only the first part of the fix works here.
    let json: serde_json::Value = serde_json::from_str(&node.accord("check --json").stdout).unwrap();
    node.try_sh(json["findings"][0]["fix"].as_str().unwrap());
    node.agrees("after the fix");
    let own =
        node.sh("udevadm verify /etc/udev/rules.d/91-vfio.rules >&2; cat /etc/udev/rules.d/91-vfio.rules");
    assert!(
        own.contains("SUBSYSTEM==\"vfio*\", RUN+=\"/usr/bin/chgrp hugetlbfs $devnode\", MODE=\"0660\""),
        "{own}"
    );
    node.sh(&format!("rm /etc/udev/rules.d/91-vfio.rules {packaged}"));
}

/// Whoever connects to systemd's socket starts the database that an operator stopped.
fn a_stopped_database_stays_stopped(kind: &'static str) {
    let node = Node::up(kind);
    node.configure(BOTH);
    node.apply("--restart");
    node.sh("virsh dumpxml --inactive vms > /root/vms.xml; virsh dumpxml --inactive vmc > /root/vmc.xml");
    node.sh("systemctl stop openvswitch-switch ovs-vswitchd ovsdb-server");
    let state = || node.try_sh("systemctl is-active ovsdb-server.socket ovsdb-server.service").stdout;
    assert_eq!(state(), "active\ninactive\n");
    let hook = "/etc/libvirt/hooks/qemu.d/50-vhost-accord";
    let mut commands = vec!["vhost-accord inspect /root/vms.xml".to_string()];
    let words =
        ["check", "check --prometheus", "plan", "config", "explain", "convert", "convert --all --dry-run"];
    commands.extend(words.map(|words| format!("vhost-accord {words}")));
    let moments = ["boot", "dataplane-pre", "vswitchd-pre", "vswitchd-post"];
    commands.extend(moments.map(|moment| format!("vhost-accord service {moment}")));
    for operation in ["prepare begin", "start begin", "migrate begin", "restore begin", "release end"] {
        commands.extend(["vms", "vmc"].map(|vm| format!("{hook} {vm} {operation} - < /root/{vm}.xml")));
    }
    commands.extend(["vhost-accord apply", "vhost-accord revert"].map(str::to_string));
    let woken = |command: &&String| {
        node.try_sh(&format!("timeout 60 {command} > /dev/null 2>&1"));
        let after = state();
        if after != "active\ninactive\n" {
            node.sh("systemctl stop ovsdb-server");
        }
        after != "active\ninactive\n"
    };
    let woken: Vec<&String> = commands.iter().filter(woken).collect();
    assert!(woken.is_empty(), "{woken:#?}");
}
