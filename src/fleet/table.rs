// SPDX-License-Identifier: Apache-2.0
//! What each shape of VM would meet on each kind of node: judged once.

use std::collections::HashMap;

use anyhow::Result;

use super::Member;
use crate::arrivals::{self, Arrival};
use crate::facts::domains::Domain;
use crate::fingerprint::{Fingerprint, Vm};
use crate::rules::peer::{Comparison, meet};
use crate::rules::start::Start;

/// The words come first in [`Table::words`] by these numbers.
pub const YES: usize = 0;
/// Nothing is known to keep it out.
pub const UNKNOWN: usize = 1;
/// A VM of that name or UUID runs there: the only one that goes by more than a shape.
pub const EXISTS: usize = 2;

/// All of it.
#[derive(Debug)]
pub struct Table {
    /// What [`meet`] said: the finding that keeps a VM out.
    pub words: Vec<&'static str>,
    /// The shape of each VM, node by node.
    pub shapes: Vec<Vec<usize>>,
    /// The kind of each node.
    pub kinds: Vec<usize>,
    /// The number of a word, for each kind and shape.
    pub verdicts: Vec<Vec<u8>>,
}

impl Table {
    /// Judges.
    pub fn new(members: &[Member]) -> Result<Table> {
        let (kinds, targets) = numbered(members.iter(), |member| kind(&member.fingerprint));
        let vms = members.iter().flat_map(|member| member.fingerprint.vms.iter().map(move |vm| (member, vm)));
        let (mut shape_of, vms) = numbered(vms, |(_, vm)| format!("{:?}", arrivals::shape(&vm.domain)));
        let mut shapes = Vec::new();
        for member in members {
            let rest = shape_of.split_off(member.fingerprint.vms.len());
            shapes.push(std::mem::replace(&mut shape_of, rest));
        }
        let mut words = vec!["yes", "unknown", "peer-vm-exists"];
        let row = |target: &&Member| row(&target.fingerprint, &vms, &mut words);
        let verdicts = targets.iter().map(row).collect::<Result<_>>()?;
        Ok(Table { words, shapes, kinds, verdicts })
    }
}

fn row(here: &Fingerprint, vms: &[(&Member, &Vm)], words: &mut Vec<&'static str>) -> Result<Vec<u8>> {
    let mut start = Start::told(here)?;
    let configured = configured(here);
    let mut judge = |(member, vm): &(&Member, &Vm)| {
        let arrival = Arrival::told(here, &vm.domain);
        let there = &member.fingerprint;
        let mut ground =
            Comparison { here, there, domains: &[], arrivals: &[], start: &mut start, configured };
        let (_, word) = meet(&mut ground, vm, &arrival);
        let at = words.iter().position(|known| *known == word).unwrap_or_else(|| {
            words.push(word);
            words.len() - 1
        });
        // There are fewer rules than that.
        u8::try_from(at).unwrap_or(u8::MAX)
    };
    Ok(vms.iter().map(&mut judge).collect())
}

/// Whom QEMU runs as there.
pub fn configured(here: &Fingerprint) -> Option<(u32, u32)> {
    here.qemu.as_ref().map(|qemu| (qemu.user.id, qemu.group.id))
}

/// The domains of a node, as far as its fingerprint has them.
pub fn domains(here: &Fingerprint) -> Vec<&Domain> {
    here.vms.iter().map(|vm| &vm.domain).collect()
}

/// All by which a VM is judged.
fn kind(node: &Fingerprint) -> String {
    let Fingerprint { modes, incoming, socket_directory, server_directory, qemu, dataplane, pages, .. } =
        node;
    let configured = (modes, incoming, socket_directory, server_directory);
    format!("{configured:?}{qemu:?}{}{pages:?}{:?}", dataplane.is_some(), node.default_page_size)
}

/// The number of each by its key, and the first of each number.
fn numbered<T: Copy>(all: impl Iterator<Item = T>, key: impl Fn(&T) -> String) -> (Vec<usize>, Vec<T>) {
    let mut known = HashMap::new();
    let mut first = Vec::new();
    let number = |one: T| {
        let at = *known.entry(key(&one)).or_insert(first.len());
        if at == first.len() {
            first.push(one);
        }
        at
    };
    (all.map(number).collect(), first)
}
