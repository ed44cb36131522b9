// SPDX-License-Identifier: Apache-2.0
//! What each shape of VM would meet on each kind of node: judged once. A node may have something of a socket's name (a port,
//! an interface, an entry of a directory): then it is judged with that, once for each kind of such things.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::Result;

use super::Member;
use crate::arrivals::{self, Arrival};
use crate::dataplane::ovs::ovsdb::VhostPort;
use crate::facts::domains::Domain;
use crate::fingerprint::{Fingerprint, Vm};
use crate::node::endpoints::Sight;
use crate::node::endpoints::place::Place;
use crate::rules::peer::{Comparison, meet};
use crate::rules::start::Start;

/// The words come first in [`Table::words`] by these numbers.
pub const YES: usize = 0;
/// Nothing is known to keep it out.
pub const UNKNOWN: usize = 1;
/// A VM of that name or UUID runs there: the only one that goes by more than a shape.
pub const EXISTS: usize = 2;
/// There are fewer rules than that.
pub const WORDS: usize = 256;

/// A VM and the word for it on another node.
pub type Exception = (usize, usize);

#[derive(Debug)]
pub struct Table<'a> {
    /// What [`meet`] said: the finding that keeps a VM out.
    pub words: Vec<&'static str>,
    /// The shape of each VM, node by node.
    pub shapes: Vec<Vec<usize>>,
    pub kinds: Vec<usize>,
    /// The number of a word, for each kind and shape.
    pub verdicts: Vec<Vec<u8>>,
    members: &'a [Member],
    /// For each name of a socket, the nodes that have something of that name, and the number of what that is.
    named: HashMap<&'a str, Vec<(usize, usize)>>,
    /// By kind and shape, and what there is of each socket's name.
    judged: HashMap<(usize, usize), HashMap<Vec<usize>, u8>>,
}

impl<'a> Table<'a> {
    pub fn new(members: &'a [Member]) -> Result<Table<'a>> {
        let (kinds, targets) = numbered(members.iter(), |member| kind(&member.fingerprint));
        let vms = members.iter().flat_map(|member| member.fingerprint.vms.iter().map(move |vm| (member, vm)));
        let (mut shape_of, vms) = numbered(vms, |(_, vm)| format!("{:?}", arrivals::shape(vm)));
        let mut shapes = Vec::new();
        for member in members {
            let rest = shape_of.split_off(member.fingerprint.vms.len());
            shapes.push(std::mem::replace(&mut shape_of, rest));
        }
        let words = vec!["yes", "unknown", "peer-vm-exists"];
        let (named, judged) = (named(members), HashMap::new());
        let mut table = Table { words, shapes, kinds, verdicts: Vec::new(), members, named, judged };
        for target in targets {
            let fingerprint = &target.fingerprint;
            let here = Fingerprint { place: fingerprint.place.bare(), ..fingerprint.clone() };
            let arrivals = arrivals::look(&here, vms.iter().map(|(_, vm)| &vm.domain));
            let mut start = Start::told(&here)?;
            let met = vms.iter().zip(&arrivals);
            let row = met.map(|((member, vm), arrival)| {
                table.word(&here, &mut start, (&member.fingerprint, vm), arrival)
            });
            let row = row.collect();
            table.verdicts.push(row);
        }
        Ok(table)
    }

    fn word(
        &mut self,
        here: &Fingerprint,
        start: &mut Start,
        (there, vm): (&Fingerprint, &Vm),
        arrival: &Arrival,
    ) -> u8 {
        let configured = configured(here);
        let mut ground = Comparison { here, there, domains: &[], arrivals: &[], start, configured };
        let (_, word) = meet(&mut ground, vm, arrival);
        let at = self.words.iter().position(|known| *known == word).unwrap_or_else(|| {
            self.words.push(word);
            self.words.len() - 1
        });
        u8::try_from(at).unwrap_or(u8::MAX)
    }

    /// For each node, the VMs of this one for which it has something of a name.
    pub fn exceptions(&mut self, node: usize) -> Result<Vec<Vec<Exception>>> {
        let members = self.members;
        let mut found = vec![Vec::new(); members.len()];
        for (number, vm) in members[node].fingerprint.vms.iter().enumerate() {
            let names: Vec<&str> = names(&vm.domain).collect();
            let is_elsewhere = |places: &Vec<(usize, usize)>| places.iter().any(|(other, _)| *other != node);
            if !names.iter().filter_map(|name| self.named.get(name)).any(is_elsewhere) {
                continue;
            }
            // By target: a fleet may have the same names everywhere.
            let mut there = vec![0; members.len() * names.len()];
            for (at, name) in names.iter().enumerate() {
                for (target, what) in self.named.get(name).into_iter().flatten() {
                    there[target * names.len() + at] = *what;
                }
            }
            let shape = self.shapes[node][number];
            let met = there.chunks(names.len()).enumerate();
            for (target, what) in
                met.filter(|(target, what)| *target != node && what.iter().any(|what| *what > 0))
            {
                let key = (self.kinds[target], shape);
                let word = match self.judged.get(&key).and_then(|judged| judged.get(what)) {
                    Some(word) => *word,
                    None => {
                        let here = &members[target].fingerprint;
                        let arrivals = arrivals::look(here, [&vm.domain]);
                        let from = (&members[node].fingerprint, vm);
                        let word = self.word(here, &mut Start::told(here)?, from, &arrivals[0]);
                        self.judged.entry(key).or_default().insert(what.to_vec(), word);
                        word
                    }
                };
                found[target].push((number, usize::from(word)));
            }
        }
        Ok(found)
    }
}

fn names(vm: &Domain) -> impl Iterator<Item = &str> {
    let paths = vm.endpoints.iter().filter_map(|endpoint| endpoint.path.as_deref());
    paths.map(|path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default())
}

/// What each node has of each name. Two things with one number are met alike.
fn named(members: &[Member]) -> HashMap<&str, Vec<(usize, usize)>> {
    let mut found: HashMap<&str, Vec<(usize, usize)>> = HashMap::new();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    for (node, member) in members.iter().enumerate() {
        for (name, text) in texts(&member.fingerprint.place) {
            let next = numbers.len() + 1;
            found.entry(name).or_default().push((node, *numbers.entry(text).or_insert(next)));
        }
    }
    found
}

/// What there is of each name, in a text without the name.
fn texts(place: &Place) -> HashMap<&str, String> {
    let mut texts: HashMap<&str, String> = HashMap::new();
    let mut add = |name, text: String| texts.entry(name).or_default().push_str(&text);
    for port in place.switch.known().into_iter().flat_map(|switch| &switch.ports) {
        let in_use = place.in_use.known().is_some_and(|ports| ports.contains_key(&port.name));
        let VhostPort { name, kind, server_path, socket, ofport, error, vm_uuid, .. } = port;
        let text = |path: &Option<PathBuf>| {
            let path = path.as_deref().map(|path| path.display().to_string());
            path.map(|path| path.strip_suffix(name.as_str()).unwrap_or(&path).to_string())
        };
        let paths = (text(server_path), text(socket));
        let told = format!("{kind} {paths:?} {ofport:?} {error:?} {vm_uuid:?} {in_use}");
        let at = [server_path, socket].into_iter().flatten().filter_map(|path| path.file_name()?.to_str());
        at.filter(|other| *other != name.as_str()).for_each(|other| add(other, format!("{name} {told}")));
        add(name, told);
    }
    place.others.iter().for_each(|(name, kind)| add(name, kind.clone()));
    for (path, Sight { node, liveness, .. }) in &place.entries {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let node = node.as_ref().map(|node| (node.kind, node.uid, node.gid, node.mode, &node.acl));
        add(name, format!("{:?} {node:?} {liveness:?}", path.parent()));
    }
    texts
}

pub fn configured(here: &Fingerprint) -> Option<(u32, u32)> {
    here.qemu.as_ref().map(|qemu| (qemu.user.id, qemu.group.id))
}

/// The domains of a node, as far as its fingerprint has them.
pub fn domains(here: &Fingerprint) -> Vec<&Domain> {
    here.vms.iter().map(|vm| &vm.domain).collect()
}

/// All by which a VM is judged, but for what has a name of its own.
fn kind(node: &Fingerprint) -> String {
    let Fingerprint { modes, incoming, socket_directory, server_directory, qemu, pages, .. } = node;
    let Fingerprint { default_page_size, agreed, group, .. } = node;
    let configured = (modes, incoming, socket_directory, server_directory, agreed, group);
    let place = node.place.bare();
    format!("{configured:?}{qemu:?}{:?}{pages:?}{default_page_size:?}{place:?}", node.dataplane)
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
