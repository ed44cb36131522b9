// SPDX-License-Identifier: Apache-2.0
//! OpenStack, Kubernetes and container runtimes.

use super::*;

pub(super) const SIGNATURES: &[Signature] = &[
    known("vhu-no-netdev", Setting, &[
        "Cannot find device \"vhu{}\"",
        "ip link set vhu{} mtu",
        "Cannot find device \"{}\"",
    ], &[
        "a vhost-user port has no network device in the kernel, so `ip link` cannot find it: nothing is missing. An agent that sets its MTU so (old nova or os-vif) fails, and stops before it has set the port's type",
    ])
    .decide("ovs-vsctl --columns=name,type,options find Interface name=vhu...; the version of nova and os-vif")
    .fix("a nova or os-vif with Launchpad 1533876 fixed; the port left without a type: ovs-vsctl set Interface NAME type=dpdkvhostuserclient options:vhost-server-path=PATH (or type=dpdkvhostuser)")
    .source("nova virt/libvirt/vif.py; iproute2"),
    known("vif-plug", Transient, &[
        "Virtual Interface creation failed",
        "VirtualInterfaceCreateException",
        "VirtualInterfacePlugException",
        "Timeout waiting for {*}network-vif-plugged",
        "Failure running os_vif plugin plug method",
        "Failed to plug VIF",
    ], &["nova waited for the port: neutron's agent did not report it, or os-vif could not make it (the switch down, DPDK not up, ovs-vsctl timed out)"])
        .decide("neutron-openvswitch-agent's log; ovs-vsctl --columns=name,type,error find Interface; ovs-vsctl get Open_vSwitch . dpdk_initialized")
        .fix("what the column error or the agent's log says")
        .source("nova virt/libvirt/driver.py; os-vif vif_plug_ovs"),
    known("nova-pages", Memory, &[
        "MemoryPageSizeNotSupported",
        "Page size {*} is not supported by the host",
        "requested NUMA topology",
        "Insufficient compute resources",
        "cannot fit instance NUMA topology",
    ], &["the scheduler found no host with free pages of that size on one NUMA node; what the switch uses has to be reserved (reserved_huge_pages)"])
        .decide("grep . /sys/devices/system/node/node*/hugepages/*/free_hugepages; grep reserved_huge_pages /etc/nova/nova.conf")
        .fix("more pages, or hw:mem_page_size and hw:numa_nodes of the flavor changed")
        .source("nova virt/hardware.py"),
    known("pod-pages", Memory, &["Insufficient hugepages-{}", "Insufficient memory, ", "hugetlb cgroup", "hugetlb.{*}.limit", "hugetlb.{*}.max"], &[
        "the pod asks for more huge pages than the node has left ('allocatable' is the total, not what is free), or its limit is lower than the VM's memory",
    ])
    .decide("kubectl describe node | grep -A8 Allocated; cat /sys/fs/cgroup/.../hugetlb.*.max")
    .fix("limits hugepages-1Gi and hugepages-2Mi of the pod as large as the VM's memory; reserve pages before kubelet starts, or restart it after")
    .source("Kubernetes, huge pages"),
    known("container-mount", Missing, &[
        "error mounting \"{}\"",
        "MountVolume.SetUp failed for volume \"{}\"",
        "OCI runtime create failed",
        "failed to create containerd task",
        "failed to create shim",
    ], &["the container did not start: a directory that it mounts (huge pages, a directory of sockets) does not exist on the host, or a profile refuses it"])
        .decide("the end of the line; ls -ld the path on the host")
        .fix("create the directory on the host (tmpfiles.d) before the container starts")
        .source("runc, containerd"),
    known("no-link", Setting, &["failed to get a link for interface", "Link not found"], &[
        "a network device in the kernel is looked for, and a vhost-user port has none: this version of KubeVirt or of the plugin does not know such interfaces",
    ])
    .decide("kubectl get net-attach-def -o yaml")
    .fix("a binding plugin for vhost-user, or another kind of interface")
    .source("KubeVirt issue 3405"),
];
