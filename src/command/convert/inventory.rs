// SPDX-License-Identifier: Apache-2.0
//! What can be converted: each network card of each VM, with its type in the definition and in the running VM, its port, and how
//! it can be converted or what blocks that.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail};

use super::card;
use super::ground::Ground;
use super::row::{Row, SAVED, Verdict};
use crate::accord::Agreed;
use crate::base::root::Root;
use crate::config::PortType;
use crate::convert::{self, Terms};
use crate::dataplane::ovs::database::SILENT;
use crate::dataplane::ovs::ovsdb::VhostPort;
use crate::facts::Known;
use crate::facts::domains::{Domain, Endpoint};
use crate::node::endpoints::usage::Usage;
use crate::node::live::Live;
use crate::survey::Survey;

/// A VM with vhost-user network cards.
#[derive(Debug, Clone)]
pub struct Machine {
    pub name: String,
    pub uuid: Option<String>,
    /// Bytes of memory.
    pub memory: u64,
    pub rows: Vec<Row>,
}

impl Machine {
    /// How all its cards can be converted: the state that needs most; blocked only if no card can be converted.
    pub fn verdict(&self) -> Verdict {
        self.rows.iter().map(|row| row.verdict).max().unwrap_or(Verdict::Done)
    }

    /// What is in the way of some of its cards.
    pub fn blocked(&self) -> Option<&str> {
        self.rows.iter().find_map(|row| row.blocked.as_deref())
    }
}

/// All VMs. An error if OVSDB does not answer: nothing is judged without it.
pub fn take(root: &Root, survey: &Survey, to: PortType) -> Result<Vec<Machine>> {
    let Some(live) = &survey.live else { bail!("this is no running node") };
    let switch = match &live.switch {
        Known::Known(switch) => switch,
        Known::Unknown(why) => bail!("{SILENT}, so nothing can be said of ports: {why}"),
    };
    let agreed = Agreed::read(root)?;
    let directory = agreed.as_ref().map(|agreed| agreed.socket_directory.as_path());
    let usage = Known::from(Usage::read(root));
    let in_use = |port: &VhostPort, path: &Path, about: &Domain| match &usage {
        Known::Known(usage) => Known::from(usage.of(root, port, path, Some(about))),
        Known::Unknown(why) => Known::Unknown(why.clone()),
    };
    let saved = root.list(Path::new(SAVED))?;
    let is_saved = |name: &str| saved.iter().any(|file| *file == *format!("{name}.save"));
    let terms = Terms { wanted: to, socket_directory: directory };
    Ok(of(Ground::new(terms, switch, &in_use), &domains(live), &is_saved))
}

/// The same by what is known of all VMs; sorted by name.
pub fn of(mut ground: Ground<'_>, all: &[Both<'_>], is_saved: &dyn Fn(&str) -> bool) -> Vec<Machine> {
    for domain in all.iter().flat_map(|both| both.definition.iter().chain(&both.running)) {
        ground.add_user(domain);
    }
    let mut machines: Vec<Machine> =
        all.iter().filter_map(|both| machine(&ground, *both, is_saved)).collect();
    machines.sort_by(|a, b| a.name.cmp(&b.name));
    machines
}

/// A VM: what its next start goes by, and what it runs with.
#[derive(Debug, Clone, Copy)]
pub struct Both<'a> {
    /// None of a transient one.
    pub definition: Option<&'a Domain>,
    /// None while it is off.
    pub running: Option<&'a Domain>,
}

/// All VMs of the node.
fn domains(live: &Live) -> Vec<Both<'_>> {
    let runs = live.guests.iter().map(|guest| &guest.domain).filter(|domain| domain.running);
    let next = |domain: &Domain| live.next.iter().find(|next| next.name == domain.name);
    let running: Vec<Both<'_>> =
        runs.map(|domain| Both { definition: next(domain), running: Some(domain) }).collect();
    let names: BTreeSet<&str> = running.iter().filter_map(|both| Some(both.running?.name.as_str())).collect();
    let off = live.defined.domains.iter().chain(&live.next);
    let off = off.filter(|domain| !names.contains(domain.name.as_str()));
    let off: Vec<Both<'_>> = off.map(|domain| Both { definition: Some(domain), running: None }).collect();
    running.into_iter().chain(off).collect()
}

fn machine(ground: &Ground<'_>, both: Both<'_>, is_saved: &dyn Fn(&str) -> bool) -> Option<Machine> {
    let domain = both.definition.or(both.running)?;
    let state = match both.running {
        Some(_) => "running",
        None if is_saved(&domain.name) => "saved",
        None => "off",
    };
    let cards = pairs(both.definition, both.running).into_iter();
    let rows: Vec<Row> = cards.map(|(own, live)| card::row(ground, (domain, state), own, live)).collect();
    let (name, uuid, memory) = (domain.name.clone(), domain.uuid.clone(), domain.memory.size);
    (!rows.is_empty()).then_some(Machine { name, uuid, memory, rows })
}

type Pair<'a> = (Option<(usize, &'a Endpoint)>, Option<&'a Endpoint>);

/// Cards of the definition with what runs of them (the same MAC address, else the same place), then those that were
/// plugged in while it runs.
fn pairs<'a>(definition: Option<&'a Domain>, running: Option<&'a Domain>) -> Vec<Pair<'a>> {
    let mut live: Vec<(usize, &Endpoint)> = running.into_iter().flat_map(convert::interfaces).collect();
    let mut pairs: Vec<Pair<'a>> = Vec::new();
    for (place, card) in definition.into_iter().flat_map(convert::interfaces) {
        let same = |(at, other): &(usize, &Endpoint)| match (&card.mac, &other.mac) {
            (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
            _ => *at == place,
        };
        let found = live.iter().position(same).map(|found| live.remove(found).1);
        pairs.push((Some((place, card)), found));
    }
    pairs.extend(live.into_iter().map(|(_, card)| (None, Some(card))));
    pairs
}
