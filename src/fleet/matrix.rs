// SPDX-License-Identifier: Apache-2.0
//! Every VM to every other node, counted by pairs of groups.

use std::collections::{BTreeSet, HashMap};

use anyhow::Result;

use super::differ;
use super::table::{self, EXISTS, Table, UNKNOWN, YES};
use super::{Cell, Difference, Example, Member, Obstacle, Vm};
use crate::arrivals::Arrival;
use crate::fingerprint::Fingerprint;
use crate::rules::peer::{Compared, Comparison, judge};
use crate::rules::start::Start;

/// The counts, and a pair of nodes for each word of each cell.
struct Tally<'a> {
    table: &'a Table,
    groups: usize,
    of: &'a [usize],
    counts: Vec<u64>,
    examples: HashMap<(usize, usize), (usize, usize)>,
}

/// What is known of the nodes.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The nodes.
    pub members: &'a [Member],
    /// What each is called.
    pub names: &'a [String],
    /// In what each differs from most.
    pub differs: &'a [Vec<Difference>],
}

/// All cells, and all VMs.
pub fn fill(known: &Known<'_>, of: &[usize], groups: usize) -> Result<(Vec<Cell>, Vec<Vm>)> {
    let members = known.members;
    let table = Table::new(members)?;
    let counts = vec![0; groups * groups * table.words.len()];
    let mut tally = Tally { table: &table, groups, of, counts, examples: HashMap::new() };
    let twins = twins(members);
    let mut vms = Vec::new();
    for (node, member) in members.iter().enumerate() {
        let none = Vec::new();
        let counted = tally.leave(node, twins.get(&node).unwrap_or(&none));
        let row = |(vm, counts): (&crate::fingerprint::Vm, &[u64])| Vm {
            name: vm.domain.name.clone(),
            uuid: vm.domain.uuid.clone(),
            node,
            targets: counts[YES],
            obstacles: obstacles(&table, counts),
        };
        vms.extend(member.fingerprint.vms.iter().zip(counted.chunks(table.words.len())).map(row));
    }
    Ok((tally.cells(known)?, vms))
}

/// The VMs of each node, by number, that another node has as well: name or UUID.
fn twins(members: &[Member]) -> HashMap<usize, Vec<(usize, usize)>> {
    let mut places: HashMap<&str, Vec<(usize, usize)>> = HashMap::new();
    for (node, member) in members.iter().enumerate() {
        for (number, vm) in member.fingerprint.vms.iter().enumerate() {
            let domain = &vm.domain;
            for key in [Some(domain.name.as_str()), domain.uuid.as_deref()].into_iter().flatten() {
                places.entry(key).or_default().push((node, number));
            }
        }
    }
    let mut found: HashMap<usize, BTreeSet<(usize, usize)>> = HashMap::new();
    for places in places.values().filter(|places| places.len() > 1) {
        for (node, vm) in places {
            let others = places.iter().filter(|(other, _)| other != node);
            found.entry(*node).or_default().extend(others.map(|(other, _)| (*vm, *other)));
        }
    }
    found.into_iter().map(|(node, twins)| (node, twins.into_iter().collect())).collect()
}

fn obstacles(table: &Table, counts: &[u64]) -> Vec<Obstacle> {
    let counted = table.words.iter().zip(counts).skip(UNKNOWN).filter(|(_, count)| **count > 0);
    counted.map(|(id, count)| Obstacle { id, count: *count }).collect()
}

impl Tally<'_> {
    /// Counts what its VMs would meet on all other nodes; by word, VM by VM.
    fn leave(&mut self, node: usize, twins: &[(usize, usize)]) -> Vec<u64> {
        let words = self.table.words.len();
        let shapes = &self.table.shapes[node];
        let mut by_vm = vec![0; shapes.len() * words];
        for target in (0..self.of.len()).filter(|target| *target != node) {
            let cell = self.cell(node, target);
            // What nodes have otherwise is of interest without VMs, too.
            self.examples.entry((cell, YES)).or_insert((node, target));
            let verdicts = &self.table.verdicts[self.table.kinds[target]];
            let mut seen = [0_u64; 4];
            for (vm, shape) in shapes.iter().enumerate() {
                let word = usize::from(verdicts[*shape]);
                self.counts[cell * words + word] += 1;
                by_vm[vm * words + word] += 1;
                seen[word / 64] |= 1 << (word % 64);
            }
            for word in (0..words).filter(|word| seen[word / 64] >> (word % 64) & 1 == 1) {
                self.examples.entry((cell, word)).or_insert((node, target));
            }
        }
        for (vm, target) in twins {
            let cell = self.cell(node, *target);
            let word = usize::from(self.table.verdicts[self.table.kinds[*target]][shapes[*vm]]);
            self.counts[cell * words + word] -= 1;
            self.counts[cell * words + EXISTS] += 1;
            by_vm[vm * words + word] -= 1;
            by_vm[vm * words + EXISTS] += 1;
            self.examples.entry((cell, EXISTS)).or_insert((node, *target));
        }
        by_vm
    }

    fn cell(&self, from: usize, to: usize) -> usize {
        self.of[from] * self.groups + self.of[to]
    }

    fn cells(&self, known: &Known<'_>) -> Result<Vec<Cell>> {
        let words = self.table.words.len();
        let cell = |number: usize| {
            let counts = &self.counts[number * words..(number + 1) * words];
            Ok(Cell {
                from: number / self.groups,
                to: number % self.groups,
                moves: counts.iter().sum(),
                succeed: counts[YES],
                obstacles: obstacles(self.table, counts),
                findings: self.findings(number, known)?,
            })
        };
        (0..self.groups * self.groups).map(cell).collect()
    }

    /// Of one pair for each word: each finding once.
    fn findings(&self, cell: usize, known: &Known<'_>) -> Result<Vec<Example>> {
        let words = 0..self.table.words.len();
        let mut pairs: Vec<_> = words.filter_map(|word| self.examples.get(&(cell, word)).copied()).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let Known { members, names, .. } = known;
        let mut found: Vec<Example> = Vec::new();
        for (from, to) in pairs {
            for finding in pair(&members[to].fingerprint, &members[from].fingerprint)?.findings {
                let new = found.iter().all(|example| example.finding.id != finding.id);
                if new && differ::is_to_fix(&finding, &known.differs[to]) {
                    found.push(Example { from: names[from].clone(), to: names[to].clone(), finding });
                }
            }
        }
        Ok(found)
    }
}

/// Two nodes, as `check --against` has them, by their fingerprints alone.
fn pair(here: &Fingerprint, there: &Fingerprint) -> Result<Compared> {
    let arrivals: Vec<Arrival> = there.vms.iter().map(|vm| Arrival::told(here, &vm.domain)).collect();
    let mut start = Start::told(here)?;
    Ok(judge(Comparison {
        here,
        there,
        domains: &table::domains(here),
        arrivals: &arrivals,
        start: &mut start,
        configured: table::configured(here),
    }))
}
