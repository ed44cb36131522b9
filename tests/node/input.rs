// SPDX-License-Identifier: Apache-2.0
//! Bad input: one clear line each, an exit code that is not zero, and nothing half-written.

use super::steps::{BOTH, refused, same_as};
use super::support::Node;

/// Whether libvirt starts with its qemu.conf: it is read after systemd calls the daemon started.
const LIBVIRT: &str =
    "systemctl reset-failed; systemctl restart libvirtd && sleep 1 && timeout 10 virsh list";
const JOURNAL: &str = "/var/lib/vhost-accord/journal.json";

fn configured() -> Node {
    let node = Node::up("bookworm");
    node.configure(BOTH);
    node
}

#[test]
#[ignore = "needs a real node: make test"]
fn others_than_root_and_nodes_without_systemd_are_refused() {
    let node = configured();
    let before = node.snapshot();
    for command in ["plan", "apply", "apply --restart", "check", "revert", "service vswitchd-post"] {
        let output =
            node.try_sh(&format!("setpriv --reuid 1000 --regid 1000 --clear-groups vhost-accord {command}"));
        refused(&output, "must run as root");
    }
    node.sh("mkdir /tmp/empty");
    for command in ["plan", "apply", "check", "revert"] {
        let output = node.try_sh(&format!(
            "unshare -m sh -c 'mount --bind /tmp/empty /run/systemd && exec vhost-accord {command}'"
        ));
        refused(&output, "not booted with systemd");
    }
    for usage in ["", "frobnicate", "apply --nosuch", "plan --root", "service"] {
        let output = node.accord(usage);
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{usage}: {output}");
    }
    refused(
        &node.accord("service nosuch"),
        "service nosuch: expected dataplane-pre, vswitchd-pre, vswitchd-post or declared-post",
    );
    refused(&node.accord("plan --root /nowhere"), "/nowhere");
    same_as(&node, &before, "after what was refused");
}

#[test]
#[ignore = "needs a real node: make test"]
fn without_openvswitch_what_there_is_is_provisioned() {
    let node = configured();
    node.sh("systemctl stop openvswitch-switch; dpkg --purge --force-depends openvswitch-switch-dpdk openvswitch-switch openvswitch-common 2>&1; systemctl daemon-reload");
    let stock = node.snapshot();
    assert_eq!(node.accord("plan").code, 2);
    node.apply("--restart");
    let missing = vec!["no-dataplane openvswitch".to_string()];
    assert_eq!(node.check(), (1, missing));
    assert_eq!(node.owner("/var/lib/vhost_sockets"), "libvirt-qemu:hugetlbfs 2775");
    assert_eq!(node.owner("/dev/hugepages"), "root:hugetlbfs 0775");
    assert!(node.accord("apply").stdout.contains("Nothing to change."));

    // It comes later.
    node.sh("DEBIAN_FRONTEND=noninteractive dpkg -i /root/debs/openvswitch*.deb; systemctl daemon-reload");
    node.apply("--restart");
    node.sh("test -f /etc/systemd/system/ovs-vswitchd.service.d/50-vhost-accord.conf");
    node.sh("systemctl stop openvswitch-switch; dpkg --purge --force-depends openvswitch-switch-dpdk openvswitch-switch openvswitch-common 2>&1; systemctl daemon-reload");
    assert_eq!(node.accord("revert --restart").code, 0);
    same_as(&node, &stock, "after revert");
}

#[test]
#[ignore = "needs a real node: make test"]
fn without_libvirt_what_there_is_is_provisioned() {
    let node = configured();
    let purge = "systemctl stop libvirtd libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket 2>/dev/null; \
                 dpkg --purge --force-depends $(dpkg-query -W -f '${Package} ' 'libvirt-daemon*') 2>&1; \
                 userdel libvirt-qemu; systemctl daemon-reload; systemctl reset-failed";
    node.sh(purge);
    let stock = node.snapshot();
    node.apply("--restart");
    assert_eq!(node.check(), (1, vec!["no-libvirt libvirt".to_string()]));
    assert_eq!(node.owner("/dev/hugepages"), "root:hugetlbfs 0775");
    assert_eq!(node.accord("revert --restart").code, 0);
    same_as(&node, &stock, "after revert");

    node.sh("systemctl stop openvswitch-switch; dpkg --purge --force-depends openvswitch-switch-dpdk openvswitch-switch openvswitch-common 2>&1; systemctl daemon-reload");
    let stock = node.snapshot();
    node.apply("--restart");
    let both = vec!["no-dataplane openvswitch".to_string(), "no-libvirt libvirt".to_string()];
    assert_eq!(node.check(), (1, both));
    assert_eq!(node.accord("revert").code, 0);
    same_as(&node, &stock, "after revert with neither");
}

#[test]
#[ignore = "needs a real node: make test"]
fn a_read_only_or_full_filesystem_is_found_before_the_first_change() {
    let node = configured();
    let before = node.snapshot();
    for directory in ["/etc", "/var/lib"] {
        node.sh(&format!("mount --bind {directory} {directory}; mount -o remount,bind,ro {directory}"));
        refused(&node.accord("apply --restart"), "the filesystem is read-only; nothing was changed");
        node.sh(&format!("umount {directory}"));
        same_as(&node, &before, "with a read-only filesystem");
    }
    // A read-only plan is fine.
    node.sh("mount --bind /etc /etc; mount -o remount,bind,ro /etc");
    assert_eq!(node.accord("plan").code, 2);
    assert_eq!(node.check().0, 2);
    node.sh("umount /etc");

    let units = "/etc/systemd/system";
    for options in ["size=256k", "size=16m,nr_inodes=200"] {
        node.sh(&format!(
            "cp -a {units} /tmp/units; mount -t tmpfs -o mode=755,{options} tmpfs {units}; cp -a /tmp/units/. {units}; rm -r /tmp/units; \
             i=0; while touch {units}/fill$i; do i=$((i+1)); test $i -gt 300 && break; done 2>/dev/null; \
             cat /dev/zero >{units}/fill0 2>/dev/null; true"
        ));
        let before = node.snapshot();
        refused(&node.accord("apply"), "the filesystem is full");
        same_as(&node, &before, &format!("with {options}"));
        node.sh(&format!("umount {units}; systemctl daemon-reload"));
    }

    node.sh("mkdir /var/lib/vhost-accord; mount -t tmpfs -o mode=700,size=64k tmpfs /var/lib/vhost-accord; cat /dev/zero >/var/lib/vhost-accord/fill 2>/dev/null; true");
    let full = node.snapshot();
    refused(&node.accord("apply"), "the filesystem is full");
    same_as(&node, &full, "with no room for the journal");
    node.sh("umount /var/lib/vhost-accord; rmdir /var/lib/vhost-accord");
    same_as(&node, &before, "after all");
    node.apply("--restart");
    node.agrees("after all");
}

/// A disk that fills up under our hands: quotas, reserved blocks, someone else's file.
#[test]
#[ignore = "needs a real node: make test"]
fn a_disk_that_is_full_half_way_leaves_nothing_half_written() {
    let node = configured();
    let stock = node.snapshot();
    for (syscall, at) in [
        ("fsync", 1),
        ("fsync", 2),
        ("fsync", 4),
        ("fsync", 7),
        ("mkdirat", 1),
        ("mkdirat", 3),
        ("fchown", 3),
    ] {
        let output = node.try_sh(&format!(
            "strace -qq -o /dev/null -e trace={syscall} -e inject={syscall}:error=ENOSPC:when={at} vhost-accord apply"
        ));
        assert_eq!(output.code, 1, "{syscall} {at}: {output}");
        assert_eq!(output.stderr.lines().count(), 1, "{syscall} {at}: {output}");
        assert!(output.stderr.contains("No space left on device"), "{output}");
        let left = node.sh("find /etc /var/lib /usr/lib /run -xdev -name '*.vhost-accord-new'");
        assert_eq!(left, "", "{syscall} {at}");
        let output = node.accord("revert");
        assert_eq!(output.code, 0, "{syscall} {at}: {output}");
        same_as(&node, &stock, &format!("with no room at {syscall} {at}"));
    }
    node.apply("--restart");
    node.agrees("with room again");
}

#[test]
#[ignore = "needs a real node: make test"]
fn a_configuration_with_a_mistake_is_refused_with_its_place() {
    let node = configured();
    let stock = node.snapshot();
    let path = "/etc/vhost-accord/vhost-accord.conf";
    for (text, expected) in [
        ("qemu_group = keep", ":2: unknown key 'qemu_group'; did you mean 'qemu-group'?"),
        ("gid = many", ":2: gid = many: expected a group number"),
        ("gid = -1", ":2: gid = -1: expected a group number"),
        ("gid = 99999999999", "expected a group number"),
        ("socket-directory = var/lib/vhost_sockets", "expected an absolute path"),
        ("socket-directory = /var/lib/../etc/x", "expected a clean path"),
        ("group = No Such", "expected an account name"),
        ("modes = dpdkvhost", "expected look, or dpdkvhostuserclient or dpdkvhostuser"),
        ("qemu-group = nosuch", "group-missing: qemu-group = nosuch: this group does not exist"),
        ("dataplane-user = nosuch", "dataplane-user-missing: dataplane-user names the user 'nosuch'"),
        ("dataplane-user = openvswitch:nosuch", "group-missing: dataplane-user names the group 'nosuch'"),
        ("manage = nothing", "expected all, or some of"),
        ("\\377\\376 = 1", path),
    ] {
        node.configure(&format!("{text}\\n"));
        for command in ["apply --restart", "plan"] {
            refused(&node.accord(command), expected);
        }
        match expected.split_once(':').filter(|(id, _)| id.ends_with("-missing")) {
            // What is in the way of an accord is a finding of its own.
            Some((id, _)) => assert_eq!(node.check(), (2, vec![format!("{id} configuration")])),
            None => refused(&node.accord("check"), expected),
        }
        node.configure(BOTH);
        same_as(&node, &stock, text);
    }
    node.sh("mkdir /etc/vhost-accord/vhost-accord.conf.d; printf '[accord]\\nnosuch = 1\\n' >/etc/vhost-accord/vhost-accord.conf.d/10-x.conf");
    refused(&node.accord("apply"), "/etc/vhost-accord/vhost-accord.conf.d/10-x.conf:2: unknown key 'nosuch'");
    node.sh("rm -r /etc/vhost-accord/vhost-accord.conf.d; rm /etc/vhost-accord/vhost-accord.conf; mkdir /etc/vhost-accord/vhost-accord.conf");
    refused(&node.accord("apply"), path);
    node.sh("rmdir /etc/vhost-accord/vhost-accord.conf");
    node.configure(BOTH);
    same_as(&node, &stock, "after all");
}

#[test]
#[ignore = "needs a real node: make test"]
fn a_qemu_conf_that_libvirt_rejects_is_neither_made_nor_touched() {
    let node = configured();
    let before = node.snapshot();
    node.sh("cp -a /etc/libvirt/qemu.conf /root/qemu.conf");
    for line in [
        "group = \"nosuch\"",
        "user = \"nosuch\"",
        "group = hugetlbfs",
        "group = \"qemu",
        "this is no setting",
        "user = [ \"a\", ",
    ] {
        node.sh(&format!("cp -a /root/qemu.conf /etc/libvirt/; echo '{line}' >>/etc/libvirt/qemu.conf"));
        // libvirt's own word on it.
        let libvirt = node.try_sh(LIBVIRT);
        assert_ne!(libvirt.code, 0, "libvirt takes {line}");
        let sum = node.sh("sha256sum /etc/libvirt/qemu.conf");
        for command in ["apply --restart", "plan"] {
            let output = node.accord(command);
            refused(&output, "qemu-conf-invalid: /etc/libvirt/qemu.conf");
        }
        assert_eq!(node.sh("sha256sum /etc/libvirt/qemu.conf"), sum, "{line}");
        let (code, findings) = node.check();
        assert!(
            code == 2 && findings.contains(&"qemu-conf-invalid /etc/libvirt/qemu.conf".to_string()),
            "{line}: {findings:?}"
        );
    }
    node.sh("cp -a /root/qemu.conf /etc/libvirt/; rm /root/qemu.conf");
    assert_eq!(node.try_sh(LIBVIRT).code, 0);
    same_as(&node, &before, "after what was refused");

    // What libvirt takes is taken: another key, a list, a forced number.
    node.sh("printf 'cgroup_device_acl = [\\n  \"/dev/null\",\\n]\\ngroup = \"+64055\"\\n' >>/etc/libvirt/qemu.conf");
    node.apply("--restart");
    node.agrees("with an edited qemu.conf");
    assert_eq!(node.try_sh(LIBVIRT).code, 0);
}

#[test]
#[ignore = "needs a real node: make test"]
fn one_changes_the_node_at_a_time() {
    let node = configured();
    let before = node.snapshot();
    node.sh("systemd-run -q --unit holder flock /run/vhost-accord.lock sleep 1000");
    node.wait_for("the lock", "! flock -n /run/vhost-accord.lock true");
    for command in ["apply", "apply --restart", "revert"] {
        refused(&node.accord(command), "another vhost-accord");
    }
    assert_eq!(node.accord("plan").code, 2);
    assert_eq!(node.check().0, 2);
    same_as(&node, &before, "with the lock held");
    node.sh("systemctl stop holder");
    node.apply("");
}

#[test]
#[ignore = "needs a real node: make test"]
fn a_broken_journal_is_said_and_kept() {
    let node = configured();
    node.apply("");
    let good = node.sh(&format!("cat {JOURNAL}"));
    node.sh(&format!("cp {JOURNAL} /root/good"));
    for (what, script) in [
        ("not a journal", format!("echo garbage >{JOURNAL}")),
        ("not a journal", format!(": >{JOURNAL}")),
        ("not a journal", format!("head -c 1000 /root/good >{JOURNAL}")),
        ("not a journal", format!("sed 's/\"entries\"/\"others\"/' /root/good >{JOURNAL}")),
        ("version 9", format!("sed 's/\"version\": 2/\"version\": 9/' /root/good >{JOURNAL}")),
        ("not UTF-8", format!("printf '\\377' >{JOURNAL}")),
    ] {
        node.sh(&script);
        let before = node.snapshot();
        for command in ["apply", "revert", "plan", "check"] {
            refused(&node.accord(command), what);
        }
        same_as(&node, &before, &script);
    }
    node.sh(&format!("cp /root/good {JOURNAL}"));
    assert_eq!(node.sh(&format!("cat {JOURNAL}")), good);
    assert_eq!(node.accord("revert").code, 0);
}
