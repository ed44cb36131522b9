// SPDX-License-Identifier: Apache-2.0
//! DPDK's vhost library, in whatever program it is (Open vSwitch, testpmd, SPDK, BESS, VPP). Formats: lib/vhost/socket.c and
//! vhost_user.c of DPDK 2.2 to 25; in the older ones the path stands after the message.

use super::*;

const SOURCE: &str = "DPDK lib/vhost/socket.c, vhost_user.c";

pub(super) const SIGNATURES: &[Signature] = &[
    known("ovs-connect-denied", Access, &[
        "VHOST_CONFIG: ({}) failed to connect: Permission denied",
        "VHOST_CONFIG: failed to connect to {}: Permission denied",
        "failed to connect to {}: Permission denied",
    ], &[
        "QEMU created this socket; the switch may not write it or search its directory. Groups that its user is merely listed in do not count: Open vSwitch drops them",
        "SELinux or AppArmor: then owner and mode look right; a switch that runs as root is only refused by one of them",
    ])
    .findings(&["client-socket-refuses-dataplane", "dataplane-identity", "qemu-conf-group", "socket-directory-mode"])
    .asks(Actor::Dataplane, Wish::Connect)
    .decide("namei -l PATH; grep -E 'Uid|Gid' /proc/$(pidof ovs-vswitchd)/status; ausearch -m avc -ts recent")
    .fix("QEMU's group (qemu.conf) and the switch's own group must be one; the directory 2770 or 2775 with that group; then restart the switch and start the VM again")
    .source(SOURCE),
    known("ovs-connect-missing", Missing, &[
        "VHOST_CONFIG: ({}) failed to connect: No such file or directory",
        "failed to connect to {}: No such file or directory",
    ], &[
        "normal before the VM starts: QEMU creates this socket then",
        "if the VM runs: its socket has another path, is longer than 107 bytes, or is not in the switch's mounts (container)",
        "both ends are clients: the domain has mode='client'",
    ])
    .findings(&["port-path-differs", "both-ends-client", "socket-path-too-long"])
    .decide("virsh dumpxml NAME | grep -A3 vhostuser; ovs-vsctl --columns=name,options find Interface type=dpdkvhostuserclient")
    .fix("the domain's path and options:vhost-server-path letter by letter the same, mode='server' in the domain")
    .source(SOURCE),
    known("ovs-connect-refused", Stale, &[
        "VHOST_CONFIG: ({}) failed to connect: Connection refused",
        "failed to connect to {}: Connection refused",
    ], &["the socket's QEMU is gone: normal after a VM was stopped; the switch connects again when it is back"])
        .decide("ss -xl | grep PATH")
        .fix("start the VM")
        .source(SOURCE),
    known("ovs-bind-in-use", Stale, &[
        "VHOST_CONFIG: ({}) failed to bind: Address already in use; remove it and try again",
        "failed to bind to {}: Address already in use; remove it and try again",
        "fail to bind fd:{*}, remove file:{}",
    ], &[
        "a socket file of a switch that was killed is in the way; DPDK does not remove it",
        "QEMU serves the same path (mode='server'): both ends are servers",
    ])
    .findings(&["server-socket-stale"])
    .decide("ss -xlp | grep PATH")
    .fix("if nobody listens: remove the socket file and add the port again; if QEMU does: give the port type dpdkvhostuserclient")
    .source(SOURCE),
    known("ovs-bind-denied", Access, &[
        "VHOST_CONFIG: ({}) failed to bind: Permission denied",
        "failed to bind to {}: Permission denied",
    ], &["the switch may not create its socket there: the directory is another's", "SELinux or AppArmor, if it runs as root"])
        .findings(&["run-directory-owner", "dataplane-identity"])
        .asks(Actor::Dataplane, Wish::Create)
        .decide("namei -l PATH; ausearch -m avc -ts recent")
        .fix("a directory that the switch's user may write; the run directory is given to it by its own unit")
        .source(SOURCE),
    known("vhost-fd-stripped", SecurityModule, &[
        "VHOST_CONFIG: ({}) truncated control data (fd",
        "truncated control data",
        "truncated msg",
        "truncted msg",
        "expect {*} FDs for request {}, received {*}",
    ], &["the message came without its descriptors: a security module took the memory's files from it, and no owner or mode helps", "the process has too many open files (limit of descriptors)"])
        .findings(&["selinux-label"])
        .decide("ausearch -m avc -ts recent; dmesg | grep apparmor=; ls /proc/PID/fd | wc -l")
        .fix("the policy module of the dataplane (semodule -i /usr/share/selinux/packages/vhost_accord.cil, openstack-selinux)")
        .source(SOURCE)
        .ends_connection(),
    known("vhost-map-failed", Memory, &[
        "failed to mmap region",
        "mmap region {*} failed",
        "mmap failed ({*}",
        "failed to map guest memory",
        "vhost_user_mmap_region",
        "get_blk_size of fd failed",
        "couldn't get hugepage size",
        "mmap_size (0x{*}) or alignment (0x{*}) is invalid",
    ], &[
        "the back end got the guest's memory and cannot map it: the region's size is no multiple of the page size; no free page to fill it on that node (MAP_POPULATE); a limit of the back end's address space or cgroup; too many mappings (vm.max_map_count)",
        "'Permission denied' instead of 'Cannot allocate memory': a security module",
    ])
    .findings(&["selinux-label"])
    .decide("the errno in the line; grep -E 'locked|address' /proc/PID/limits; grep . /sys/devices/system/node/node*/hugepages/*/free_hugepages")
    .fix("guest memory as a multiple of the page size, pages free on the VM's node, no RLIMIT_AS for the back end. It is not that memory is not shared: that says something else")
    .source(SOURCE)
    .ends_connection(),
    known("vhost-refused", BackEnd, &[
        "Processing {} failed",
        "processing {} failed",
        "vhost message handling failed",
        "vhost_user_set_mem_table failed",
        "device is not ready",
        "failed to find vring address",
        "address translation failed",
        "failed to map desc ring",
        "failed to map used ring",
    ], &["the back end refused a message of the front end and closes the connection: the line before says which and why (memory, features, queues)"])
        .decide("the lines just before in the back end's log")
        .fix("what the line before says")
        .source(SOURCE)
        .effect(),
    known("vhost-index-mismatch", Harmless, &["mismatches; some packets maybe resent"], &[
        "a warning after a reconnect: a few packets may be sent twice or lost",
    ])
    .fix("nothing")
    .source("DPDK lib/vhost/vhost_user.c"),
    known("vhost-too-many", Setting, &["the number of vhost sockets reaches maximum", "number of vhost-user sockets exceeds", "vhost device has too many", "failed to add listen fd"], &[
        "the library has no room for another socket (1024 each), or the process none for another descriptor",
    ])
    .decide("ovs-vsctl find Interface | grep -c vhost; ls /proc/$(pidof ovs-vswitchd)/fd | wc -l")
    .fix("fewer ports, or LimitNOFILE= for the unit")
    .source(SOURCE),
    known("vhost-features", Unsupported, &[
        "vhost_user_set_features",
        "invalid vring index",
        "unknown request",
        "vhost read incorrect message",
        "requested invalid message type",
    ], &["front end and back end have no common features or messages: versions too far apart, or options of the guest's card that this back end lacks"])
        .decide("the versions of QEMU, DPDK and the guest's driver")
        .fix("update the older one, or take the option out of the domain")
        .source(SOURCE)
        .ends_connection(),
    known("vhost-no-memory-table", Missing, &["prepare_vhost_memory_user", "Failed to prepare memory for vhost-user", "failed to prepare memory"], &[
        "the front end (virtio-user) cannot send its memory: more than 8 regions (too many 2 MiB files), or no huge pages",
    ])
    .decide("ls /dev/hugepages | grep -c rtemap")
    .fix("1 GiB pages, --single-file-segments (DPDK 18.05 and newer), or a smaller --socket-mem")
    .source("DPDK drivers/net/virtio/virtio_user/vhost_user.c"),
    known("virtio-user-connect", Missing, &["virtio_user_dev_init", "Failed to start device", "vhost_user_setup(): connect error", "backend set up fails", "Cannot init virtio_user"], &[
        "the front end (virtio-user) cannot reach the back end's socket: path, listener or permission as the line or the one before says",
    ])
    .decide("ss -xlp | grep PATH; namei -l PATH")
    .fix("start the back end first, with the same path")
    .source("DPDK drivers/net/virtio/virtio_user"),
    known("device-not-found", Missing, &["vHost Device '{}' can't be added - name not found"], &[
        "the switch knows the socket by another spelling of its path (/var/run and /run, another mount)",
    ])
    .findings(&["port-path-differs"])
    .decide("ovs-vsctl --columns=name,options find Interface")
    .fix("write the path in the switch's database as the domain has it")
    .source("OVS lib/netdev-dpdk.c new_device"),
    known("port-link-down", Missing, &["LINK_DOWN"], &[
        "no QEMU is connected to this port: the VM does not run, or its guest has not started the card",
        "the two paths differ, both ends have the same role, or one end may not reach the other's socket: ovs-vswitchd.log says 'failed to connect' once, then tries silently",
    ])
    .findings(&["port-path-differs", "both-ends-client", "both-ends-server", "client-socket-refuses-dataplane"])
    .decide("grep -E 'VHOST_CONFIG.*(connect|bind)' /var/log/openvswitch/ovs-vswitchd.log; ovs-vsctl --columns=name,type,options find Interface; virsh dumpxml NAME | grep -A3 vhostuser")
    .fix("the same path at both ends, mode='server' for a dpdkvhostuserclient port, shared memory in the domain")
    .source("OVS lib/netdev-dpdk.c"),
    known("vhost-connection-closed", BackEnd, &[
        "connection has been destroyed",
        "vhost peer closed",
        "vHost Device '{}' has been removed",
    ], &[
        "the connection to this VM ended: normal when the VM stops, restarts, or unbinds its driver",
        "again and again while the VM runs: the switch itself drops it (memory that is not shared or cannot be mapped, no memory for packets on that NUMA node): the VHOST_CONFIG, VHOST_DATA or netdev_dpdk line just before says so",
    ])
    .decide("the lines just before in ovs-vswitchd.log; the VM's own log at that time")
    .fix("nothing if the VM was stopped then; else what the line before says")
    .source("OVS lib/netdev-dpdk.c; DPDK lib/vhost/socket.c")
    .effect(),
];
