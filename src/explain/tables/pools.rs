// SPDX-License-Identifier: Apache-2.0
//! Memory for packets, NUMA, and the switch's threads. Formats: OVS lib/netdev-dpdk.c, dpif-netdev.c, DPDK lib/mempool, ring.

use super::*;

const FREE: &str = "ovs-vsctl get Open_vSwitch . other_config; grep . /sys/devices/system/node/node*/hugepages/*/free_hugepages; ovs-appctl netdev-dpdk/get-mempool-info";

pub(super) const SIGNATURES: &[Signature] = &[
    known("pool-failed", Memory, &[
        "Failed to create memory pool for netdev {}, with MTU {*} on socket {*}: {*}",
        "Insufficient memory to create memory pool for netdev {}, with MTU",
        "Failed to create mempool \"{}\"",
        "Failed to create mbuf pool",
        "Cannot create mbuf pool",
        "Cannot init mbuf pool",
        "mbuf_pool create failed",
    ], &[
        "the switch has no memory for packets on that NUMA node ('socket N'): the VM's memory is there, and dpdk-socket-mem gives that node nothing or too little (4096,0 gives node 1 none)",
        "too few free huge pages on that node, or too many queues and ports of different MTU for what there is",
    ])
    .findings(&["hugepages-none"])
    .decide(FREE)
    .fix("reserve pages on that node, then other_config:dpdk-socket-mem with a part for it (such as 4096,1024) and restart the switch; or pin the VM to a node that has memory")
    .source("OVS lib/netdev-dpdk.c dpdk_mp_create, netdev_dpdk_mempool_configure"),
    known("pool-retry", Transient, &[
        "RING: Cannot reserve memory",
        "Cannot reserve memory",
        "Failed mempool \"{}\" create request",
        "mempool_add_elem",
        "MEMPOOL: Cannot allocate",
    ], &[
        "alone it is usually harmless: the switch tries again with fewer buffers",
        "followed by 'Failed to create memory pool': too few huge pages on that NUMA node",
    ])
    .decide(FREE)
    .fix("nothing, unless 'Failed to create memory pool' follows: then memory for that node")
    .source("OVS lib/netdev-dpdk.c; DPDK lib/ring"),
    known("pool-empty", Memory, &[
        "Failed to allocate memory for mbuf",
        "failed to allocate memory for mbuf",
        "failed to allocate mbuf",
        "Failed to allocate mbuf",
        "mbuf allocation failed",
        "rx_mbuf_allocation_errors",
        "mbuf pool exhausted",
    ], &["the memory for packets is used up while it runs: packets are dropped. Too many queues, ports or VMs for what dpdk-socket-mem gives. No VM fails to start by it"])
        .decide(FREE)
        .fix("more memory (other_config:dpdk-socket-mem, restart the switch), or fewer queues and shorter rings (n_rxq, n_txq_desc, rx_queue_size)")
        .source("DPDK lib/vhost/virtio_net.c"),
    known("socket-mem-invalid", Setting, &[
        "invalid parameters for --socket-mem",
        "invalid parameters for --socket-limit",
        "invalid parameter for --socket-mem",
        "invalid value for dpdk-socket-mem",
    ], &["other_config:dpdk-socket-mem (or -limit) has a value that DPDK does not take: numbers of MiB with commas, one for each NUMA node, without blanks and quotes"])
        .decide("ovs-vsctl get Open_vSwitch . other_config:dpdk-socket-mem")
        .fix("ovs-vsctl set Open_vSwitch . other_config:dpdk-socket-mem=1024,1024, then restart the switch")
        .source("DPDK lib/eal/common/eal_common_options.c"),
    known("numa-thread", Setting, &[
        "There's no available (non-isolated) pmd thread on numa node {}",
        "There's no available pmd thread on numa node {}",
        "Cannot create pmd thread",
        "Cannot set pmd-cpu-mask",
        "No available PMD",
    ], &["the port's queues are on a NUMA node without a thread of the switch: another node's serves them, more slowly"])
        .decide("ovs-appctl dpif-netdev/pmd-rxq-show; ovs-vsctl get Open_vSwitch . other_config:pmd-cpu-mask")
        .fix("put cores of that node into other_config:pmd-cpu-mask")
        .source("OVS lib/dpif-netdev.c"),
    known("cores", Setting, &[
        "lcore {} unavailable",
        "lcore {*} is out of range",
        "invalid coremask",
        "invalid core list",
        "Cannot set affinity",
        "pthread_setaffinity_np failed",
        "-l <core list> and -c",
        "main lcore is not enabled",
        "main lcore ID not in",
        "Invalid lcore",
    ], &["the list of cores names one that does not exist, is offline, or that the unit's or container's cpuset does not allow"])
        .decide("grep Cpus_allowed_list /proc/self/status; lscpu | grep NUMA; ovs-vsctl get Open_vSwitch . other_config")
        .fix("correct dpdk-lcore-mask, pmd-cpu-mask or -l, and the cpuset (isolated CPUs, CPUAffinity=, a pod's)")
        .source("DPDK lib/eal"),
    known("vhost-thread", Harmless, &["waiting for vhost{*} to quiesce", "waiting for dpdk-vhost{*} to quiesce"], &[
        "DPDK's vhost thread was called into the switch and told its RCU nothing since: a defect of Open vSwitch before 2.7, or a callback that takes long (a VM with much memory is mapped). Ports and traffic go on; if it never ends, reconfiguration stalls and memory is not freed",
    ])
    .decide("whether the number of milliseconds grows without end; ovs-vswitchd --version")
    .fix("nothing if it ends; else update Open vSwitch, and restart it meanwhile")
    .source("OVS lib/ovs-rcu.c, lib/netdev-dpdk.c"),
    known("long-poll", Harmless, &["Unreasonably long {} poll interval", "waiting for main to quiesce", "waiting for {*} to quiesce"], &[
        "the switch was busy or got no CPU for that time: slow start of DPDK, a blocked vhost thread, too few cores for its main thread",
    ])
    .decide("ovs-appctl coverage/show; whether the main thread's core is one of pmd-cpu-mask or of a VM")
    .fix("nothing at a start of the switch; again and again: a core of its own for the main thread")
    .source("OVS lib/timeval.c, lib/ovs-rcu.c"),
];
