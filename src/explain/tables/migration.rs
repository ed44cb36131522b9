// SPDX-License-Identifier: Apache-2.0
//! Live migration with vhost-user devices.

use super::*;

pub(super) const SIGNATURES: &[Signature] = &[
    known("migration-lock", BackEnd, &[
        "cannot acquire state change lock (held by {*}Migrate{*}",
        "current job is (none, migration in)",
        "current job is (none, migration out)",
        "current job is (async nested, migration",
    ], &[
        "a live migration holds the VM: it does not get on. With vhost-user: the source's QEMU waits for the back end to answer SET_LOG_BASE (a back end without dirty logging, or whose descriptor a security module took)",
        "the stream between the nodes is blocked or slow. It is no hook that calls virsh, and no permission of a socket",
    ])
    .decide("virsh domjobinfo NAME on the source; the back end's log there for VHOST_USER_SET_LOG_BASE; ausearch -m avc -ts recent | grep vhost-log")
    .fix("virsh domjobabort NAME; update the back end (VHOST_F_LOG_ALL and LOG_SHMFD), or detach the port, or migrate cold")
    .source("libvirt src/qemu/qemu_domainjob.c; vhost-user specification, migration"),
    known("migration-no-log", Unsupported, &[
        "Migration disabled: vhost-user backend lacks",
        "Migration disabled: vhost lacks VHOST_F_LOG_ALL",
        "Migration disabled: failed to allocate shared memory",
        "migration is blocked: {}",
        "State blocked by non-migratable device",
        "non-migratable device '{}'",
        "does not support migration",
        "is not migratable",
        "MigrationNotSupported",
        "vhost-user-fs: {*}igration",
    ], &["this device cannot be migrated live: the back end does not log changed pages (VHOST_F_LOG_ALL, LOG_SHMFD), or keeps state of its own (virtiofsd, some disks)"])
        .decide("virsh qemu-monitor-command NAME --hmp 'info migrate'; the back end's version")
        .fix("update the back end, detach the device for the migration, or migrate cold")
        .source("QEMU hw/virtio/vhost.c, vhost-user-fs.c"),
    known("migration-log-denied", SecurityModule, &["mmap log base failed", "log base mmap failed", "failed to mmap log"], &[
        "the back end may not use, or cannot map, the log of changed pages that QEMU handed it (memfd:vhost-log): SELinux without a rule for svirt_tmpfs_t",
    ])
    .decide("ausearch -m avc -ts recent | grep -E 'vhost-log|svirt_tmpfs_t'")
    .fix("semodule -i /usr/share/selinux/packages/vhost_accord.cil, or openstack-selinux of 2018-02 or newer; then migrate again")
    .source("DPDK lib/vhost/vhost_user.c vhost_user_set_log_base"),
    known("migration-features", Setting, &[
        "Features {} unsupported. Allowed features",
        "Failed to load virtio-net:virtio",
        "Failed to load virtio-blk:virtio",
        "error while loading state for instance {*} of device '{}'",
        "Unable to restore state of device",
        "get_pci_config_device: Bad config data",
    ], &["the destination's back end or QEMU offers fewer features than the VM uses: another version or another setting of the port (TSO, userspace-tso-enable, vhost-iommu-support, packed)"])
        .decide("ovs-vsctl get Open_vSwitch . other_config, on both nodes; versions of OVS, DPDK and QEMU")
        .fix("same versions and settings on both nodes, or the features switched off in the domain (<driver><host .../>)")
        .source("QEMU hw/virtio/virtio.c"),
    known("migration-socket", Missing, &[
        "Unable to write to socket: Broken pipe",
        "Unable to write to socket: Connection reset by peer",
        "migration out job: unexpectedly failed",
        "job: unexpectedly failed",
        "Failed to connect to remote libvirt",
        "unable to connect to server at '{}'",
    ], &["the other node ended the migration: its own log says why (a socket directory that does not exist there, huge pages, the other port type)"])
        .decide("the destination's /var/log/libvirt/qemu/NAME.log and journal at that time")
        .fix("what the destination's log says; vhost-accord check --against compares two nodes before")
        .source("libvirt src/rpc, src/qemu/qemu_migration.c"),
    known("postcopy", Unsupported, &[
        "vhost-postcopy-support and mlockall are not compatible",
        "Postcopy not supported",
        "vhost-user backend not capable of postcopy",
        "postcopy is not supported by {}",
    ], &["migration by post-copy does not go with this back end (it locked its memory, or does not know userfaultfd)"])
        .decide("ovs-vsctl get Open_vSwitch . other_config:vhost-postcopy-support; --mlockall in the options")
        .fix("migrate by pre-copy, or set vhost-postcopy-support=true without --mlockall")
        .source("OVS lib/dpdk.c; QEMU hw/virtio/vhost-user.c"),
];
