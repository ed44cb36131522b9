// SPDX-License-Identifier: Apache-2.0
//! Processes that crashed or were killed.

use super::*;

pub(super) const SIGNATURES: &[Signature] = &[
    known("switch-crashed", BackEnd, &[
        "crashes: pid {} died, killed ({*}",
        "pid {} died, killed (Segmentation fault)",
        "died, killed ({*}), core dumped, restarting",
        "died, killed ({*}), restarting",
        "crash: pid {} died",
        "assertion {} failed in",
        "SIGSEGV detected, backtrace",
        "ovs-vswitchd[{*}]: segfault at",
        "ovs-vswitchd: segfault at",
        "ovs-vswitchd.service: Main process exited, code={*}dumped",
        "ovs-vswitchd.service: Main process exited, code=killed",
        "pmd-c{*}: segfault at",
        "pmd-c{*} general protection",
        "vhost-events[{*}]: segfault at",
        "type=ANOM_ABEND{*}comm=\"ovs-vswitchd\"",
        "Process {*} (ovs-vswitchd) of user {*} dumped core",
    ], &[
        "the switch crashed, and its monitor or systemd started it again: no setting and no permission. VMs at dpdkvhostuser ports keep running without network until they are stopped and started (QEMU is the client and does not connect again); VMs at dpdkvhostuserclient ports come back by themselves",
    ])
    .findings(&["dataplane-not-running"])
    .decide("coredumpctl list ovs-vswitchd; the lines just before (a VM's SET_MEM_TABLE or SET_VRING that came then); ovs-vsctl --columns=name,type find Interface type=dpdkvhostuser")
    .fix("stop and start the VMs at dpdkvhostuser ports, and move them to dpdkvhostuserclient; report the core file to the vendor, update OVS and DPDK")
    .source("OVS lib/daemon-unix.c")
    .ends_connection(),
    known("out-of-memory", Memory, &[
        "Out of memory: Kill{*} process",
        "Memory cgroup out of memory",
        "oom-kill:",
        "oom_reaper:",
        "OOMKilled",
        "invoked oom-killer",
    ], &["the kernel killed a process because memory, or its cgroup's, was used up. Huge pages do not count there: often too many are reserved and too little is left for the rest"])
        .decide("dmesg | grep -i -A3 oom; free -m; grep -i huge /proc/meminfo")
        .fix("fewer huge pages, or a higher limit; then start what was killed")
        .source("kernel mm/oom_kill.c")
        .ends_connection(),
    known("qemu-crashed", BackEnd, &[
        "shutting down, reason=crashed",
        "qemu-system-x86[{*}]: segfault",
        "qemu-kvm[{*}]: segfault",
        "CPU 0/KVM[{*}]: segfault",
        "type=ANOM_ABEND{*}comm=\"qemu",
        "Process {*} (qemu-{*}) of user {*} dumped core",
        "qemu-{*}: {*}Assertion `{*}' failed",
        "terminating on signal 11",
        "terminating on signal 7",
    ], &[
        "QEMU crashed. With vhost-user, after a reset or reconnect of the back end, often a defect that a newer QEMU does not have",
        "signal 7 (SIGBUS): its huge pages were gone when they were touched (too few on that node, a cgroup's limit, a file that somebody removed)",
    ])
    .decide("coredumpctl list; dmesg | grep -i -E 'segfault|hugetlb|sigbus'")
    .fix("update QEMU; enough huge pages; never remove files below a hugetlbfs mount by hand")
    .source("libvirt src/qemu/qemu_process.c; kernel"),
    known("back-end-crashed", BackEnd, &[
        "vhost[{*}]: segfault at",
        "vhost_thread{*}: segfault at",
        "spdk_tgt[{*}]: segfault at",
        "reactor_{*}: segfault at",
        "vpp[{*}]: segfault at",
        "virtiofsd[{*}]: segfault at",
        "vpp[{*}]: received signal SIG",
        "received signal SIGSEGV",
        "testpmd[{*}]: segfault at",
        "vpp.service: Main process exited",
        "(vhost_user_{*}) assertion `{*}' fails",
    ], &["the back end crashed: QEMU's devices are dead until it runs again and QEMU reconnects, or the VM is started again"])
        .decide("coredumpctl list; the back end's own log")
        .fix("start it again; report the defect; <reconnect enabled='yes'/> where QEMU is the client")
        .source("kernel; the back end's unit")
        .ends_connection(),
    known("hugepages-not-made", Memory, &[
        "HugeTLB: allocating {*} failed",
        "HugeTLB: allocating {*} Only allocated",
        "hugetlb: allocating {*} failed",
        "Not able to allocate all hugepages",
        "Only allocated {*} hugepages",
    ], &["the kernel could not reserve as many huge pages as it was told: memory is too small, or too fragmented after boot"])
        .findings(&["hugepages-none"])
        .decide("dmesg | grep -i hugetlb; grep -i huge /proc/meminfo")
        .fix("reserve them on the kernel's command line (hugepagesz=1G hugepages=N)")
        .source("kernel mm/hugetlb.c"),
    known("seccomp", Stale, &["type=SECCOMP", "audit: type=1326", "Bad system call"], &[
        "a process was killed, or refused, by its filter of system calls (seccomp), not by owner or mode: comm= and syscall= say which",
    ])
    .by(&[Program::Audit, Program::Kernel, Program::Systemd])
    .decide("ausearch -m seccomp -ts recent; ausyscall NUMBER")
    .fix("seccomp_sandbox in qemu.conf, SystemCallFilter= of the unit, or the container's profile: update the one that is older than the program")
    .source("kernel kernel/seccomp.c")
    .ends_connection(),
];
