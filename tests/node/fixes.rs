// SPDX-License-Identifier: Apache-2.0
//! Fixes that once did not fix: each is broken by hand, named, fixed by the printed command to the letter, and gone.

use std::time::{Duration, Instant};

use super::steps::BOTH;
use super::support::{Node, on_nodes};

on_nodes!(bookworm = "bookworm":
    what_overrides_ours_is_named_and_taken_back
    what_is_in_the_way_is_moved
    sockets_are_found_where_the_switch_has_them
    who_is_kept_out_is_let_in
    every_other_fix_cures
);
on_nodes!(rhel_3_6 = "rhel-3.6":
    what_overrides_ours_is_named_and_taken_back
    sockets_are_found_where_the_switch_has_them
);

/// A finding as `id subject`, what was seen, and its fix.
struct Found {
    line: String,
    seen: String,
    fix: String,
}

fn findings(node: &Node) -> Vec<Found> {
    let output = node.accord("check --json");
    let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output}"));
    let found = json["findings"].as_array().unwrap().iter().map(|finding| {
        let text = |key: &str| finding[key].as_str().unwrap().to_string();
        Found { line: format!("{} {}", text("id"), text("subject")), seen: text("seen"), fix: text("fix") }
    });
    found.filter(|found| !found.line.starts_with("group-not-the-contract")).collect()
}

/// Breaks it, expects this finding alone, and follows its fix. QEMU and DPDK have their time to notice.
fn cured(node: &Node, what: &str, script: &str, expected: &str) -> Found {
    node.sh(script);
    let end = Instant::now() + Duration::from_secs(40);
    let found = loop {
        let mut found = findings(node);
        if found.len() == 1 && found[0].line.starts_with(expected) {
            break found.remove(0);
        }
        let lines: Vec<_> = found.iter().map(|found| (&found.line, &found.seen)).collect();
        assert!(Instant::now() < end, "{what} on {}: {lines:?}, not {expected}", node.kind);
        std::thread::sleep(Duration::from_millis(500));
    };
    let output = node.try_sh(&found.fix);
    assert!(output.code == 0 || output.code == 2, "{what}: {}: {output}", found.fix);
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let left: Vec<_> = findings(node).into_iter().map(|found| (found.line, found.seen)).collect();
        if left.is_empty() {
            break;
        }
        assert!(Instant::now() < end, "{what} on {}, after '{}': {left:?}", node.kind, found.fix);
        std::thread::sleep(Duration::from_millis(500));
    }
    found
}

fn agreed(kind: &'static str, keys: &str) -> Node {
    let node = Node::up(kind);
    node.configure(&format!("{BOTH}{keys}"));
    node.apply("--restart");
    node.agrees("after apply");
    node
}

/// A drop-in that is read after ours, wherever it is.
fn what_overrides_ours_is_named_and_taken_back(kind: &'static str) {
    // An identity that the distribution does not give it, so that ours is told in an environment file.
    let other = if kind.starts_with("rhel") { "root" } else { "openvswitch" };
    let node = agreed(kind, &format!("dataplane-user = {other}\\n"));
    let write = |path: &str, text: &str| {
        format!("mkdir -p $(dirname '{path}'); printf '{text}' > '{path}'; systemctl daemon-reload")
    };
    let etc = "/etc/systemd/system";
    let mount = format!("{etc}/dev-hugepages.mount.d/override.conf");
    let script = write(&mount, "[Mount]\\nOptions=mode=01770,gid=136\\n");
    let found = cured(&node, "a mount's options", &script, "drop-in-without-effect dev-hugepages.mount");
    assert!(found.seen.contains(&format!("{mount} has Options=mode=01770,gid=136")), "{}", found.seen);
    node.reboot();
    node.agrees("after a boot with what was taken back");
    assert_eq!(node.owner("/dev/hugepages"), "root:hugetlbfs 0775");

    // A mount of one's own, with a name that a shell would take apart.
    let unit = "dev-huge\\x2dmine.mount";
    node.sh(&format!("mkdir -p /dev/huge-mine; printf '[Mount]\\nWhat=hugetlbfs\\nWhere=/dev/huge-mine\\nType=hugetlbfs\\n' > '{etc}/{unit}'; \
                      systemctl daemon-reload; systemctl start '{unit}'"));
    node.apply("");
    node.agrees("with a mount of one's own");
    let script = write(&format!("{etc}/{unit}.d/zz.conf"), "[Mount]\\nOptions=mode=0700\\n");
    cured(&node, "a mount of one's own", &script, &format!("drop-in-without-effect {unit}"));
    node.sh(&format!(
        "systemctl stop '{unit}'; rm -r '{etc}/{unit}' '{etc}/{unit}.d'; systemctl daemon-reload"
    ));
    node.apply_anyway("");

    let vswitchd = "drop-in-without-effect ovs-vswitchd.service";
    for (what, path, text) in [
        (
            "an entry",
            "/etc/systemd/system/ovs-vswitchd.service.d/60-x.conf",
            "[Service]\\nLimitCORE=0\\nExecStartPost=\\n",
        ),
        (
            "a package's",
            "/usr/lib/systemd/system/ovs-vswitchd.service.d/60-x.conf",
            "[Service]\\nExecStartPre=\\n",
        ),
        ("one for all", "/etc/systemd/system/service.d/60-x.conf", "[Service]\\nExecStartPost=\\n"),
        (
            "the run-time one",
            "/run/systemd/system/ovs-vswitchd.service.d/60-x.conf",
            "[Service]\\nEnvironmentFile=\\n",
        ),
    ] {
        cured(&node, what, &write(path, text), vswitchd);
        node.sh(&format!(
            "rm -f '{path}' /etc/systemd/system/ovs-vswitchd.service.d/60-x.conf; systemctl daemon-reload"
        ));
    }
    let (variable, value) = if node.is_rhel() {
        ("OVS_USER_ID", "openvswitch:openvswitch")
    } else {
        ("OVS_CTL_OPTS", "--ovs-user=root")
    };
    let drop_in = write(
        "/etc/systemd/system/ovs-vswitchd.service.d/60-x.conf",
        "[Service]\\nEnvironmentFile=/etc/other.env\\n",
    );
    let script = format!("printf 'KEPT=1\\n{variable}={value}\\n' > /etc/other.env; {drop_in}");
    cured(&node, "the identity", &script, vswitchd);
    assert!(node.sh("cat /etc/other.env").starts_with("KEPT=1\n#"), "what else is in the file stays");
    // One that has nothing to do with it is not accused.
    node.agrees("with an environment file of someone else's");
}

fn what_is_in_the_way_is_moved(kind: &'static str) {
    let node = agreed(kind, "");
    let link = "mv /var/lib/vhost_sockets /var/lib/elsewhere; ln -s elsewhere /var/lib/vhost_sockets";
    cured(&node, "a symlink", link, "socket-directory-missing /var/lib/vhost_sockets");
    assert_eq!(node.owner("/var/lib/vhost_sockets"), format!("{}:hugetlbfs 2775", node.qemu()));
    node.start("vms", false);

    // Sockets are a part that apply may not touch.
    node.configure(&format!("{BOTH}manage = hook\\n"));
    node.apply_anyway("");
    node.sh("chgrp root /run/openvswitch/vhuc0");
    let command =
        "sed -i '3s/=[[:blank:]]*/&sockets /' /etc/vhost-accord/vhost-accord.conf && vhost-accord apply";
    let refused = node.refuses("vmc");
    assert!(refused.contains(&format!("fix: {command}")), "{refused}");
    let cured = node.try_sh(command);
    assert!(cured.code == 0 || cured.code == 2, "{cured}");
    node.start("vmc", false);
}

/// `vhost-sock-dir`: apply, the units' entries, the hook and check look there.
fn sockets_are_found_where_the_switch_has_them(kind: &'static str) {
    let node = Node::up(kind);
    node.configure(BOTH);
    let owner = node.sh("stat -c %U:%G /run/openvswitch");
    let directory = format!(
        "install -d -m 0755 -o {} -g {} /run/openvswitch/vhost",
        owner.trim().split(':').next().unwrap(),
        owner.trim().split(':').nth(1).unwrap()
    );
    node.sh(&format!(
        "{directory}; ovs-vsctl set Open_vSwitch . other_config:vhost-sock-dir=vhost; systemctl restart {}",
        node.switch()
    ));
    node.wait_for("the socket", "ovs-appctl --timeout=5 version && test -S /run/openvswitch/vhost/vhuc0");
    node.sh("virsh dumpxml --inactive vmc | sed \"s#path='/run/openvswitch/vhuc0' mode='client'/>#path='/run/openvswitch/vhost/vhuc0' mode='client'><reconnect enabled='yes' timeout='1'/></source>#\" > /tmp/c.xml; virsh define /tmp/c.xml; grep -q reconnect /tmp/c.xml");
    node.apply("--restart");
    let granted = || {
        node.wait_for("the grant", "test $(stat -c %G-%a /run/openvswitch/vhost/vhuc0) = $(id -gn libvirt-qemu 2>/dev/null | sed s/kvm/libvirt-qemu/ || echo qemu)-775 || test $(stat -c %G-%a /run/openvswitch/vhost/vhuc0) = qemu-775")
    };
    granted();
    node.agrees("with vhost-sock-dir");
    node.start("vmc", true);
    // A new socket, given by the unit's entry; no hook runs for the QEMU that comes back to it.
    node.sh(&format!("systemctl restart {}", node.switch()));
    granted();
    let joined = "vhost-accord check --json | python3 -c \"import json,sys; rows=json.load(sys.stdin)['endpoints']; sys.exit(not any(r['vm']=='vmc' and r['verdict']=='ok' for r in rows))\"";
    node.wait_for("the VM's network", joined);
    node.agrees("after a restart of the switch");
    // The permission is the cause, not a connection that somebody has to make anew.
    let script = format!(
        "chgrp root /run/openvswitch/vhost/vhuc0; systemctl stop {0}; {directory}; mv /etc/systemd/system/ovs-vswitchd.service.d/50-vhost-accord.conf /root/; systemctl daemon-reload; systemctl start {0}; mv /root/50-vhost-accord.conf /etc/systemd/system/ovs-vswitchd.service.d/; systemctl daemon-reload",
        node.switch()
    );
    cured(
        &node,
        "a socket that was not given",
        &script,
        "server-socket-refuses-qemu /run/openvswitch/vhost/vhuc0",
    );
    node.wait_for("the VM's network", joined);
}

/// Whoever tries again and again: the one process is kept out, and no VM has to be started anew.
fn who_is_kept_out_is_let_in(kind: &'static str) {
    let node = agreed(kind, "dataplane-user = openvswitch\\n");
    node.sh("ovs-vsctl set Interface vhus0 type=internal; ovs-vsctl set Interface vhus0 type=dpdkvhostuserclient options:vhost-server-path=/srv/vm/vhus0; install -d -m 2777 -g hugetlbfs /srv/vm; \
             virsh dumpxml --inactive vms | sed 's#/var/lib/vhost_sockets/#/srv/vm/#' > /tmp/s.xml; virsh define /tmp/s.xml");
    node.apply_anyway("");
    node.start("vms", true);
    let script = "chown libvirt-qemu:libvirt-qemu /srv/vm/vhus0; chmod 0755 /srv/vm/vhus0; ovs-vsctl set Interface vhus0 type=internal; ovs-vsctl set Interface vhus0 type=dpdkvhostuserclient; sleep 6";
    cured(&node, "a socket elsewhere", script, "client-socket-refuses-dataplane /srv/vm/vhus0");

    // The configuration leaves out the type of a VM that runs.
    node.sh("virsh dumpxml --inactive vmc | sed \"s#mode='client'/>#mode='client'><reconnect enabled='yes' timeout='1'/></source>#\" > /tmp/c.xml; virsh define /tmp/c.xml; grep -q reconnect /tmp/c.xml");
    node.start("vmc", true);
    node.configure("modes = dpdkvhostuserclient\\ndataplane-user = openvswitch\\n");
    node.apply_anyway("");
    let script = "systemctl restart openvswitch-switch; sleep 6";
    let found = cured(&node, "a type left out", script, "server-socket-refuses-qemu /run/openvswitch/vhuc0");
    assert!(
        found.fix.starts_with("sed -i '2s/.*/modes = look/' /etc/vhost-accord/vhost-accord.conf && "),
        "{}",
        found.fix
    );
}

/// What is broken, how, and its finding. Not here: what agree.rs, check.rs and legacy.rs break; what takes a decision of
/// people (`no-dataplane`, `no-libvirt`, `group-sources-disagree`, `qemu-conf-invalid`, `hook-shadowed`,
/// `socket-directory-in-run-directory`, `hugepages-none`); and what a node does not have: SELinux, AppArmor, a guest that
/// shuts itself down (`guest-identity`), a second program (`hook-not-executable`).
const BREAKAGES: [(&str, &str, &str); 21] = [
    (
        "iommu",
        "ovs-vsctl set Open_vSwitch . other_config:vhost-iommu-support=true",
        "vhost-iommu-support other_config:vhost-iommu-support",
    ),
    (
        "owner option",
        "ovs-vsctl set Open_vSwitch . other_config:dpdk-extra='\"--no-pci --vhost-owner libvirt-qemu:kvm --vhost-perm=0666\"'",
        "vhost-owner-option other_config:dpdk-extra",
    ),
    (
        "sock-dir",
        "ovs-vsctl set Open_vSwitch . other_config:vhost-sock-dir=../vhost",
        "vhost-sock-dir-invalid other_config:vhost-sock-dir",
    ),
    ("read-only pages", "mount -o remount,ro /dev/hugepages", "hugepages-read-only /dev/hugepages"),
    (
        "no mount",
        "systemctl stop ovs-vswitchd; umount -l /dev/hugepages; systemctl start openvswitch-switch; sleep 1; umount -l /dev/hugepages || :",
        "hugepages-no-mount hugetlbfs",
    ),
    (
        "no hugetlbfs",
        "echo 'hugetlbfs_mount = \"\"' >> /etc/libvirt/qemu.conf; systemctl reset-failed libvirtd; systemctl restart libvirtd; systemctl reset-failed libvirtd",
        "hugepages-disabled-in-qemu-conf /etc/libvirt/qemu.conf",
    ),
    (
        "no driver",
        "printf 'security_driver = [\\n  \"none\"\\n]\\n' >> /etc/libvirt/qemu.conf; systemctl reset-failed libvirtd; systemctl restart libvirtd; systemctl reset-failed libvirtd",
        "qemu-security-driver-off /etc/libvirt/qemu.conf",
    ),
    (
        "ownership",
        "echo 'dynamic_ownership = 0' >> /etc/libvirt/qemu.conf; systemctl reset-failed libvirtd; systemctl restart libvirtd; systemctl reset-failed libvirtd",
        "qemu-dynamic-ownership-off /etc/libvirt/qemu.conf",
    ),
    (
        "capabilities",
        "echo 'clear_emulator_capabilities = 0' >> /etc/libvirt/qemu.conf; systemctl reset-failed libvirtd; systemctl restart libvirtd; systemctl reset-failed libvirtd",
        "qemu-capabilities-kept /etc/libvirt/qemu.conf",
    ),
    (
        "namespaces",
        "echo 'namespaces = [ ]' >> /etc/libvirt/qemu.conf; systemctl reset-failed libvirtd; systemctl restart libvirtd; systemctl reset-failed libvirtd",
        "qemu-namespaces-off /etc/libvirt/qemu.conf",
    ),
    (
        "qemu.conf is newer",
        "sleep 1.1; touch /etc/libvirt/qemu.conf",
        "libvirt-older-than-qemu-conf libvirtd.service",
    ),
    (
        "default ACL",
        "setfacl -d -m g::rx /var/lib/vhost_sockets",
        "socket-directory-default-acl /var/lib/vhost_sockets",
    ),
    (
        "tmpfiles of a package",
        "printf 'd /run/x 0755 root root\\nd /var/lib/vhost_sockets 0755 root root -\\n' > /usr/lib/tmpfiles.d/vhost.conf",
        "tmpfiles-undoes /usr/lib/tmpfiles.d/vhost.conf",
    ),
    (
        "tmpfiles of one's own",
        "printf 'z \"/dev/hugepages\" 0700 - -\\n' > /etc/tmpfiles.d/own.conf",
        "tmpfiles-undoes /etc/tmpfiles.d/own.conf",
    ),
    ("masked", "systemctl mask dev-hugepages.mount", "unit-masked dev-hugepages.mount"),
    ("the switch is masked", "systemctl mask ovs-vswitchd", "unit-masked ovs-vswitchd.service"),
    (
        "a file of ours",
        "echo '# x' >> /etc/systemd/system/dev-hugepages.mount.d/50-vhost-accord.conf; systemctl daemon-reload",
        "file-differs /etc/systemd/system/dev-hugepages.mount.d/50-vhost-accord.conf",
    ),
    (
        "a hook in the way",
        "rm /etc/libvirt/hooks/qemu.d/50-vhost-accord; printf '#!/bin/sh\\n' > /etc/libvirt/hooks/qemu.d/50-vhost-accord; chmod 755 /etc/libvirt/hooks/qemu.d/50-vhost-accord",
        "hook-missing /etc/libvirt/hooks/qemu.d/50-vhost-accord",
    ),
    ("membership", "gpasswd -d openvswitch hugetlbfs", "account-missing member openvswitch of hugetlbfs"),
    ("database", "chmod 0755 /var/lib/openvswitch", "dataplane-state-owner /var/lib/openvswitch"),
    (
        "umask",
        "d=/run/systemd/system/ovs-vswitchd.service.d; mkdir -p $d; printf '[Service]\\nUMask=0027\\n' > $d/90-x.conf; systemctl daemon-reload; systemctl restart ovs-vswitchd; rm -r $d; systemctl daemon-reload",
        "dataplane-umask ovs-vswitchd",
    ),
];

fn every_other_fix_cures(kind: &'static str) {
    let node = agreed(kind, "dataplane-user = openvswitch\\n");
    for (what, script, expected) in BREAKAGES {
        let found = cured(&node, what, script, expected);
        assert!(!found.fix.contains("then "), "{what}: a sentence is no command: {}", found.fix);
    }
    node.start("vmc", false);
    node.start("vms", false);
}
