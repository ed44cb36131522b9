// SPDX-License-Identifier: Apache-2.0
//! Both sides of every vhost-user socket of the node: VMs that run and VMs that are off, the switch's ports, the sockets
//! between them, who listens and who is connected.

mod index;
mod links;
pub mod needs;
mod others;
pub mod place;
mod socket;
pub mod start;
pub mod usage;
mod waiting;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::Result;

pub use crate::facts::owners::Owner;
pub use links::{End, Link};
pub use others::sides;
pub use socket::{Directory, Sight, Socket};
pub use waiting::Waiting;

use super::live::Live;
use crate::base::paths::plain;
use crate::base::root::Root;
use crate::dataplane::ovs::control::Control;
use crate::dataplane::ovs::ovsdb::{OVSDB_LIMIT, SwitchConfig, VhostPort};
use crate::dataplane::ovs::sockets::{Switch, read_switch};
use crate::dataplane::ovs::vswitchd::Vswitchd;
use crate::facts::domains::{BrokenFile, Domain, Endpoint, EndpointKind, SocketMode, is_network_card};
use crate::facts::processes::{self, Process};
use crate::facts::{Known, diag};
use index::Index;
use links::Links;
use start::{Facts, Shared, switch_paths};

/// A VM with vhost-user endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The domain; of one that runs, as it runs.
    pub domain: Domain,
    /// QEMU, where it was found.
    pub process: Option<Process>,
    /// What its start depends on.
    pub start: Facts,
    /// Who is behind each of `start.sockets`.
    pub links: Vec<Link>,
    /// Of one that runs: its definition, where its cards are not those that it runs with.
    pub next: Option<Next>,
}

/// What a running VM starts with the next time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// Its definition.
    pub domain: Domain,
    /// What that start depends on.
    pub start: Facts,
}

/// A port that no VM has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreePort {
    /// The port.
    pub port: VhostPort,
    /// Its socket.
    pub socket: Socket,
    /// Who is behind it.
    pub link: Link,
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// VMs, sorted by name.
    pub machines: Vec<Machine>,
    /// Ports without a VM.
    pub free: Vec<FreePort>,
    /// The switch's settings.
    pub switch: Known<SwitchConfig>,
    /// The switch's daemon.
    pub vswitchd: Vswitchd,
    /// What that daemon itself says.
    pub control: Control,
    /// Ports that OVSDB has as made, and the datapath has not.
    pub unmade: Vec<VhostPort>,
    /// Sockets of cards that were plugged into running VMs, and that nothing else knows.
    pub waiting: Vec<Waiting>,
    /// Whether the kernel told who is connected.
    pub peers: Known<()>,
    /// Domain files that could not be read.
    pub unread: Vec<BrokenFile>,
    /// Nanoseconds since boot.
    pub now: u64,
}

impl Endpoints {
    /// Looks, with what is known already of domains and switch. `directory` is where sockets are to be.
    pub fn read(root: &Root, live: &Live, directory: &Path) -> Result<Endpoints> {
        let mut shared = Shared::with(&live.sockets);
        let vswitchd = Vswitchd::read(root);
        let mut found = machines(live);
        let index = Index::new(root, live, found.iter().flat_map(domains));
        for machine in &mut found {
            machine.start = look(root, &mut shared, &index, &vswitchd, &machine.domain);
            if let Some(next) = &mut machine.next {
                next.start = look(root, &mut shared, &index, &vswitchd, &next.domain);
            }
        }
        let free = index.free(&found);
        let mut free: Vec<FreePort> =
            free.into_iter().filter_map(|port| free_port(root, &mut shared, &index, port)).collect();
        let sockets = diag::sockets(root);
        let waiting = sockets.as_deref().unwrap_or_default();
        let waiting = waiting::find(root, live, (&index, &found), waiting, directory);
        let links = sockets.map(|sockets| Links::new(root, sockets, &found, &free, &vswitchd));
        if let Ok(links) = &links {
            for machine in &mut found {
                machine.links = machine.start.sockets.iter().map(|socket| links.of(socket)).collect();
            }
            for port in &mut free {
                port.link = links.of(&port.socket);
            }
            others::name_all(root, &mut found, &vswitchd, &|path| index.ports.at(path).is_some());
        }
        let switch = live.switch.map(|switch| switch.config.clone());
        let unread = live.unread.iter().chain(&live.defined.broken).cloned().collect();
        let now = processes::since_boot_of(root)?;
        let control = Control::ask(root, &vswitchd);
        Ok(Endpoints {
            unmade: unmade(root, live, &vswitchd, &control),
            control,
            waiting,
            machines: found,
            free,
            switch,
            vswitchd,
            peers: Known::from(links.map(drop)),
            unread,
            now,
        })
    }
}

/// Ports that OVSDB has as made and the datapath has not. What OVSDB said is older than what the datapath says, so both are
/// asked once more where they differ.
fn unmade(root: &Root, live: &Live, vswitchd: &Vswitchd, control: &Control) -> Vec<VhostPort> {
    let lack = |switch: &Known<Switch>, control: &Control| -> Vec<VhostPort> {
        let (Known::Known(switch), Control::Ports(made)) = (switch, control) else { return Vec::new() };
        let is_made =
            |port: &&VhostPort| port.ofport.is_some_and(|number| number > 0) && port.error.is_none();
        let lacks = |port: &&VhostPort| is_made(port) && !made.contains(&port.name);
        switch.ports.iter().filter(lacks).cloned().collect()
    };
    let mut found = lack(&live.switch, control);
    if !found.is_empty() {
        let still = lack(&read_switch(root, OVSDB_LIMIT), &Control::ask(root, vswitchd));
        found.retain(|port| still.iter().any(|other| other.uuid == port.uuid));
    }
    found
}

/// Sockets of VMs, whether they run or not, with the process at the other end that is neither the switch nor a VM's.
pub fn of_others(root: &Root, live: &Live) -> Vec<Socket> {
    let mut shared = Shared::with(&live.sockets);
    let mut sockets: Vec<Socket> =
        live.domains().flat_map(|domain| shared.places(root, &domain.endpoints).1).collect();
    others::name(root, &mut sockets, &Vswitchd::read(root));
    let guests: Vec<u32> = live.guests.iter().filter_map(|guest| Some(guest.process.as_ref()?.pid)).collect();
    sockets.retain(|socket| socket.other.as_ref().is_some_and(|owner| !guests.contains(&owner.pid)));
    sockets
}

/// Those that run, and those defined that do not.
fn machines(live: &Live) -> Vec<Machine> {
    let definitions: HashMap<&str, &Domain> =
        live.next.iter().rev().map(|next| (next.name.as_str(), next)).collect();
    let machine = |domain: &Domain, process: Option<Process>| Machine {
        domain: domain.clone(),
        process,
        start: Facts::unknown_yet(),
        links: Vec::new(),
        next: next(&definitions, domain),
    };
    let speaks = |domain: &Domain| !domain.endpoints.is_empty();
    let running = live.guests.iter().filter(|guest| guest.domain.running);
    let names: HashSet<&str> = running.clone().map(|guest| guest.domain.name.as_str()).collect();
    let running = running.map(|guest| machine(&guest.domain, guest.process.clone()));
    let off = live.defined.domains.iter().filter(|domain| !names.contains(domain.name.as_str()));
    let all = running.chain(off.map(|domain| machine(domain, None)));
    let mut found: Vec<Machine> = all.filter(|machine| speaks(&machine.domain)).collect();
    found.sort_by(|a, b| a.domain.name.cmp(&b.domain.name));
    found
}

/// The definition of a running domain, where its sockets differ.
fn next(definitions: &HashMap<&str, &Domain>, domain: &Domain) -> Option<Next> {
    let sockets = |domain: &Domain| -> Vec<_> {
        let cards = domain.endpoints.iter().filter(|endpoint| is_network_card(endpoint));
        cards.filter_map(|card| Some((plain(card.path.as_deref()?), card.mode))).collect()
    };
    let next = definitions.get(domain.name.as_str()).filter(|_| domain.running)?;
    let differs = sockets(next) != sockets(domain);
    differs.then(|| Next { domain: Domain::clone(next), start: Facts::unknown_yet() })
}

fn look(root: &Root, shared: &mut Shared, index: &Index<'_>, vswitchd: &Vswitchd, domain: &Domain) -> Facts {
    let (directories, sockets) = shared.places(root, &domain.endpoints);
    let memory = Known::from(shared.needs(root, &domain.memory));
    let switch = index.join(domain);
    let asks_switch = switch_paths(domain).next().is_some();
    let (vswitchd, seconds) = (vswitchd.clone(), index.seconds(domain));
    Facts { switch, asks_switch, vswitchd, directories, sockets, memory, seconds, second: None }
}

fn free_port(root: &Root, shared: &mut Shared, index: &Index<'_>, port: &VhostPort) -> Option<FreePort> {
    let path = index.switch.known()?.config.expected_socket(port);
    let endpoint = Endpoint {
        device: EndpointKind::Interface,
        path: Some(path).filter(|path| path.is_absolute()),
        mode: SocketMode::of(port.kind),
        reconnect: None,
        target: None,
        mac: None,
        alias: None,
    };
    let (_, mut sockets) = shared.places(root, &[endpoint]);
    Some(FreePort { port: port.clone(), socket: sockets.pop()?, link: Link::default() })
}

/// Of its cards now and after its next start.
fn all_paths(machine: &Machine) -> impl Iterator<Item = &Path> {
    domains(machine).flat_map(switch_paths)
}

/// As it runs, and as it would start the next time where that differs.
fn domains(machine: &Machine) -> impl Iterator<Item = &Domain> {
    std::iter::once(&machine.domain).chain(machine.next.iter().map(|next| &next.domain))
}
