// SPDX-License-Identifier: Apache-2.0
//! Pages: huge pages, security modules, and the field's workarounds.

use super::{Page, page};

pub(super) const PAGES: &[Page] = &[
    page(
        "hugepages-read-only",
        "no VM with hugepages starts: 'Read-only file system'",
        "findmnt -t hugetlbfs -o TARGET,OPTIONS",
        "remount it rw, and take 'ro' from its unit or fstab",
        "mount(8)",
    ),
    page(
        "hugepages-none",
        "DPDK does not come up, and no VM with hugepages starts",
        "grep -i huge /proc/meminfo",
        "reserve pages at boot; at run time memory is often too fragmented",
        "f-stack 274; spdk 702",
    ),
    page(
        "hugepages-no-mount",
        "no VM with hugepages starts, DPDK says 'no mounted hugetlbfs found for that size'",
        "findmnt -t hugetlbfs",
        "systemctl start dev-hugepages.mount, then restart libvirt's daemon",
        "tp-libvirt 6290; sonic-platform-vpp 182",
    ),
    page(
        "hugepages-disabled-in-qemu-conf",
        "no VM with hugepages starts",
        "grep hugetlbfs_mount /etc/libvirt/qemu.conf",
        "take the line out, then restart libvirt's daemon",
        "libvirt src/qemu/qemu.conf.in",
    ),
    page(
        "selinux-label",
        "the VM does not start with 'Permission denied' whatever owner and mode are; 'avc: denied { create }'",
        "ls -Zd /var/lib/vhost_sockets; ausearch -m avc -ts recent",
        "load the policy module that comes with this program, then restorecon; not setenforce 0",
        "openstack-selinux tests/bz1431556, module os-ovs",
    ),
    page(
        "selinux-hook-confined",
        "the hook may take what it cannot see for unknown: it refuses less than it could",
        "ls -Z /usr/bin/vhost-accord; getsebool virt_hooks_unconfined",
        "load the policy module that comes with this program, then restorecon; the boolean does not help",
        "fedora-selinux/selinux-policy 2195, rhbz 2276917; virt.te names virtnetworkd alone",
    ),
    page(
        "selinux-dac-override",
        "a root switch is refused at sockets that root may use elsewhere; 'avc: denied { dac_override }'",
        "getsebool os_openvswitch_dac_override; ausearch -m avc -ts recent",
        "setsebool -P os_openvswitch_dac_override on, or give the switch the user that its package makes",
        "openstack-selinux local_settings.sh.in, os-ovs.te",
    ),
    page(
        "apparmor-profile-disabled",
        "nothing: VMs work, unconfined",
        "aa-status; ls /etc/apparmor.d/disable",
        "load the profile again; virt-aa-helper lets each VM have its sockets",
        "libvirt a188c57d; guides for OVS-DPDK on Ubuntu",
    ),
    page(
        "qemu-runs-as-root",
        "VMs work; every image and socket becomes root's, and a break-out is the whole node",
        "grep -E '^(user|group)' /etc/libvirt/qemu.conf",
        "take the lines out, vhost-accord apply, restart libvirt's daemon, start VMs again when it suits",
        "OVS Documentation/topics/dpdk/vhost-user.rst recommends it; not needed",
    ),
    page(
        "qemu-security-driver-off",
        "nothing: VMs work, unconfined",
        "grep security_driver /etc/libvirt/qemu.conf",
        "take the line out, restart libvirt's daemon",
        "libvirt src/qemu/qemu.conf.in",
    ),
    page(
        "qemu-dynamic-ownership-off",
        "a VM may fail on its disk or memory with 'Permission denied' though the socket agrees",
        "grep dynamic_ownership /etc/libvirt/qemu.conf",
        "take the line out, unless something else owns the images on purpose",
        "libvirt src/qemu/qemu.conf.in",
    ),
    page(
        "qemu-capabilities-kept",
        "nothing: VMs work",
        "grep ^CapEff /proc/PID/status",
        "take the line out, restart libvirt's daemon",
        "libvirt src/qemu/qemu.conf.in",
    ),
    page(
        "qemu-namespaces-off",
        "nothing: VMs work",
        "grep namespaces /etc/libvirt/qemu.conf",
        "take the line out; share the mounts that a container needs instead",
        "kubevirt/libvirt 8; nixpkgs 22823",
    ),
    page(
        "socket-directory-default-acl",
        "the VM hangs: its socket comes out without write for the group",
        "getfacl -d /var/lib/vhost_sockets",
        "setfacl -k on the directory; setgid and QEMU's umask do it without",
        "acl(5); seen with QEMU 7.2",
    ),
    page(
        "tmpfiles-undoes",
        "it works until the next boot, then VMs fail as before apply",
        "systemd-tmpfiles --cat-config | grep vhost",
        "hide the file with one of its name in /etc/tmpfiles.d",
        "tmpfiles.d(5); the neutron-openvswitch charm writes such a line",
    ),
];
