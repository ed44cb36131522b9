// SPDX-License-Identifier: Apache-2.0
//! `check --against` and `compare`: VMs of another node are to come to this one. What each VM would meet here the hook's own rules say,
//! which refuse the migration when it comes; what the two nodes have otherwise is compared here.

mod compare;
mod vms;

pub use compare::Nodes;
pub use vms::meet;

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use super::start::Start;
use super::{Ask, Finding};
use crate::arrivals::Arrival;
use crate::facts::domains::Domain;
use crate::fingerprint::Fingerprint;

rules! {
    Advice "peer-newer" [Peer(compare::newer)]
        cause: "the vhost-accord of the other node is newer and may know facts that this one does not compare",
        effect: "nothing; fields that this version does not know are not compared",
        see: "vhost-accord --version, on both nodes",
        fix: "install the same vhost-accord on both nodes",
        source: "src/fingerprint/mod.rs: the format's version",
    Advice "peer-unknown" []
        cause: "something could not be read here, so it is unknown whether the VM starts here",
        effect: "STARTS HERE says unknown: OVSDB, a directory or /proc could not be read",
        see: "vhost-accord check; ovs-vsctl --timeout=5 show",
        fix: "fix what vhost-accord check reports on this node",
        source: "the hook refuses a VM only if it is sure",
    Broken "peer-mode-not-here" [Peer(compare::mode_not_here)]
        cause: "VMs there have a port type that is not set up here: dataplane and QEMU cannot open each other's sockets",
        effect: "the hook refuses the VM at 'migrate begin', or the VM has no network here",
        see: "vhost-accord config, on both nodes",
        fix: "add the type to modes here and run vhost-accord apply; or convert the VM to a type that both nodes have",
        source: "docs/reference.md: modes",
    Advice "peer-modes-differ" [Peer(compare::modes_differ)]
        cause: "a port type that is set up there is not set up here",
        effect: "nothing yet: no VM of that type runs there, or it works here by manual configuration",
        see: "vhost-accord config, on both nodes",
        fix: "set the same modes on all nodes that VMs migrate between",
        source: "docs/reference.md: modes",
    Advice "peer-directory-differs" [Peer(compare::directories)]
        cause: "a VM keeps the paths of its sockets when it migrates, and this node uses another directory",
        effect: "the hook refuses the VM with socket-directory-missing or port-path-differs, unless that directory exists here as well",
        see: "vhost-accord config; ovs-vsctl get Open_vSwitch . other_config:vhost-sock-dir; on both nodes",
        fix: "use the same directories on all nodes that VMs migrate between",
        source: "libvirt migrates a vhostuser interface with its path (src/conf/domain_conf.c); OVS vhost-sock-dir",
    Advice "peer-gid-differs" [Peer(compare::gid)]
        cause: "DAC labels and containers know the shared group by its number",
        effect: "usually nothing; a VM with a DAC label, or a container, that uses the other number gets 'Permission denied'",
        see: "getent group hugetlbfs, on both nodes",
        fix: "use one number on all nodes: vhost-accord apply --renumber --restart",
        source: "kolla kolla/common/users.py, TripleO and EDPM: gid 42477",
    Advice "peer-qemu-identity-differs" [Peer(compare::identity)]
        cause: "files on shared storage and DAC labels have numbers, which belong to another account here",
        effect: "QEMU cannot read an image on NFS that the source's libvirt owns by number; a static DAC label names another account",
        see: "id libvirt-qemu qemu, on both nodes",
        fix: "use the same uid and gid for QEMU on nodes that share storage; libvirt's dynamic_ownership changes local files",
        source: "Debian has 64055, RHEL 107; libvirt src/security/security_dac.c",
    Advice "peer-page-size-missing" [Peer(compare::page_sizes)]
        cause: "this node has no huge pages of the size that VMs there may use",
        effect: "a VM that asks for pages of that size does not start here",
        see: "cat /sys/kernel/mm/hugepages/*/nr_hugepages; findmnt -t hugetlbfs; on both nodes",
        fix: "reserve the pages here (1 GiB at boot: hugepagesz= hugepages=) and mount them",
        source: "Documentation/admin-guide/mm/hugetlbpage.rst",
    Advice "peer-pages-short" [Peer(compare::short)]
        cause: "each VM alone has enough huge pages here, but all of them together do not",
        effect: "the first VMs migrate; a later one is refused with hugepages-not-enough and stays on its node",
        see: "cat /sys/kernel/mm/hugepages/*/free_hugepages",
        fix: "reserve more pages here, or move fewer VMs",
        source: "Documentation/admin-guide/mm/hugetlbpage.rst",
    Advice "peer-older" [Peer(compare::older)]
        cause: "QEMU here may lack a machine type or virtio feature of the VM, and then refuses its state",
        effect: "the migration fails and the VM stays at the source: 'unsupported machine type' or 'Features ... unsupported'",
        see: "virsh version; ovs-vsctl get Open_vSwitch . ovs_version dpdk_version; on both nodes",
        fix: "install the newer version here, or give the VM the machine type and features of the older one",
        source: "QEMU docs/devel/migration: only older to newer is supported; hw/virtio/virtio.c, virtio_load",
    Broken "peer-vm-exists" []
        cause: "this node has a VM with that name or UUID: 'domain ... already exists', or '... is already active'",
        effect: "libvirt refuses the migration before it calls the hook",
        see: "virsh list --all --uuid --name, on both nodes",
        fix: "rename the VM that is defined here, or stop the VM that runs here",
        source: "libvirt src/conf/virdomainobjlist.c, virDomainObjListAddLocked",
}

/// What is compared.
#[derive(Debug)]
pub struct Comparison<'a> {
    /// This node.
    pub here: &'a Fingerprint,
    /// The node that VMs come from.
    pub there: &'a Fingerprint,
    /// The domains of this node, running or off, vhost-user or not.
    pub domains: &'a [&'a Domain],
    /// Each of `there.vms` as it would be here, in their order.
    pub arrivals: &'a [Arrival],
    /// What a start goes by; turned to each VM in its turn.
    pub start: &'a mut Start,
    /// Whom qemu.conf has QEMU run as here.
    pub configured: Option<(u32, u32)>,
}

/// One VM of the other node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Newcomer {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: Option<String>,
    /// How many vhost-user endpoints it has.
    pub endpoints: usize,
    /// `yes`, `unknown`, or the finding that keeps it out.
    pub starts_here: String,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// The VMs, in the other node's order.
    pub vms: Vec<Newcomer>,
    /// What would fail, and what may.
    pub findings: Vec<Finding>,
    /// Huge pages that all of them need together, and those that are available here, by size.
    pages: HashMap<u64, (u64, u64)>,
}

/// Compares them.
pub fn judge(comparison: Comparison<'_>) -> Compared {
    let (here, there) = (comparison.here, comparison.there);
    let mut met = vms::judge(comparison);
    let kept_out: BTreeSet<&str> = met
        .vms
        .iter()
        .filter(|vm| !["yes", "unknown"].contains(&vm.starts_here.as_str()))
        .map(|vm| vm.name.as_str())
        .collect();
    let nodes = Nodes { here, there, kept_out };
    let mut findings = super::ask(|ask| match ask {
        Ask::Peer(check) => check(&nodes, &met),
        _ => Vec::new(),
    });
    findings.append(&mut met.findings);
    // What would fail comes first.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    met.findings = findings;
    met
}

/// Some of them by name: a node has as many as it likes.
fn names<'a>(of: impl Iterator<Item = &'a str>) -> String {
    const MOST: usize = 5;
    let all: Vec<&str> = of.collect();
    let shown = all.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
    match all.len() {
        0..=MOST => shown,
        more => format!("{shown} and {} more", more - MOST),
    }
}
