// SPDX-License-Identifier: Apache-2.0
//! Other back ends: SPDK's vhost, VPP, passt, Snabb, qemu-storage-daemon, libvhost-user.

use super::*;

const SPDK: &[Program] = &[Program::Spdk];

pub(super) const SIGNATURES: &[Signature] = &[
    known("spdk-memory-size", Memory, &["Guest memory size is not a 2MB multiple", "not a 2MB multiple", "Guest memory is not aligned"], &[
        "SPDK maps guest memory in pieces of 2 MiB: the VM's memory is no multiple of that, or not on huge pages",
    ])
    .decide("virsh dumpxml NAME | grep -E '<memory|<page|memoryBacking'")
    .fix("memory as a multiple of 2 MiB, on huge pages (<memoryBacking><hugepages/>); QEMU 2.12 or newer")
    .source("SPDK lib/vhost/vhost.c, rte_vhost_user.c")
    .ends_connection(),
    known("spdk-memory-warning", Harmless, &["Future vtophys translation might fail"], &[
        "a warning: this region of guest memory has no physical address known to SPDK. It matters to disks that do DMA by physical addresses only, and closes no connection",
    ])
    .decide("whether the bdev is a local NVMe disk with UIO")
    .fix("guest memory on huge pages, and VFIO for the disk")
    .source("SPDK lib/vhost/rte_vhost_compat.c"),
    known("spdk-memory-register", Memory, &["Failed to register memory region", "Failed to register vhost memory", "vtophys", "Error registering memory"], &[
        "SPDK cannot register the guest's memory: not on huge pages, or more than the process may lock",
    ])
    .by(SPDK)
    .decide("grep 'locked memory' /proc/PID/limits; virsh dumpxml NAME | grep -A4 memoryBacking")
    .fix("guest memory on huge pages; LimitMEMLOCK=infinity for SPDK")
    .source("SPDK lib/env_dpdk/memory.c")
    .ends_connection(),
    known("spdk-socket", Setting, &[
        "already exists and is not a socket",
        "Resulting socket path for controller {} is too long",
        "Could not register controller {} with vhost library",
        "RPC Unix domain socket path {} in use",
        "vhost controller {} already exists",
        "Callback register failed",
        "Couldn't start vhost driver",
    ], &["SPDK cannot make the controller's socket: the name is taken by another file or another SPDK, or the path is too long"])
        .decide("ls -l the path; ss -xlp | grep spdk")
        .fix("another name or directory (-S), or end the other process")
        .source("SPDK lib/vhost/rte_vhost_user.c, lib/rpc/rpc.c"),
    known("spdk-socket-denied", Access, &["Cannot remove vhost socket file {}: ", "Cannot remove vhost domain socket"], &[
        "SPDK may not remove its old socket: the directory is another's, or sticky (such as /var/tmp) and the file another user's",
        "a security module",
    ])
    .decide("ls -ld the directory; ls -l the socket; the user that SPDK runs as")
    .fix("remove the file if nobody listens; a directory of SPDK's own (-S)")
    .source("SPDK lib/vhost/rte_vhost_user.c"),
    known("back-end-bind-denied", Access, &["Failed to bind socket to {}: Permission denied"], &[
        "the back end (qemu-storage-daemon) may not create its socket there: its user has no write on the directory",
        "SELinux or AppArmor",
    ])
    .by(&[Program::BackEnd])
    .decide("namei -l PATH; the user that it runs as; ausearch -m avc -ts recent")
    .fix("a directory of its own, which QEMU's group may search; QEMU then needs write on the socket")
    .source("QEMU util/qemu-sockets.c"),
    known("spdk-core", Setting, &["Cannot create lock on core {}", "Unable to acquire lock on assigned core mask", "reactor_{} not started"], &[
        "another SPDK process has these cores",
    ])
    .decide("ls -l /var/tmp/spdk_cpu_lock*; pgrep -a spdk")
    .fix("other cores (-m), or end the other process")
    .source("SPDK lib/event/app.c"),
    known("vpp-hugepages", Memory, &[
        "Unable to fulfill huge page allocation request",
        "vlib_physmem_shared_map_create",
        "pmalloc_map_pages",
        "failed to allocate {*} hugepage",
        "clib_mem_vm_map_shared",
        "clib_sysfs_prealloc_hugepages",
    ], &[
        "VPP found no free huge page of that size on that NUMA node for its buffers. VPP maps them without a path: 'No such file or directory' names no missing file",
        "VPP does not run as root and may not do it: lock memory (RLIMIT_MEMLOCK), see physical addresses (pagemap), or open /dev/vfio/vfio, which has to exist for a card by VFIO",
        "the thread did not establish one cause for this message: try both",
    ])
    .decide("grep . /sys/devices/system/node/node*/hugepages/*/free_hugepages; ls -l /dev/vfio; grep 'locked memory' /proc/$(pidof vpp)/limits")
    .fix("reserve pages of that size on each node (vm.nr_hugepages), modprobe vfio-pci, LimitMEMLOCK=infinity for VPP; or buffers { default data-size ... page-size 4k }")
    .source("VPP src/vppinfra/pmalloc.c, src/vlib/physmem.c"),
    known("vpp-vhost", Access, &["vhost-user: {*}ermission denied", "vhost_user_{*}: {*}ermission denied", "errno \"Permission denied\""], &[
        "VPP cannot create, or connect to, this socket: owner and mode, by its gid (unix { gid }) and umask",
        "a security module",
    ])
    .by(&[Program::Vpp])
    .decide("vppctl show vhost-user; namei -l PATH")
    .fix("a setgid directory of its own for vhost sockets with QEMU's group, and UMask=0002 by a drop-in of vpp.service; do not put QEMU into VPP's group, which may use its CLI")
    .source("VPP src/plugins/vhost/vhost_user.c"),
    known("vpp-connection", Stale, &["type client errno \"Connection refused\"", "type client errno \"No such file or directory\""], &[
        "VPP is the client and QEMU's socket is not served: the VM does not run, or its card was detached and attached again under QEMU 2.7 or older. VPP tries again every three seconds",
        "QEMU is a client too (mode='client'): then neither serves",
    ])
    .decide("ss -xlp | grep PATH; virsh dumpxml NAME | grep -A3 vhostuser")
    .fix("start the VM, with mode='server'; update QEMU")
    .source("VPP src/plugins/vhost/vhost_user.c"),
    known("vpp-vhost-state", Harmless, &["errno \"Success\""], &["the connection is, or was last, well"])
        .fix("nothing")
        .source("VPP src/plugins/vhost/vhost_user.c"),
    known("vpp-vhost-memory", Memory, &["failed to mmap memory. errno is {}", "memory region mmap failed", "unable to mmap", "vhost_user_map_memory"], &[
        "VPP cannot map the guest's memory: no free pages on that node, a limit of its address space or of descriptors (errno 12 is memory, 24 descriptors)",
        "the memory is not shared, or a security module refused it (errno 13)",
    ])
    .by(&[Program::Vpp])
    .decide("the errno; virsh dumpxml NAME | grep -E 'access|memAccess'; grep -E 'address|open files' /proc/$(pidof vpp)/limits")
    .fix("by the errno: free pages on the VM's node, or <access mode='shared'/> in the domain")
    .source("VPP src/plugins/vhost/vhost_user.c")
    .ends_connection(),
    known("snabb-crash", BackEnd, &["net_device.lua:{*}: ", "lib/virtio/{*}.lua:{*}: ", "apps/vhost/{*}.lua:{*}: "], &[
        "the Snabb process died of a defect while it handled a vhost-user message; no setting and no permission is wrong",
    ])
    .decide("Snabb's own output; whether the guest was reset or reconnected then")
    .fix("start Snabb again, then the VM if it does not reconnect; update Snabb")
    .source("Snabb src/lib/virtio/net_device.lua")
    .ends_connection(),
    known("snabb-request", BackEnd, &["vhost_user: unrecognized request", "vhost_user: unable to"], &[
        "the message was empty or unknown: the socket gave nothing or garbage (the other end went away, or is of a newer protocol)",
        "the process is at its limit of descriptors (numbers near 1024)",
    ])
    .decide("ls /proc/PID/fd | wc -l; the versions of both ends")
    .fix("not established by this line alone: restart the back end, update it")
    .source("Snabb src/apps/vhost/vhost_user.lua"),
    known("passt", Setting, &[
        "UNIX socket bind: {*}",
        "Failed to bind UNIX domain socket",
        "Couldn't bind UNIX domain socket",
        "passt: {*}ailed",
        "Child process (passt{*}unexpected exit status",
        "PID file open: Permission denied",
    ], &["passt cannot start: its socket's or its pid file's directory is not there or not writable for its user; libvirt starts it and owns that directory"])
        .by(&[Program::Passt, Program::Libvirt])
        .decide("journalctl -t passt; dmesg | grep -E 'avc|apparmor='")
        .fix("its SELinux or AppArmor policy (passt-selinux) first; no switch is concerned")
        .source("passt(1)"),
    known("testpmd-port", Setting, &["Cannot configure device: err=", "Fail to configure port", "No probed ethernet devices", "No ports to bind", "Error during starting port"], &[
        "testpmd has no port that it can use: the --vdev or the card is missing or refused; a line before says why",
    ])
    .by(&[Program::Dpdk])
    .decide("the EAL and VHOST_CONFIG lines before")
    .fix("what the line before says")
    .source("DPDK app/test-pmd"),
    known("back-end-fd-limit", Setting, &["accept4: Too many open files", "accept: Too many open files", "EMFILE"], &[
        "the process is at its limit of open files and takes no more connections",
    ])
    .decide("ls /proc/PID/fd | wc -l; grep 'open files' /proc/PID/limits")
    .fix("LimitNOFILE= of its unit")
    .source("accept(2)"),
    known("back-end-panic", BackEnd, &["thread '{*}' panicked at", "Failed to start vhost-user server", "vhost_user_server"], &[
        "the back end ended, or does not listen",
    ])
    .by(&[Program::BackEnd, Program::Virtiofsd])
    .decide("its own log")
    .fix("start it again; report the defect")
    .source("vhost-device, QEMU util/vhost-user-server.c")
    .ends_connection(),
    known("back-end-bind", Stale, &["AddrInUse", "BindSocket(", "Address already in use (os error 98)"], &[
        "the socket file is in the way: of a process that was killed, or of one that still runs",
    ])
    .decide("ss -xlp | grep PATH")
    .fix("remove the file if nobody listens")
    .source("Cloud Hypervisor vmm; vhost crate"),
];
