// SPDX-License-Identifier: Apache-2.0
//! Pages: huge pages, security modules, and the field's workarounds.

use super::{Page, page};

pub(super) const PAGES: &[Page] = &[
    page(
        "hugepages-read-only",
        "no VM with hugepages starts: 'Read-only file system'",
        "findmnt -t hugetlbfs -o TARGET,OPTIONS",
        "remount it rw, and remove 'ro' from its unit or fstab",
        "mount(8)",
    ),
    page(
        "hugepages-none",
        "DPDK does not start, and no VM with hugepages starts",
        "grep -i huge /proc/meminfo",
        "reserve pages at boot; later, memory is often too fragmented",
        "f-stack 274; spdk 702",
    ),
    page(
        "hugepages-no-mount",
        "no VM with hugepages starts; DPDK logs 'no mounted hugetlbfs found for that size'",
        "findmnt -t hugetlbfs",
        "systemctl start dev-hugepages.mount, then restart libvirt's daemon",
        "tp-libvirt 6290; sonic-platform-vpp 182",
    ),
    page(
        "hugepages-disabled-in-qemu-conf",
        "no VM with hugepages starts",
        "grep hugetlbfs_mount /etc/libvirt/qemu.conf",
        "remove the line, then restart libvirt's daemon",
        "libvirt src/qemu/qemu.conf.in",
    ),
    page(
        "selinux-label",
        "the VM does not start: 'Permission denied' although owner and mode are right; 'avc: denied { create }'",
        "ls -Zd /var/lib/vhost_sockets; ausearch -m avc -ts recent",
        "load the policy module of vhost-accord, then restorecon; do not use setenforce 0",
        "openstack-selinux tests/bz1431556, module os-ovs",
    ),
    page(
        "selinux-hook-confined",
        "the hook reports unknown for what it cannot read, and a VM that will fail may start",
        "ls -Z /usr/bin/vhost-accord; getsebool virt_hooks_unconfined",
        "load the policy module of vhost-accord, then restorecon; the boolean does not help",
        "fedora-selinux/selinux-policy 2195, rhbz 2276917; virt.te names virtnetworkd alone",
    ),
    page(
        "selinux-dac-override",
        "OVS as root cannot connect to a socket: 'avc: denied { dac_override }'",
        "getsebool os_openvswitch_dac_override; ausearch -m avc -ts recent",
        "setsebool -P os_openvswitch_dac_override on, or run OVS as the user of its package",
        "openstack-selinux local_settings.sh.in, os-ovs.te",
    ),
    page(
        "apparmor-profile-disabled",
        "nothing; VMs work, but unconfined",
        "aa-status; ls /etc/apparmor.d/disable",
        "load the profile again; virt-aa-helper allows each VM its own sockets",
        "libvirt a188c57d; guides for OVS-DPDK on Ubuntu",
    ),
    page(
        "qemu-runs-as-root",
        "VMs work; images and sockets belong to root",
        "grep -E '^(user|group)' /etc/libvirt/qemu.conf",
        "remove the lines, run vhost-accord apply, restart libvirt's daemon, then start the VMs again when possible",
        "OVS Documentation/topics/dpdk/vhost-user.rst recommends it; not needed",
    ),
    page(
        "qemu-security-driver-off",
        "nothing; VMs work, but unconfined",
        "grep security_driver /etc/libvirt/qemu.conf",
        "remove the line, then restart libvirt's daemon",
        "libvirt src/qemu/qemu.conf.in",
    ),
    page(
        "qemu-dynamic-ownership-off",
        "a VM may fail with 'Permission denied' on its disk or memory",
        "grep dynamic_ownership /etc/libvirt/qemu.conf",
        "remove the line, unless another program manages the owner of images",
        "libvirt src/qemu/qemu.conf.in",
    ),
    page(
        "qemu-capabilities-kept",
        "nothing; VMs work",
        "grep ^CapEff /proc/PID/status",
        "remove the line, then restart libvirt's daemon",
        "libvirt src/qemu/qemu.conf.in",
    ),
    page(
        "qemu-namespaces-off",
        "nothing; VMs work",
        "grep namespaces /etc/libvirt/qemu.conf",
        "remove the line; share the mounts that a container needs instead",
        "kubevirt/libvirt 8; nixpkgs 22823",
    ),
    page(
        "socket-directory-default-acl",
        "the VM hangs while it starts: its socket lacks write permission for the group",
        "getfacl -d /var/lib/vhost_sockets",
        "setfacl -k DIRECTORY; setgid and QEMU's umask suffice",
        "acl(5); seen with QEMU 7.2",
    ),
    page(
        "tmpfiles-undoes",
        "VMs work until the next boot, then fail as before apply",
        "systemd-tmpfiles --cat-config | grep vhost",
        "override the file with one of the same name in /etc/tmpfiles.d",
        "tmpfiles.d(5); the neutron-openvswitch charm writes such a line",
    ),
];
