// SPDX-License-Identifier: Apache-2.0
//! Converts a VM's network cards and their ports together: the definition with libvirt's own tool, the ports in OVSDB.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::diff::hunks;
use super::{Held, Kind, Target, Undone, vm};
use crate::base::paths::same_path;
use crate::base::root::Root;
use crate::config::PortType;
use crate::convert::interfaces;
use crate::dataplane::ovs;
use crate::dataplane::ovs::database;
use crate::dataplane::ovs::ovsdb::{OVSDB_LIMIT, PortState};
use crate::dataplane::ovs::port;
use crate::edit::domain::{Turn, turn};
use crate::facts::accounts::Accounts;
use crate::facts::domains::{self, Domain, Endpoint, EndpointKind, parse_domain};
use crate::facts::libvirt;

/// ovs-vswitchd creates a port in well under a second, unless it is busy.
const PORT_LIMIT: Duration = Duration::from_secs(10);

/// A VM's persistent definition and the ports of its cards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversion {
    /// The VM's UUID.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// Its definition, as libvirt prints it. Only root may read it: it may have passwords.
    pub definition: String,
    /// The cards that are converted.
    pub cards: Vec<Card>,
    /// Their ports.
    pub ports: Vec<PortState>,
}

/// One card that is converted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// The name of its port.
    pub port: String,
    /// What it was.
    pub from: Side,
    /// What it is converted to.
    pub to: Side,
}

/// QEMU's side of a card's socket, named by the port type that fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// The type of port.
    pub kind: PortType,
    /// The socket's path.
    pub path: PathBuf,
}

/// A VM and its ports as they are now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmState {
    /// The VM's definition as libvirt prints it; none if there is no such VM.
    pub definition: Option<String>,
    /// The ports that exist.
    pub ports: Vec<PortState>,
}

impl Kind for Conversion {
    type Found = VmState;

    fn target(&self) -> Target {
        Target(format!("ports of VM {} ({})", self.name, self.uuid))
    }

    fn observe(&self, root: &Root, _accounts: &Accounts) -> Result<VmState> {
        read(root, self)
    }

    fn holds(&self, found: &VmState) -> bool {
        found.definition.as_ref().is_some_and(|text| self.has_cards(text)) && found.ports == self.ports
    }

    /// Only the lines that change and one line around them, because a definition may have passwords.
    fn show(&self, before: &VmState, _accounts: &Accounts) -> String {
        let name = format!("definition of VM {}", self.name);
        let definition = before.definition.as_deref().unwrap_or_default();
        let mut text = hunks((&name, definition), (&name, &self.definition), 1);
        for port in &self.ports {
            let before = before.ports.iter().find(|before| before.name == port.name && *before != port);
            if let Some(before) = before {
                let (before, after) = (port::describe(before), port::describe(port));
                let _ = writeln!(text, "- port {}  {before}\n+ port {}  {after}", port.name, port.name);
            }
        }
        text
    }

    fn writes(&self) -> Vec<PathBuf> {
        ["/etc/libvirt/qemu", ovs::paths::ETC].map(|directory| Path::new(directory).join("x")).to_vec()
    }

    /// libvirt and the switch write these files.
    fn clear(&self, _root: &Root) -> Result<()> {
        Ok(())
    }

    /// The saved memory is converted first: while the definition is unchanged, the run after a killed one knows the previous
    /// state. The port is converted last, because libvirt may refuse the rest.
    fn make(&self, root: &Root, _before: &VmState) -> Result<()> {
        turn_saved(self, |card| (&card.from, &card.to))?;
        if libvirt::definition(&self.uuid)?.as_ref() != Some(&self.definition) {
            vm::define(&self.definition)?;
        }
        let now = read(root, self)?.ports;
        let due: Vec<&PortState> = self.ports.iter().filter(|port| !now.contains(port)).collect();
        if let Some(name) = user(root, self, &due)? {
            bail!("VM {name} uses the port");
        }
        for wanted in due {
            let found = now.iter().find(|port| port.name == wanted.name);
            let found = found.with_context(|| format!("port {} does not exist", wanted.name))?;
            port::turn(root, found, wanted, Instant::now() + PORT_LIMIT)?;
        }
        Ok(())
    }

    /// Restores what nobody changed since.
    fn undo(&self, root: &Root, before: &VmState, now: &VmState) -> Result<Undone> {
        let is_back = |port: &PortState| now.ports.contains(port);
        let due: Vec<&PortState> = before.ports.iter().filter(|port| !is_back(port)).collect();
        if due.is_empty() && now.definition == before.definition {
            if now.definition.is_some() {
                turn_saved(self, |card| (&card.to, &card.from))?;
            }
            return Ok(Undone::AlreadyBack);
        }
        if let Some(name) = user(root, self, &due)? {
            return Ok(Undone::InUse(format!(
                "VM {name} runs (shut it off, or convert it back with convert --pause)"
            )));
        }
        let mut changed = Vec::new();
        match (&before.definition, &now.definition) {
            (_, None) => changed.push("the VM no longer exists".to_string()),
            (Some(earlier), Some(left)) if *left == self.definition => define_unless(earlier, left)?,
            (_, Some(other)) => {
                let back = turned(other, self.cards.iter().map(|card| (&card.to, &card.from)))?;
                define_unless(&back, other)?;
                changed.push("the definition; only its network cards were restored".to_string());
            }
        }
        if now.definition.is_some() {
            turn_saved(self, |card| (&card.to, &card.from))?;
        }
        for earlier in due {
            changed.extend(put_back(root, self, earlier)?);
        }
        Ok(if changed.is_empty() { Undone::Restored } else { Undone::RestoredOver(changed.join(", ")) })
    }

    /// An image has no libvirt to ask, and that of this machine must not be asked about an image.
    fn obstacle(&self, root: &Root) -> Result<Option<Undone>> {
        if !root.is_live() {
            let why = "only libvirt can restore the definition: run revert on the node, while it is up";
            return Ok(Some(Undone::InUse(why.to_string())));
        }
        let gone = || {
            Undone::Left("virsh is no longer installed on this node; VM and port are not changed".to_string())
        };
        Ok(root.find(Path::new(libvirt::PROGRAM))?.is_none().then(gone))
    }

    /// Keeps the state before the first conversion of the VM, with the changes that others made in between.
    fn supersede(standing: &mut Held<Conversion>, further: &Held<Conversion>) {
        let Held { item: left, before: earlier } = standing;
        let Held { item: wanted, before: now } = further;
        if let Some(now) = now.definition.as_ref().filter(|now| **now != left.definition) {
            let back = turned(now, left.cards.iter().map(|card| (&card.to, &card.from)));
            earlier.definition = Some(back.unwrap_or_else(|_| now.clone()));
        }
        left.name.clone_from(&wanted.name);
        left.definition.clone_from(&wanted.definition);
        for card in &wanted.cards {
            match left.cards.iter_mut().find(|known| known.port == card.port) {
                Some(known) => known.to = card.to.clone(),
                None => left.cards.push(card.clone()),
            }
        }
        for port in &wanted.ports {
            match left.ports.iter_mut().find(|known| known.name == port.name) {
                Some(known) => *known = port.clone(),
                None => {
                    left.ports.push(port.clone());
                    earlier.ports.extend(now.ports.iter().find(|before| before.name == port.name).cloned());
                }
            }
        }
    }
}

impl Conversion {
    /// Does the definition have each card as wanted?
    fn has_cards(&self, definition: &str) -> bool {
        let Ok(domain) = parse_domain(definition) else { return false };
        self.cards.iter().all(|card| domain.endpoints.iter().any(|endpoint| card.to.is(endpoint)))
    }
}

impl Held<Conversion> {
    /// Notes the definition as libvirt prints it now. `true`: everything is as it was before the conversion.
    pub fn settle(&mut self, root: &Root) -> Result<bool> {
        let now = read(root, &self.item)?;
        if let Some(definition) = &now.definition {
            self.item.definition.clone_from(definition);
        }
        Ok(now == self.before)
    }
}

impl Side {
    /// What an endpoint has now; none without a path.
    pub fn of(endpoint: &Endpoint) -> Option<Side> {
        Some(Side { kind: endpoint.mode.port_type(), path: endpoint.path.clone()? })
    }

    /// Does this network card have this side?
    pub fn is(&self, endpoint: &Endpoint) -> bool {
        let found = Side::of(endpoint).filter(|_| endpoint.device == EndpointKind::Interface);
        found.is_some_and(|found| found.kind == self.kind && same_path(&found.path, &self.path))
    }
}

/// Reads the VM and the ports that `item` names.
pub fn read(root: &Root, item: &Conversion) -> Result<VmState> {
    let mut ports = Vec::new();
    if !item.ports.is_empty() && has_switch(root)? {
        let mut ovsdb = database::connect(root, OVSDB_LIMIT)?;
        for port in &item.ports {
            ports.extend(ovsdb.port_named(&port.name)?.map(|(found, _)| found.state()));
        }
    }
    Ok(VmState { definition: libvirt::definition(&item.uuid)?, ports })
}

/// Is there a database of a switch, running or not? Without one there are no ports. A link of that name is enough, wherever it
/// leads: RHEL's packages have one in /etc/openvswitch, which the switch's user can change.
fn has_switch(root: &Root) -> Result<bool> {
    let databases = ovs::paths::databases();
    for path in databases.iter().map(PathBuf::as_path).chain([Path::new(ovs::paths::OVSDB_SOCKET)]) {
        if root.find_nofollow(path)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Restores a port; says why not if it was changed since.
fn put_back(root: &Root, item: &Conversion, earlier: &PortState) -> Result<Option<String>> {
    let Some(left) = item.ports.iter().find(|port| port.name == earlier.name) else { return Ok(None) };
    let now = read(root, item)?.ports;
    match now.iter().find(|port| port.name == earlier.name) {
        None => Ok(Some(format!("port {} no longer exists", earlier.name))),
        Some(now) if now != left => {
            Ok(Some(format!("port {} is now {} and was not changed", earlier.name, port::describe(now))))
        }
        Some(now) => port::turn(root, now, earlier, Instant::now() + PORT_LIMIT).map(|()| None),
    }
}

/// A running VM that has one of these ports.
fn user(root: &Root, item: &Conversion, ports: &[&PortState]) -> Result<Option<String>> {
    let is_due = |card: &&Card| ports.iter().any(|port| port.name == card.port);
    let cards = item.cards.iter().filter(is_due);
    let paths: Vec<_> = cards.flat_map(|card| [&card.from.path, &card.to.path]).collect();
    let has = |domain: &Domain| {
        let mut own = domain.endpoints.iter().filter_map(|endpoint| endpoint.path.as_deref());
        own.any(|own| paths.iter().any(|path| same_path(path, own)))
    };
    let running = domains::running(root)?.domains.into_iter().filter(|domain| domain.running);
    Ok(running.filter(has).map(|domain| domain.name).next())
}

fn define_unless(wanted: &str, now: &str) -> Result<()> {
    if wanted == now { Ok(()) } else { vm::define(wanted) }
}

/// Converts the XML in the file of a VM's saved memory: the VM starts from that XML.
fn turn_saved(item: &Conversion, sides: impl Fn(&Card) -> (&Side, &Side)) -> Result<()> {
    if !libvirt::info(&item.uuid)?.saved {
        return Ok(());
    }
    let xml = libvirt::saved(&item.uuid)?;
    let wanted = turned(&xml, item.cards.iter().map(sides))?;
    if wanted == xml {
        return Ok(());
    }
    vm::define_saved(&item.uuid, &wanted)
}

/// The document with each card that has the first side of a pair changed to the second side.
pub fn turned<'a>(xml: &str, sides: impl Iterator<Item = (&'a Side, &'a Side)>) -> Result<String> {
    let domain = parse_domain(xml)?;
    let interfaces: Vec<_> = interfaces(&domain).collect();
    let mut turns = Vec::new();
    for (from, to) in sides {
        let meant = interfaces.iter().filter(|(_, endpoint)| from.is(endpoint));
        turns.extend(meant.map(|(interface, _)| Turn {
            interface: *interface,
            to: to.kind,
            path: to.path.clone(),
        }));
    }
    turn(xml, &turns)
}
