// SPDX-License-Identifier: Apache-2.0
//! What there is to convert: each network card of each VM, what its definition has, what it runs with, its port, and what
//! it takes or what is in the way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::Serialize;

use crate::accord::Agreed;
use crate::accord::item::{Card, Side};
use crate::config::PortType;
use crate::convert::{self, Decision, Step, Terms};
use crate::facts::Known;
use crate::facts::domains::{Domain, Endpoint, SocketMode};
use crate::facts::live::{Live, Switch};
use crate::facts::ovsdb::{Join, PortState, VhostPort, plain};
use crate::mends;
use crate::root::Root;
use crate::shell;
use crate::survey::Survey;

/// Where libvirt keeps the memory of VMs that were saved (libvirt: src/qemu/qemu_conf.c, `saveDir`).
pub const SAVED: &str = "/var/lib/libvirt/qemu/save";

/// What it takes.
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
    /// As in JSON.
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

/// One card.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The VM.
    pub vm: String,
    /// `off`, `saved` or `running`.
    pub state: &'static str,
    /// The guest's address.
    pub mac: Option<String>,
    /// What its definition has.
    pub definition: Option<Side>,
    /// What it runs with.
    pub running: Option<Side>,
    /// Its port.
    pub port: Option<PortRow>,
    /// What it takes.
    pub verdict: Verdict,
    /// What is in the way.
    pub blocked: Option<String>,
    /// What to do, or what will be done.
    pub steps: Vec<String>,
    #[serde(skip)]
    pub turn: Option<(Card, Option<PortState>)>,
}

/// Its port.
#[derive(Debug, Clone, Serialize)]
pub struct PortRow {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: PortType,
    /// `nova` (os-vif made it) or `hand`.
    pub made_by: &'static str,
}

/// A VM with vhost-user network cards.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: Option<String>,
    /// Bytes of memory.
    pub memory: u64,
    /// Its cards.
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

/// All of them.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// The type to turn to.
    pub to: PortType,
    /// Sorted by name.
    pub machines: Vec<Machine>,
}

/// What cards are judged by.
struct Ground<'a> {
    terms: Terms<'a>,
    switch: &'a Switch,
    by_path: HashMap<PathBuf, &'a VhostPort>,
    by_name: HashMap<&'a str, &'a VhostPort>,
    /// The VMs that have a port, by its name.
    users: BTreeMap<String, BTreeSet<String>>,
}

impl Inventory {
    /// Takes it. OVSDB has to answer: nothing is judged on half of what there is.
    pub fn take(root: &Root, survey: &Survey, to: PortType) -> Result<Inventory> {
        let Some(live) = &survey.live else { bail!("this is no running node") };
        let switch = match &live.switch {
            Known::Known(switch) => switch,
            Known::Unknown(why) => bail!("OVSDB does not answer, so nothing can be said of ports: {why}"),
        };
        let agreed = Agreed::read(root)?;
        let directory = agreed.as_ref().map(|agreed| agreed.socket_directory.as_path());
        let mut ground = Ground::new(Terms { wanted: to, socket_directory: directory }, switch);
        let all = domains(live);
        for (definition, running) in &all {
            ground.add_users(definition.iter().chain(running).copied());
        }
        let mut machines = Vec::new();
        for (definition, running) in all {
            machines.extend(machine(root, &ground, definition, running)?);
        }
        machines.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Inventory { to, machines })
    }
}

/// Each VM's definition and what it runs with.
fn domains(live: &Live) -> Vec<(Option<&Domain>, Option<&Domain>)> {
    let runs = live.guests.iter().map(|guest| &guest.domain).filter(|domain| domain.running);
    let definition = |domain: &Domain| live.next.iter().find(|next| next.name == domain.name);
    let mut all: Vec<_> = runs.map(|domain| (definition(domain), Some(domain))).collect();
    let names: BTreeSet<&str> =
        all.iter().filter_map(|(_, running)| Some(running.as_ref()?.name.as_str())).collect();
    let off = live.defined.domains.iter().chain(&live.next);
    let off: Vec<_> = off.filter(|domain| !names.contains(domain.name.as_str())).collect();
    all.extend(off.into_iter().map(|domain| (Some(domain), None)));
    all
}

impl<'a> Ground<'a> {
    fn new(terms: Terms<'a>, switch: &'a Switch) -> Ground<'a> {
        let at = |port: &'a VhostPort| (plain(&switch.config.expected_socket(port)), port);
        let named = |port: &'a VhostPort| (port.name.as_str(), port);
        Ground {
            terms,
            switch,
            by_path: switch.ports.iter().map(at).collect(),
            by_name: switch.ports.iter().map(named).collect(),
            users: BTreeMap::new(),
        }
    }

    fn add_users<'b>(&mut self, of_one: impl Iterator<Item = &'b Domain>) {
        for domain in of_one {
            for (_, card) in convert::interfaces(domain) {
                if let Some(port) = card.path.as_deref().and_then(|path| self.port(path)) {
                    self.users.entry(port.name.clone()).or_default().insert(domain.name.clone());
                }
            }
        }
    }

    fn port(&self, path: &Path) -> Option<&'a VhostPort> {
        let named = || self.by_name.get(path.file_name()?.to_str()?).copied();
        self.by_path.get(&plain(path)).copied().or_else(named)
    }

    /// The part of OVSDB that one path is about.
    fn join(&self, path: &Path) -> Join {
        let ports = self.port(path).into_iter().cloned().collect();
        Join { config: self.switch.config.clone(), ports, others: Vec::new() }
    }
}

fn machine(
    root: &Root,
    ground: &Ground<'_>,
    definition: Option<&Domain>,
    running: Option<&Domain>,
) -> Result<Option<Machine>> {
    let Some(domain) = definition.or(running) else { return Ok(None) };
    let saved = Path::new(SAVED).join(format!("{}.save", domain.name));
    let state = match running {
        Some(_) => "running",
        None if root.find_nofollow(&saved)?.is_some() => "saved",
        None => "off",
    };
    let cards = pairs(definition, running);
    let row = |(own, live): (Option<(usize, &Endpoint)>, Option<&Endpoint>)| {
        row(ground, (domain, state), own, live)
    };
    let rows: Vec<Row> = cards.into_iter().map(row).collect();
    let machine =
        Machine { name: domain.name.clone(), uuid: domain.uuid.clone(), memory: domain.memory.size, rows };
    Ok((!machine.rows.is_empty()).then_some(machine))
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

fn row(
    ground: &Ground<'_>,
    (domain, state): (&Domain, &'static str),
    own: Option<(usize, &Endpoint)>,
    live: Option<&Endpoint>,
) -> Row {
    let card = own.map(|(_, card)| card).or(live);
    let port = card.and_then(|card| ground.port(card.path.as_deref()?));
    let mut row = Row {
        vm: domain.name.clone(),
        state,
        mac: card.and_then(|card| card.mac.clone()),
        definition: own.and_then(|(_, card)| Side::of(card)),
        running: live.and_then(Side::of),
        port: port.map(|port| PortRow {
            name: port.name.clone(),
            kind: port.kind,
            made_by: if port.vm_uuid.is_some() { "nova" } else { "hand" },
        }),
        verdict: Verdict::Blocked,
        blocked: None,
        steps: Vec::new(),
        turn: None,
    };
    match judge(ground, domain, own, live, port) {
        Ok(None) => row.verdict = Verdict::Done,
        Ok(Some((verdict, card, change))) => {
            row.steps = steps(ground, domain, verdict, &card, change.as_ref());
            row.verdict = verdict;
            row.turn = Some((card, change.map(|(_, wanted)| wanted)));
        }
        Err((why, mend)) => (row.blocked, row.steps) = (Some(why), mend.into_iter().collect()),
    }
    row
}

type Turning = (Verdict, Card, Option<(PortState, PortState)>);

/// What it takes; what is in the way and what to do about it.
fn judge(
    ground: &Ground<'_>,
    domain: &Domain,
    own: Option<(usize, &Endpoint)>,
    live: Option<&Endpoint>,
    port: Option<&VhostPort>,
) -> Result<Option<Turning>, (String, Option<String>)> {
    let to = ground.terms.wanted;
    let Some((place, card)) = own else { return undefined(domain, live, to) };
    let (Some(path), Some(from)) = (card.path.as_deref(), Side::of(card)) else { return Ok(None) };
    let runs_so = |side: &Side| live.is_none_or(|live| side.is(live));
    let step = match convert::decide(&ground.terms, &ground.join(path), (place, card), &mut |_, _| {
        Known::Known(None)
    }) {
        Decision::Nothing if from.kind == to || port.is_none_or(|port| port.vm_uuid.is_none()) => {
            return Ok(None);
        }
        Decision::Nothing => Step { turn: None, port: None },
        Decision::Left(why) => return Err((why, None)),
        Decision::InUse { port, by } => return Err((format!("port {port} is in use by {by}"), None)),
        Decision::Convert(step) => step,
    };
    let Some(port) = port else {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("PORT");
        let at = step.turn.as_ref().map_or(path, |turn| turn.path.as_path());
        let mend = mends::add_port(name, mode(to), at);
        return Err((format!("the switch has no port {name}, and none is invented"), Some(mend)));
    };
    if port.vm_uuid.is_some() {
        let mend = "have neutron's agent report dpdkvhostuserclient, then 'openstack server reboot --hard' or migrate the VM";
        return Err((
            format!("port {} is nova's: nova makes port and definition anew itself", port.name),
            Some(mend.to_string()),
        ));
    }
    shared(ground, domain, port)?;
    let path = step.turn.as_ref().map_or(path, |turn| turn.path.as_path()).to_path_buf();
    let card = Card { port: port.name.clone(), from, to: Side { kind: to, path } };
    let verdict = match live {
        None => Verdict::Ready,
        Some(_) if step.port.is_none() && runs_so(&card.to) => Verdict::DefinitionOnly,
        Some(_) => Verdict::Pause,
    };
    Ok(Some((verdict, card, step.port)))
}

fn mode(kind: PortType) -> SocketMode {
    match kind {
        PortType::Dpdkvhostuserclient => SocketMode::Server,
        PortType::Dpdkvhostuser => SocketMode::Client,
    }
}

/// A card that is in no definition: of a VM that has none, or plugged in while it runs.
fn undefined(
    domain: &Domain,
    live: Option<&Endpoint>,
    to: PortType,
) -> Result<Option<Turning>, (String, Option<String>)> {
    if live.and_then(Side::of).is_some_and(|side| side.kind == to) {
        return Ok(None);
    }
    let name = mends::domain(domain);
    let why = "it runs with this card and has it in no definition (a transient VM, or hot-plugged): nothing to convert";
    let mend =
        format!("virsh detach-interface {name} vhostuser --live, or let whoever made the VM make it anew");
    Err((why.to_string(), Some(mend)))
}

/// A port can be of one type only: who else has it would be cut off.
fn shared(ground: &Ground<'_>, domain: &Domain, port: &VhostPort) -> Result<(), (String, Option<String>)> {
    let users = ground.users.get(&port.name).into_iter().flatten();
    let others: Vec<&str> = users.map(String::as_str).filter(|name| *name != domain.name).collect();
    let cards = convert::interfaces(domain).filter_map(|(_, card)| ground.port(card.path.as_deref()?));
    let twice = cards.filter(|other| other.name == port.name).count() > 1;
    if twice {
        return Err((format!("two cards of this VM have port {}", port.name), None));
    }
    if let Some(other) = others.first() {
        let why = format!("port {} is in the definition of VM {} as well", port.name, others.join(", "));
        return Err((why, Some(format!("virsh edit {} and give it a port of its own", shell::quote(other)))));
    }
    Ok(())
}

/// What is done, in order.
fn steps(
    ground: &Ground<'_>,
    domain: &Domain,
    verdict: Verdict,
    card: &Card,
    change: Option<&(PortState, PortState)>,
) -> Vec<String> {
    let name = mends::domain(domain);
    let command = format!("vhost-accord convert --to {} {name}", ground.terms.wanted);
    let mut steps = match verdict {
        Verdict::Pause => vec![format!(
            "{command} --pause: no network for the seconds in which its {} MiB go to {SAVED} and back, no reboot; or shut it \
             off first",
            domain.memory.size >> 20
        )],
        Verdict::DefinitionOnly => vec![format!("{command}: without a pause; it runs so already")],
        _ => vec![command],
    };
    if card.from != card.to {
        let word = match mode(card.to.kind) {
            SocketMode::Server => "server",
            SocketMode::Client => "client",
        };
        steps.push(format!("its definition: mode='{word}', path='{}'", card.to.path.display()));
    }
    if let Some((_, wanted)) = change {
        steps.push(format!("port {}: {}", wanted.name, crate::change::port::describe(wanted)));
    }
    steps
}
