// SPDX-License-Identifier: Apache-2.0
//! Every VM to every other node, counted by pairs of groups.

use std::collections::{BTreeSet, HashMap};

use anyhow::Result;

use super::differ;
use super::table::{self, EXISTS, Exception, Table, UNKNOWN, WORDS, YES};
use super::{Cell, Difference, Example, Member, Obstacle, Vm};
use crate::arrivals;
use crate::fingerprint::Fingerprint;
use crate::rules::peer::{Compared, Comparison, judge};
use crate::rules::start::Start;

/// The counts, and a pair of nodes for each word of each cell.
struct Tally<'a> {
    groups: usize,
    of: &'a [usize],
    counts: Vec<u64>,
    examples: HashMap<(usize, usize), (usize, usize)>,
}

#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    pub members: &'a [Member],
    pub names: &'a [String],
    /// In what each differs from most.
    pub differs: &'a [Vec<Difference>],
}

/// All cells, and all VMs.
pub fn fill(known: &Known<'_>, of: &[usize], groups: usize) -> Result<(Vec<Cell>, Vec<Vm>)> {
    let members = known.members;
    let mut table = Table::new(members)?;
    let counts = vec![0; groups * groups * WORDS];
    let mut tally = Tally { groups, of, counts, examples: HashMap::new() };
    let twins = twins(members);
    let mut vms = Vec::new();
    for (node, member) in members.iter().enumerate() {
        let mut exceptions = table.exceptions(node)?;
        for (vm, target) in twins.get(&node).into_iter().flatten() {
            exceptions[*target].push((*vm, EXISTS));
        }
        let counted = tally.leave(&table, node, &exceptions);
        let row = |(vm, counts): (&crate::fingerprint::Vm, &[u64])| Vm {
            name: vm.domain.name.clone(),
            uuid: vm.domain.uuid.clone(),
            node,
            targets: counts[YES],
            obstacles: obstacles(&table, counts),
        };
        vms.extend(member.fingerprint.vms.iter().zip(counted.chunks(WORDS)).map(row));
    }
    Ok((tally.cells(&table, known)?, vms))
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

fn obstacles(table: &Table<'_>, counts: &[u64]) -> Vec<Obstacle> {
    let counted = table.words.iter().zip(counts).skip(UNKNOWN).filter(|(_, count)| **count > 0);
    counted.map(|(id, count)| Obstacle { id, count: *count }).collect()
}

impl Tally<'_> {
    /// Counts what its VMs would meet on all other nodes; by word, VM by VM.
    fn leave(&mut self, table: &Table<'_>, node: usize, exceptions: &[Vec<Exception>]) -> Vec<u64> {
        let shapes = &table.shapes[node];
        let mut by_vm = vec![0; shapes.len() * WORDS];
        let mut met = vec![0; shapes.len()];
        for target in (0..self.of.len()).filter(|target| *target != node) {
            let cell = self.cell(node, target);
            // What nodes have otherwise is of interest without VMs, too.
            self.examples.entry((cell, YES)).or_insert((node, target));
            let verdicts = &table.verdicts[table.kinds[target]];
            met.iter_mut().zip(shapes).for_each(|(word, shape)| *word = usize::from(verdicts[*shape]));
            exceptions[target].iter().for_each(|(vm, word)| met[*vm] = *word);
            let mut seen = [false; WORDS];
            for (vm, word) in met.iter().enumerate() {
                self.counts[cell * WORDS + word] += 1;
                by_vm[vm * WORDS + word] += 1;
                seen[*word] = true;
            }
            for word in (0..table.words.len()).filter(|word| seen[*word]) {
                self.examples.entry((cell, word)).or_insert((node, target));
            }
        }
        by_vm
    }

    fn cell(&self, from: usize, to: usize) -> usize {
        self.of[from] * self.groups + self.of[to]
    }

    fn cells(&self, table: &Table<'_>, known: &Known<'_>) -> Result<Vec<Cell>> {
        let cell = |number: usize| {
            let counts = &self.counts[number * WORDS..(number + 1) * WORDS];
            Ok(Cell {
                from: number / self.groups,
                to: number % self.groups,
                moves: counts.iter().sum(),
                succeed: counts[YES],
                obstacles: obstacles(table, counts),
                findings: self.findings(number, known)?,
            })
        };
        (0..self.groups * self.groups).map(cell).collect()
    }

    /// Of one pair for each word: each finding once.
    fn findings(&self, cell: usize, known: &Known<'_>) -> Result<Vec<Example>> {
        let mut pairs: Vec<_> =
            (0..WORDS).filter_map(|word| self.examples.get(&(cell, word)).copied()).collect();
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
    let mut start = Start::told(here)?;
    Ok(judge(Comparison {
        here,
        there,
        domains: &table::domains(here),
        arrivals: &arrivals::look(here, there.vms.iter().map(|vm| &vm.domain)),
        start: &mut start,
        configured: table::configured(here),
    }))
}
