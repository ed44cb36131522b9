// SPDX-License-Identifier: Apache-2.0
//! libvirt in a container with accounts of its own: the node and the container agree on numbers, and on nothing else.

use super::support::{Node, on_nodes};

on_nodes!(rhel_3_6 = "rhel-3.6": a_container_has_the_number_under_another_name);
on_nodes!(trixie = "trixie": a_container_has_the_number_under_another_name);

/// Accounts that only the container has: the name that libvirt is built with has another number than on the node, and the
/// shared number another name.
const ACCOUNTS: &str = "
    mkdir /root/c
    printf 'root:x:0:0:root:/root:/bin/sh\\nlibvirt-qemu:x:42436:42436::/:/usr/sbin/nologin\\nqemu:x:42436:42436::/:/usr/sbin/nologin\\n' > /root/c/passwd
    printf 'root:x:0:\\ntty:x:5:\\nkvm:x:104:libvirt-qemu\\nlibvirt-qemu:x:42436:\\nqemu:x:42436:\\nvhost:x:42477:\\n' > /root/c/group
    cp -a /etc/libvirt /root/c/libvirt
    sed -i -E '/^(user|group) *=/d' /root/c/libvirt/qemu.conf
    printf 'user = \"libvirt-qemu\"\\ngroup = \"%s\"\\n' vhost >> /root/c/libvirt/qemu.conf
    mkdir -p /root/c/libvirt/hooks/qemu.d
    ln -s /usr/bin/vhost-accord /root/c/libvirt/hooks/qemu.d/50-vhost-accord";

/// The node has no libvirt. What keeps logs for it may be whose it will.
const NO_LIBVIRT: &str = "
    systemctl stop 'libvirt*.socket' 'libvirt*.service' 'virt*.socket' 'virt*.service' 2>/dev/null || :
    rm -f /lib/systemd/system/libvirtd* /lib/systemd/system/virtqemud* /etc/systemd/system/libvirtd* \
        /etc/systemd/system/virtqemud* /etc/systemd/system/*.wants/libvirt* /etc/systemd/system/*.wants/virt*
    rm -f /etc/init.d/libvirt*
    systemctl daemon-reload
    mv /etc/libvirt /root/libvirt-of-the-node; mkdir /etc/libvirt
    systemctl start virtlogd.socket";

/// Another root file system to libvirt: its own accounts and its own configuration over the node's files; /run, /dev and
/// the socket directory are shared, as engines are told to.
const CONTAINER: &str = "
    setsid --fork unshare --mount sh -c '
        mount --bind /root/c/passwd /etc/passwd; mount --bind /root/c/group /etc/group
        mount --bind /root/c/libvirt /etc/libvirt; : > /run/gshadow; mount --bind /run/gshadow /etc/gshadow
        exec libvirtd' >/run/container.log 2>&1 </dev/null";

fn a_container_has_the_number_under_another_name(kind: &'static str) {
    let node = Node::up(kind);
    node.sh(ACCOUNTS);
    node.sh(NO_LIBVIRT);
    let (_, findings) = node.check();
    assert!(findings.iter().any(|line| line.starts_with("no-libvirt ")), "{findings:?}");

    node.configure("qemu-ids = 42436:42477\ngid-mismatch = renumber\n");
    node.apply_anyway("--restart --renumber");
    assert_eq!(node.sh("stat -c '%u:%g %a' /var/lib/vhost_sockets").trim(), "42436:42477 2775");
    assert_eq!(node.sh("stat -c %g /dev/hugepages").trim(), "42477");
    assert_eq!(node.sh("ls -A /etc/libvirt"), "", "nothing of the container's is made on the node");

    node.sh(CONTAINER);
    node.wait_for("libvirt in the container", "virsh version");
    node.start("vms", true);
    assert_eq!(node.sh("stat -c '%u:%g' /var/lib/vhost_sockets/vhus0").trim(), "42436:42477");
    let ids = node.sh("grep -E '^[UG]id:' /proc/$(pgrep -o qemu-system)/status");
    let ids: Vec<&str> = ids.split_whitespace().collect();
    assert_eq!((ids[1], ids[6]), ("42436", "42477"));
    // Which VMs are defined is the container's knowledge.
    node.sh("ovs-vsctl del-port vhuc0");
    node.agrees("with libvirt in a container");
    assert_eq!(node.sh("journalctl -t vhost-accord -o cat | grep -c check-failed || :").trim(), "0");

    // The hook in the container goes by what the node's apply wrote down.
    node.sh("virsh destroy vms");
    node.sh("ovs-vsctl del-port vhus0");
    assert!(node.refuses("vms").contains("vhost-accord: port-missing: "));
    node.sh("kill $(pgrep -x libvirtd)");

    node.accord("revert --restart");
    assert_eq!(node.try_sh("test -e /var/lib/vhost_sockets").code, 1);
}
