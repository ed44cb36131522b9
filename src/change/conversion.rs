// SPDX-License-Identifier: Apache-2.0
//! A VM's cards and their ports are turned together: the definition by libvirt's own tool, the ports in OVSDB.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Change, Undone, port};
use crate::accord::Item;
use crate::accord::item::{Card, Conversion, Side};
use crate::base::program;
use crate::base::root::Root;
use crate::convert::interfaces;
use crate::edit::domain::{Turn, turn};
use crate::facts::domains::{self, Domain, parse_domain};
use crate::facts::libvirt::{self, VIRSH};
use crate::facts::ovsdb::{PortState, same_path};
use crate::facts::state::State;

/// libvirt defines in milliseconds.
const LIMIT: Duration = Duration::from_secs(15);
/// ovs-vswitchd makes a port in well under a second, unless it is busy.
const PORT_LIMIT: Duration = Duration::from_secs(10);

/// How long a saving that was begun by others is waited for.
const SAVING: Duration = Duration::from_secs(120);

/// What a conversion found before it.
#[derive(Debug)]
pub struct Before<'a> {
    /// The definition.
    pub definition: Option<&'a String>,
    /// The ports.
    pub ports: &'a [PortState],
}

/// Memory that is saved first: while the definition is as it was, a run that follows a killed one knows what was before.
/// The port last: libvirt may refuse the rest.
pub fn make(root: &Root, item: &Conversion) -> Result<()> {
    turn_saved(item, |card| (&card.from, &card.to))?;
    if libvirt::definition(&item.uuid)?.as_ref() != Some(&item.definition) {
        define(&item.definition)?;
    }
    let (_, now) = crate::facts::conversion::read(root, item)?;
    let due: Vec<&PortState> = item.ports.iter().filter(|port| !now.contains(port)).collect();
    if let Some(name) = user(root, item, &due)? {
        bail!("VM {name} uses the port");
    }
    for wanted in due {
        let found = now.iter().find(|port| port.name == wanted.name);
        let found = found.with_context(|| format!("port {} does not exist", wanted.name))?;
        port::turn(root, found, wanted, Instant::now() + PORT_LIMIT)?;
    }
    Ok(())
}

/// What keeps a conversion from being taken back at all: nobody to ask. Nothing of a machine that does not run is asked of
/// the one that this program runs on.
pub fn obstacle(root: &Root) -> Result<Option<Undone>> {
    if !root.is_live() {
        let why = "only libvirt can restore the definition: run revert on the node, while it is up";
        return Ok(Some(Undone::InUse(why.to_string())));
    }
    let gone =
        || Undone::Left("virsh is no longer installed on this node; VM and port are not changed".to_string());
    Ok(root.find(Path::new(libvirt::PROGRAM))?.is_none().then(gone))
}

/// Puts back what is still as it was left; what someone changed since stays.
pub fn undo(root: &Root, item: &Conversion, before: &Before<'_>, now: &Before<'_>) -> Result<Undone> {
    let is_back = |port: &PortState| now.ports.contains(port);
    let due: Vec<&PortState> = before.ports.iter().filter(|port| !is_back(port)).collect();
    if due.is_empty() && now.definition == before.definition {
        if now.definition.is_some() {
            turn_saved(item, |card| (&card.to, &card.from))?;
        }
        return Ok(Undone::AlreadyBack);
    }
    if let Some(name) = user(root, item, &due)? {
        return Ok(Undone::InUse(format!(
            "VM {name} runs (shut it off, or convert it back with convert --pause)"
        )));
    }
    let mut changed = Vec::new();
    match (before.definition, now.definition) {
        (_, None) => changed.push("the VM no longer exists".to_string()),
        (Some(earlier), Some(left)) if *left == item.definition => define_unless(earlier, left)?,
        (_, Some(other)) => {
            let back = turned(other, item.cards.iter().map(|card| (&card.to, &card.from)))?;
            define_unless(&back, other)?;
            changed.push("the definition; only its network cards were restored".to_string());
        }
    }
    if now.definition.is_some() {
        turn_saved(item, |card| (&card.to, &card.from))?;
    }
    for earlier in due {
        changed.extend(put_back(root, item, earlier)?);
    }
    Ok(if changed.is_empty() { Undone::Restored } else { Undone::RestoredOver(changed.join(", ")) })
}

/// What stands in the way where the port is not as it was left.
fn put_back(root: &Root, item: &Conversion, earlier: &PortState) -> Result<Option<String>> {
    let Some(left) = item.ports.iter().find(|port| port.name == earlier.name) else { return Ok(None) };
    let now = crate::facts::conversion::read(root, item)?.1;
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
    if wanted == now { Ok(()) } else { define(wanted) }
}

fn define(definition: &str) -> Result<()> {
    virsh(&["define", "/dev/stdin"], definition, LIMIT).context("libvirt does not accept the definition")
}

/// A VM whose memory is in a file starts from the XML in that file.
fn turn_saved(item: &Conversion, sides: impl Fn(&Card) -> (&Side, &Side)) -> Result<()> {
    if !libvirt::info(&item.uuid)?.saved {
        return Ok(());
    }
    let xml = libvirt::saved(&item.uuid)?;
    let wanted = turned(&xml, item.cards.iter().map(sides))?;
    if wanted == xml {
        return Ok(());
    }
    virsh(&["managedsave-define", &item.uuid, "/dev/stdin"], &wanted, LIMIT)
        .context("libvirt does not accept the definition for the saved memory")
}

/// Stops the VM with its memory in a file. On an error it runs, or is off with its memory saved, and nothing is under way.
pub fn save(uuid: &str, limit: Duration) -> Result<()> {
    let saved = virsh(&["managedsave", uuid], "", limit);
    if saved.is_err() {
        // Too slow: libvirt would go on, and stop the VM when nobody expects it any more.
        let _ = virsh(&["domjobabort", uuid], "", LIMIT);
        wait_until_saved(uuid)?;
    }
    saved
}

/// Starts it, from that file where there is one.
pub fn start(uuid: &str, limit: Duration) -> Result<()> {
    virsh(&["start", uuid], "", limit)
}

/// Ends a start that hangs: the saved memory stays for the next one (libvirt: src/qemu/qemu_driver.c,
/// `qemuDomainObjStart`). A VM that runs is left alone.
pub fn stop_starting(uuid: &str) -> Result<()> {
    let info = libvirt::info(uuid)?;
    if info.is_off() || !info.saved {
        return Ok(());
    }
    virsh(&["destroy", uuid], "", LIMIT)
}

/// libvirt goes on saving when whoever asked for it is gone.
pub fn wait_until_saved(uuid: &str) -> Result<()> {
    let end = Instant::now() + SAVING;
    while libvirt::is_busy(uuid)? {
        if Instant::now() >= end {
            bail!("libvirt is still busy with VM {uuid} (virsh domjobinfo); try again later");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn virsh(arguments: &[&str], input: &str, limit: Duration) -> Result<()> {
    program::run_with(Path::new(libvirt::PROGRAM), &[&VIRSH, arguments].concat(), input, limit).map(drop)
}

/// The document with the cards that are as the first of a pair says as the second says.
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

/// Notes a further conversion of the same VM in the one that stands: what was there before the first stays, and what
/// others changed in between stays as well.
pub fn merge(standing: &mut Change, further: &Change) {
    let (Item::Conversion(left), State::Conversion { definition: earlier, ports: ports_before }) =
        (&mut standing.item, &mut standing.before)
    else {
        return;
    };
    let (Item::Conversion(wanted), State::Conversion { definition: now, ports }) =
        (&further.item, &further.before)
    else {
        return;
    };
    if let Some(now) = now.as_ref().filter(|now| **now != left.definition) {
        let back = turned(now, left.cards.iter().map(|card| (&card.to, &card.from)));
        *earlier = Some(back.unwrap_or_else(|_| now.clone()));
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
                ports_before.extend(ports.iter().find(|before| before.name == port.name).cloned());
            }
        }
    }
}

/// Takes the definition as libvirt gives it out now for what was left. `true`: all is as it was before.
pub fn settle(root: &Root, standing: &mut Change) -> Result<bool> {
    let (Item::Conversion(item), State::Conversion { definition, ports }) =
        (&mut standing.item, &standing.before)
    else {
        return Ok(false);
    };
    let (now, ports_now) = crate::facts::conversion::read(root, item)?;
    if let Some(now) = &now {
        item.definition.clone_from(now);
    }
    Ok(now == *definition && ports_now == *ports)
}
