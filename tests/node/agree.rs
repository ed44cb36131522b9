// SPDX-License-Identifier: Apache-2.0
//! From a stock node, where no VM starts, to one where all do, and back.

use super::steps::BOTH;
use super::support::{Node, on_every_node, on_nodes};

on_every_node!(
    apply_alone_lets_every_vm_start,
    both_port_types_agree_after_apply,
    the_setgid_directory_alone_does_it,
    it_stays_so,
    revert_gives_the_stock_node_back,
    each_breakage_is_named_alone,
);
on_nodes!(rhel_4_0 = "rhel-4.0": both_port_types_agree_after_apply it_stays_so);

/// As the packages are installed, with nothing configured: what the hook would refuse is fixed by what it prints.
fn apply_alone_lets_every_vm_start(kind: &'static str) {
    let node = Node::up(kind);
    let stock = node.snapshot();
    let plan = node.accord("plan");
    let found = "modes = look: dpdkvhostuserclient dpdkvhostuser: OVS has the dpdkvhostuser port vhuc0";
    assert!(plan.stdout.lines().any(|line| line == found), "{plan}");
    let config = node.accord("config");
    assert!(
        config
            .stdout
            .contains("# default; dpdkvhostuserclient dpdkvhostuser: OVS has the dpdkvhostuser port vhuc0"),
        "{config}"
    );
    let json: serde_json::Value = serde_json::from_str(&node.accord("check --json").stdout).unwrap();
    for finding in json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["level"] == "broken" && finding["restart"].is_null())
    {
        assert_eq!(finding["fix"], "vhost-accord apply", "{finding:#}");
    }
    // That switch is a root without root's capabilities: it gets its group when it is started again.
    let output = node.apply_anyway(if kind == "rhel-2.9" { "--restart" } else { "" });
    node.start("vmc", false);
    node.start("vms", false);
    assert!(!output.stdout.contains("Nothing to change"), "{output}");

    // OVSDB tells nothing: that takes nothing back, with or without a VM that would tell.
    let undefine = "virsh dumpxml --inactive vmc > /root/vmc.xml && virsh undefine vmc";
    for script in ["true", undefine] {
        node.sh(&format!("{script}; systemctl stop {}", node.switch()));
        let output = node.apply_anyway("");
        assert!(output.stdout.contains("Nothing to change"), "{output}");
        node.sh(&format!("systemctl start {}", node.switch()));
        node.wait_for("OVS", "ovs-appctl --timeout=5 version && test -S /run/openvswitch/vhuc0");
    }
    // It tells that there is no such port, and no VM connects to one: what was made for them goes.
    node.sh("ovs-vsctl del-port vhuc0");
    let plan = node.accord("plan");
    assert!(
        plan.stdout.contains("modes = look: dpdkvhostuserclient: OVS has no dpdkvhostuser port"),
        "{plan}"
    );
    node.apply_anyway("");
    node.sh("! grep -r vswitchd-post /etc/systemd/system");
    node.sh("virsh define /root/vmc.xml");
    assert!(node.accord("plan").stdout.contains("VM vmc connects to /run/openvswitch/vhuc0"));

    // What the configuration leaves out is named with the line that does so, and the command cures it.
    node.sh("ovs-vsctl add-port br-int vhuc0 -- set Interface vhuc0 type=dpdkvhostuser; mkdir -p /etc/vhost-accord; \
             printf '[accord]\n# only\nmodes = dpdkvhostuserclient\n' > /etc/vhost-accord/vhost-accord.conf");
    node.apply_anyway("");
    let command = "sed -i '3s/.*/modes = look/' /etc/vhost-accord/vhost-accord.conf && vhost-accord apply";
    let refused = node.refuses("vmc");
    assert!(
        refused.contains("server-socket-refuses-qemu: /run/openvswitch/vhuc0")
            && refused.contains(&format!("fix: {command}")),
        "{refused}"
    );
    let json: serde_json::Value = serde_json::from_str(&node.accord("check --json").stdout).unwrap();
    let fix = |finding: &serde_json::Value| {
        finding["id"] == "server-socket-refuses-qemu" && finding["fix"] == command
    };
    assert!(json["findings"].as_array().unwrap().iter().any(fix), "{json:#}");
    let cured = node.try_sh(command);
    assert!(cured.code == 0 || cured.code == 2, "{cured}");
    node.start("vmc", false);

    node.sh("rm -r /etc/vhost-accord");
    assert_eq!(node.accord("revert --restart").code, 0);
    node.same_as(&stock, "after revert");
}

fn both_port_types_agree_after_apply(kind: &'static str) {
    let node = Node::up(kind);
    node.configure(BOTH);
    let refused = node.refuses("vmc");
    assert!(
        refused.contains("Failed to connect to '/run/openvswitch/vhuc0': Permission denied"),
        "{refused}"
    );
    let refused = node.refuses("vms");
    assert!(refused.contains("Failed to bind socket to /var/lib/vhost_sockets/vhus0"), "{refused}");
    assert_eq!(node.accord("plan").code, 2);
    assert_eq!(node.check().0, 2);

    node.apply("--restart");
    node.agrees("after apply");
    // libvirt goes on by itself after its restart: it asks each emulator in a directory of its own.
    let written = || {
        node.sh("find /etc /var/lib /run/openvswitch /dev/hugepages -path /var/lib/libvirt/qemu -prune -o \
             -newer /etc/vhost-accord -printf '%p %C@\\n' | sort")
    };
    let before = written();
    let again = node.apply("--restart");
    assert!(again.stdout.contains("Nothing to change."), "{again}");
    let after = written();
    assert_eq!(before, after, "a second apply wrote something");
    assert_eq!(node.accord("plan").code, 0);

    node.start("vmc", true);
    node.start("vms", true);
    let qemu = node.qemu();
    let dataplane = match kind {
        _ if !node.is_rhel() => "root:root",
        "rhel-2.9" => "root:hugetlbfs",
        _ => "openvswitch:hugetlbfs",
    };
    let owner = dataplane.split(':').next().unwrap();
    assert_eq!(node.owner("/var/lib/vhost_sockets"), format!("{qemu}:hugetlbfs 2775"));
    assert_eq!(node.owner("/var/lib/vhost_sockets/vhus0"), format!("{qemu}:hugetlbfs 0775"));
    assert_eq!(node.owner("/run/openvswitch/vhuc0"), format!("{owner}:{qemu} 0775"));
    assert_eq!(node.owner("/dev/hugepages"), "root:hugetlbfs 0775");
    assert_eq!(node.process("ovs-vswitchd").0, format!("{dataplane} 0022"));
    assert_eq!(node.process("ovsdb-server").0, format!("{dataplane} 0022"));
    let (ids, groups) = node.process("qemu-system");
    assert_eq!(ids, format!("{qemu}:hugetlbfs 0002"));
    assert!(groups.iter().any(|group| group == qemu), "{groups:?}");
    node.agrees("with both VMs running");
    qemu_cannot_drive_the_switch(&node);
}

/// Tried with the very ids of the running QEMU, not predicted.
pub fn qemu_cannot_drive_the_switch(node: &Node) {
    let as_qemu = "pid=$(pgrep -o qemu-system); uid=$(awk '/^Uid:/{print $3}' /proc/$pid/status); \
                   gid=$(awk '/^Gid:/{print $3}' /proc/$pid/status); \
                   groups=$(sed -n 's/^Groups:[[:space:]]*//p' /proc/$pid/status | tr ' ' , | sed 's/,*$//'); \
                   setpriv --reuid $uid --regid $gid --groups $groups --";
    for command in [
        "ovs-appctl --timeout=5 version",
        "ovs-appctl --timeout=5 -t /run/openvswitch/ovsdb-server.$(cat /run/openvswitch/ovsdb-server.pid).ctl version",
        "ovs-ofctl --timeout=5 show br-int",
        "ovs-vsctl --timeout=5 show",
        "cat /etc/openvswitch/conf.db",
    ] {
        assert_eq!(node.try_sh(command).code, 0, "root can: {command}");
        let output = node.try_sh(&format!("{as_qemu} {command}"));
        assert!(output.code != 0, "QEMU's identity can: {command} on {}", node.kind);
        assert!(output.stderr.contains("Permission denied"), "{command}: {output}");
    }
}

fn the_setgid_directory_alone_does_it(kind: &'static str) {
    let node = Node::up(kind);
    node.configure(&format!("{BOTH}qemu-group = keep\\n"));
    let conf = node.sh("sha256sum /etc/libvirt/qemu.conf");
    node.apply("--restart");
    node.agrees("after apply");
    node.start("vmc", true);
    node.start("vms", true);
    let qemu = node.qemu();
    assert_eq!(node.owner("/var/lib/vhost_sockets/vhus0"), format!("{qemu}:hugetlbfs 0775"));
    assert_eq!(node.process("qemu-system").0, format!("{qemu}:{qemu} 0002"));
    assert_eq!(node.sh("sha256sum /etc/libvirt/qemu.conf"), conf, "qemu.conf was touched");
    node.agrees("with both VMs running");
    qemu_cannot_drive_the_switch(&node);
}

fn it_stays_so(kind: &'static str) {
    let node = Node::up(kind);
    node.configure(BOTH);
    node.apply("--restart");
    let still = |when: &str| {
        node.agrees(when);
        node.start("vmc", false);
        node.start("vms", false);
    };
    node.reboot();
    still("after a reboot");

    node.sh(&format!("systemctl restart {}", node.switch()));
    still("after a restart of openvswitch");

    node.sh("systemctl restart libvirtd");
    still("after a restart of libvirt");

    let old = node.sh("pgrep -o ovs-vswitchd");
    node.sh("kill -9 $(pgrep -o ovs-vswitchd)");
    node.wait_for("a new ovs-vswitchd", &format!("p=$(pgrep -o ovs-vswitchd) && test $p != {} && ovs-appctl --timeout=5 version && test -S /run/openvswitch/vhuc0 && test $(ovs-vsctl get Interface vhuc0 ofport) -gt 0", old.trim()));
    node.wait_for("the grant", "test $(stat -c %a /run/openvswitch/vhuc0) = 775");
    still("after ovs-vswitchd was killed");

    node.sh("DEBIAN_FRONTEND=noninteractive dpkg -i --force-confold /root/debs/openvswitch*.deb /root/debs/libvirt*.deb");
    node.sh(&format!(
        "systemctl daemon-reload; systemctl restart {}; systemctl restart libvirtd",
        node.switch()
    ));
    node.wait_for("OVS", "ovs-appctl --timeout=5 version");
    if kind == "rhel-2.9" || kind == "rhel-2.17" {
        // The packages are Debian's under units of RHEL's shape: their maintainer script moves the database to a directory
        // that these generations do not have, and what must hold there is new.
        node.apply("");
    }
    still("after the packages were installed again");

    node.sh("virsh dumpxml --inactive vms | sed \"s#</domain>#<seclabel type='static' model='dac' relabel='yes'><label>+1234:+$(getent group hugetlbfs | cut -d: -f3)</label></seclabel></domain>#\" > /tmp/own.xml && virsh define /tmp/own.xml");
    node.start("vms", true);
    assert!(node.sh("stat -c '%u:%G %a' /var/lib/vhost_sockets/vhus0").starts_with("1234:hugetlbfs 775"));
    node.agrees("with a VM that has its own DAC label");
}

fn revert_gives_the_stock_node_back(kind: &'static str) {
    let node = Node::up(kind);
    node.configure(BOTH);
    let stock = node.snapshot();
    node.apply("--restart");
    node.start("vms", false);
    node.sh("rm -f /var/lib/vhost_sockets/vhus0");
    assert_ne!(node.snapshot(), stock, "apply changed nothing?");
    let output = node.accord("revert --restart");
    assert_eq!(output.code, 0, "{output}");
    node.same_as(&stock, "after revert");
    assert!(node.accord("revert").stdout.contains("Nothing to revert."));
}

fn each_breakage_is_named_alone(kind: &'static str) {
    let node = Node::up(kind);
    node.configure(BOTH);
    node.apply("--restart");
    node.start("vms", true);
    let hugepages = "dev-hugepages.mount.d/50-vhost-accord.conf";
    let breakages = [
        (
            "wrong group",
            "chgrp daemon /var/lib/vhost_sockets",
            "socket-directory-owner /var/lib/vhost_sockets",
        ),
        ("wrong mode", "chmod 0755 /var/lib/vhost_sockets", "socket-directory-mode /var/lib/vhost_sockets"),
        (
            "socket chowned",
            "chgrp root /run/openvswitch/vhuc0",
            "server-socket-refuses-qemu /run/openvswitch/vhuc0",
        ),
        (
            "drop-in removed",
            &format!("rm /etc/systemd/system/{hugepages} && systemctl daemon-reload"),
            &format!("file-missing /etc/systemd/system/{hugepages}"),
        ),
        (
            "daemon-reload missing",
            "sleep 1.1; touch /etc/systemd/system/ovs-vswitchd.service.d/50-vhost-accord.conf",
            "daemon-reload-missing ovs-vswitchd.service",
        ),
        (
            "mount options overridden",
            // With what the unit has itself: whoever drops that changes what ours has to repeat.
            "own=$(sed -n 's/^Options=//p' /usr/lib/systemd/system/dev-hugepages.mount); \
             printf '[Mount]\\nOptions=%s\\n' \"${own:+$own,}mode=01770,gid=136\" \
                 > /etc/systemd/system/dev-hugepages.mount.d/override.conf; systemctl daemon-reload",
            "drop-in-without-effect dev-hugepages.mount",
        ),
        (
            "a link in the directory's place",
            "virsh destroy vms; mv /var/lib/vhost_sockets /var/lib/elsewhere; ln -s elsewhere /var/lib/vhost_sockets",
            "socket-directory-missing /var/lib/vhost_sockets",
        ),
        ("the old VM again", "virsh start vms && chmod 0755 /var/lib/vhost_sockets", "socket-directory-mode"),
        (
            "qemu.conf changed",
            "sed -i 's/^group = .*/group = \"root\"/' /etc/libvirt/qemu.conf",
            "qemu-conf-group /etc/libvirt/qemu.conf",
        ),
        ("hugepages 0700", "chmod 0700 /dev/hugepages", "hugepages-mode /dev/hugepages"),
        ("group renumbered", "groupmod -g 5123 hugetlbfs", "group-renumbered group hugetlbfs"),
        ("client socket chowned", "chgrp daemon /var/lib/vhost_sockets/vhus0", "client-socket"),
        (
            "missing directory",
            "virsh destroy vms && rm -rf /var/lib/vhost_sockets",
            "socket-directory-missing /var/lib/vhost_sockets",
        ),
    ];
    for (what, script, expected) in breakages {
        node.sh(script);
        let (code, mut findings) = node.check();
        findings.retain(|line| !line.starts_with("group-not-the-contract"));
        assert_eq!(code, 2, "{what} on {kind}: {findings:?}");
        assert_eq!(findings.len(), 1, "{what} on {kind}: {findings:?}");
        assert!(findings[0].starts_with(expected), "{what} on {kind}: {findings:?}");
        fix(&node);
        node.agrees(&format!("after fixing '{what}'"));
    }
    old_identity(&node);
}

/// Follows the printed commands to the letter.
fn fix(node: &Node) {
    for _ in 0..3 {
        let output = node.accord("check --json");
        let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
        let findings = json["findings"].as_array().unwrap();
        let Some(finding) = findings.iter().find(|finding| finding["id"] != "group-not-the-contract") else {
            return;
        };
        let command = finding["fix"].as_str().unwrap();
        let output = node.try_sh(command);
        assert!(output.code == 0 || output.code == 2, "{command}: {output}");
    }
}

/// A dataplane that was started with other ids than the accord has.
fn old_identity(node: &Node) {
    let (variable, value) = if node.is_rhel() {
        ("OVS_USER_ID", "root:root")
    } else {
        node.sh("groupadd -r openvswitch; useradd -r -g openvswitch -d / openvswitch");
        node.sh("chown openvswitch /run/openvswitch /run/openvswitch/db.sock; chmod 0777 /etc/openvswitch /var/lib/openvswitch; chown openvswitch /var/lib/openvswitch/*conf.db* /var/lib/openvswitch/.conf.db*; printf '[Service]\\nRuntimeDirectory=\\n' > /run/systemd/system/ovsdb-server.service.d/x.conf || { mkdir -p /run/systemd/system/ovsdb-server.service.d; printf '[Service]\\nRuntimeDirectory=\\n' > /run/systemd/system/ovsdb-server.service.d/x.conf; }");
        ("OVS_CTL_OPTS", "--ovs-user=openvswitch:openvswitch")
    };
    for unit in ["ovsdb-server", "ovs-vswitchd"] {
        node.sh(&format!(
            "mkdir -p /run/systemd/system/{unit}.service.d; printf '{variable}={value}\\n' > /run/other.env; \
             printf '[Service]\\nEnvironmentFile=/run/other.env\\n' > /run/systemd/system/{unit}.service.d/99-other.conf"
        ));
    }
    node.sh(&format!("systemctl daemon-reload; systemctl restart {}", node.switch()));
    node.sh("rm -r /run/systemd/system/ovsdb-server.service.d/99-other.conf /run/systemd/system/ovs-vswitchd.service.d/99-other.conf; systemctl daemon-reload");
    let (code, findings) = node.check();
    assert_eq!(code, 2, "{findings:?}");
    assert!(findings.iter().any(|line| line.starts_with("dataplane-identity ovs-vswitchd")), "{findings:?}");
}
