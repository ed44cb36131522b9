// SPDX-License-Identifier: Apache-2.0
//! `check --against` and `compare`: VMs of another node are to come to this one. What each VM would meet here the hook's
//! own rules say, which refuse the migration when it comes; what the two nodes have otherwise is compared here.

mod compare;
mod vms;

pub use vms::meet;

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Finding, Level, Rule};
use crate::arrivals::Arrival;
use crate::facts::domains::Domain;
use crate::fingerprint::Fingerprint;
use crate::hook::Subject;

/// A rule whose findings [`judge`] makes: of one node alone there are none.
const fn rule(id: &'static str, level: Level, cause: &'static str) -> Rule {
    Rule { id, level, cause, check: |_| Vec::new() }
}

/// The rules.
pub const RULES: &[Rule] = &[
    rule(
        "peer-newer",
        Level::Advice,
        "the vhost-accord of the other node is newer and may know facts that this one does not compare",
    ),
    rule(
        "peer-unknown",
        Level::Advice,
        "something could not be read here, so it is unknown whether the VM starts here",
    ),
    rule(
        "peer-mode-not-here",
        Level::Broken,
        "VMs there have a port type that is not set up here: dataplane and QEMU cannot open each other's sockets",
    ),
    rule("peer-modes-differ", Level::Advice, "a port type that is set up there is not set up here"),
    rule(
        "peer-directory-differs",
        Level::Advice,
        "a VM keeps the paths of its sockets when it migrates, and this node uses another directory",
    ),
    rule("peer-gid-differs", Level::Advice, "DAC labels and containers know the shared group by its number"),
    rule(
        "peer-qemu-identity-differs",
        Level::Advice,
        "files on shared storage and DAC labels have numbers, which belong to another account here",
    ),
    rule(
        "peer-page-size-missing",
        Level::Advice,
        "this node has no huge pages of the size that VMs there may use",
    ),
    rule(
        "peer-pages-short",
        Level::Advice,
        "each VM alone has enough huge pages here, but all of them together do not",
    ),
    rule(
        "peer-older",
        Level::Advice,
        "QEMU here may lack a machine type or virtio feature of the VM, and then refuses its state",
    ),
    rule(
        "peer-vm-exists",
        Level::Broken,
        "this node has a VM with that name or UUID: 'domain ... already exists', or '... is already active'",
    ),
];

/// What is compared.
#[derive(Debug)]
pub struct Ground<'a> {
    /// This node.
    pub here: &'a Fingerprint,
    /// The node that VMs come from.
    pub there: &'a Fingerprint,
    /// The domains of this node, running or off, vhost-user or not.
    pub domains: &'a [&'a Domain],
    /// Each of `there.vms` as it would be here, in their order.
    pub arrivals: &'a [Arrival],
    /// What the hook goes by; turned to each VM in its turn.
    pub subject: &'a mut Subject,
    /// Whom qemu.conf has QEMU run as here.
    pub configured: Option<(u32, u32)>,
}

/// One VM of the other node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
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
    pub vms: Vec<Row>,
    /// What would fail, and what may.
    pub findings: Vec<Finding>,
}

/// Something to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trouble {
    id: &'static str,
    subject: String,
    seen: String,
    fix: String,
}

impl Trouble {
    fn new(
        id: &'static str,
        subject: impl Into<String>,
        seen: impl Into<String>,
        fix: impl Into<String>,
    ) -> Trouble {
        Trouble { id, subject: subject.into(), seen: seen.into(), fix: fix.into() }
    }

    fn finding(self) -> Option<Finding> {
        let rule = RULES.iter().find(|rule| rule.id == self.id)?;
        let Trouble { id, subject, seen, fix } = self;
        Some(Finding { id, level: rule.level, subject, seen, cause: rule.cause, fix, restart: None })
    }
}

/// Compares them.
pub fn judge(ground: Ground<'_>) -> Compared {
    let (here, there) = (ground.here, ground.there);
    let met = vms::judge(ground);
    let kept_out: BTreeSet<&str> = met
        .vms
        .iter()
        .filter(|vm| !["yes", "unknown"].contains(&vm.starts_here.as_str()))
        .map(|vm| vm.name.as_str())
        .collect();
    let nodes = compare::Nodes { here, there, kept_out };
    let troubles = compare::troubles(&nodes, &met);
    let mut findings: Vec<Finding> = troubles.into_iter().filter_map(Trouble::finding).collect();
    findings.extend(met.findings);
    // What would fail comes first.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    Compared { vms: met.vms, findings }
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
