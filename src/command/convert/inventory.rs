// SPDX-License-Identifier: Apache-2.0
//! What there is to convert: each network card of each VM, what its definition has, what it runs with, its port, and what
//! it takes or what is in the way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::Serialize;

use super::card;
use crate::accord::Agreed;
use crate::base::paths::plain;
use crate::base::root::Root;
use crate::config::PortType;
use crate::convert::{self, Terms};
use crate::dataplane::ovs::database::SILENT;
use crate::dataplane::ovs::ovsdb::{Join, PortState, VhostPort};
use crate::dataplane::ovs::sockets::Switch;
use crate::facts::Known;
use crate::facts::domains::{Domain, Endpoint};
use crate::items::{Card, Side};
use crate::node::endpoints::usage::Usage;
use crate::node::live::Live;
use crate::survey::Survey;

/// Where libvirt keeps the memory of VMs that were saved (libvirt: src/qemu/qemu_conf.c, `saveDir`).
pub const SAVED: &str = "/var/lib/libvirt/qemu/save";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is so already.
    Done,
    /// Something is in the way.
    Blocked,
    /// It can be turned now and nobody notices: the VM is off.
    Ready,
    /// It runs so already: only the definition is to follow.
    DefinitionOnly,
    /// It runs on the port: it has to be saved and restored, or shut off first.
    Pause,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Done => "done",
            Verdict::Blocked => "blocked",
            Verdict::Ready => "ready",
            Verdict::DefinitionOnly => "definition-only",
            Verdict::Pause => "pause",
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub vm: String,
    /// `off`, `saved` or `running`.
    pub state: &'static str,
    /// The guest's address.
    pub mac: Option<String>,
    pub definition: Option<Side>,
    pub running: Option<Side>,
    pub port: Option<PortRow>,
    pub verdict: Verdict,
    pub blocked: Option<String>,
    /// What to do, or what will be done.
    pub steps: Vec<String>,
    #[serde(skip)]
    pub turn: Option<(Card, Option<PortState>)>,
}

#[derive(Debug, Clone, Serialize)]
pub struct PortRow {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: PortType,
    /// `nova` (os-vif made it) or `hand`.
    pub made_by: &'static str,
}

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
    /// What turning all its cards takes: what the neediest takes; blocked only if none can be turned.
    pub fn verdict(&self) -> Verdict {
        self.rows.iter().map(|row| row.verdict).max().unwrap_or(Verdict::Done)
    }

    /// What is in the way of some of its cards.
    pub fn blocked(&self) -> Option<&str> {
        self.rows.iter().find_map(|row| row.blocked.as_deref())
    }
}

/// Who has a port, whose socket is at the path, other than the VM that it is about.
pub type InUse<'a> = dyn Fn(&VhostPort, &Path, &Domain) -> Known<Option<String>> + 'a;

/// What cards are judged by.
pub struct Ground<'a> {
    pub terms: Terms<'a>,
    switch: &'a Switch,
    by_path: HashMap<PathBuf, &'a VhostPort>,
    by_name: HashMap<&'a str, &'a VhostPort>,
    /// The VMs that have a port, by its name.
    pub users: BTreeMap<String, BTreeSet<String>>,
    /// Whether someone has a port, whose socket is at the path, whatever VM it is about.
    pub in_use: &'a InUse<'a>,
}

/// All of them. OVSDB has to answer: nothing is judged on half of what there is.
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

impl<'a> Ground<'a> {
    /// Nobody has a port yet but who `in_use` says.
    pub fn new(terms: Terms<'a>, switch: &'a Switch, in_use: &'a InUse<'a>) -> Ground<'a> {
        let at = |port: &'a VhostPort| (plain(&switch.config.expected_socket(port)), port);
        let named = |port: &'a VhostPort| (port.name.as_str(), port);
        Ground {
            terms,
            switch,
            by_path: switch.ports.iter().map(at).collect(),
            by_name: switch.ports.iter().map(named).collect(),
            users: BTreeMap::new(),
            in_use,
        }
    }

    fn add_user(&mut self, domain: &Domain) {
        for (_, card) in convert::interfaces(domain) {
            if let Some(port) = card.path.as_deref().and_then(|path| self.port(path)) {
                self.users.entry(port.name.clone()).or_default().insert(domain.name.clone());
            }
        }
    }

    /// The port that a socket's path is about.
    pub fn port(&self, path: &Path) -> Option<&'a VhostPort> {
        let named = || self.by_name.get(path.file_name()?.to_str()?).copied();
        self.by_path.get(&plain(path)).copied().or_else(named)
    }

    /// The part of OVSDB that one path is about.
    pub fn join(&self, path: &Path) -> Join {
        let ports = self.port(path).into_iter().cloned().collect();
        Join { config: self.switch.config.clone(), ports, others: Vec::new() }
    }
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
