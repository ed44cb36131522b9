// SPDX-License-Identifier: Apache-2.0
//! One network card: how it can be converted, or what blocks that.

use std::path::Path;

use super::ground::Ground;
use super::row::{PortRow, Row, SAVED, Verdict};
use crate::base::shell;
use crate::config::PortType;
use crate::convert::{self, Decision, Step};
use crate::dataplane::ovs;
use crate::dataplane::ovs::ovsdb::{PortState, VhostPort};
use crate::dataplane::ovs::port::describe;
use crate::facts::Known;
use crate::facts::domains::{Domain, Endpoint, SocketMode};
use crate::fixes;
use crate::items::{Card, Side};

/// The card of the definition with its place there, and what runs of it.
pub fn row(
    ground: &Ground<'_>,
    (domain, state): (&Domain, &'static str),
    own: Option<(usize, &Endpoint)>,
    live: Option<&Endpoint>,
) -> Row {
    let card = own.map(|(_, card)| card).or(live);
    let port = card.and_then(|card| ground.index.port(card.path.as_deref()?));
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
        Err((why, fix)) => (row.blocked, row.steps) = (Some(why), fix.into_iter().collect()),
    }
    row
}

type Turning = (Verdict, Card, Option<(PortState, PortState)>);

/// How it is converted; or what blocks it, and the fix.
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
    // Who is connected to the port of a VM that runs is the VM itself.
    let mut in_use = |port: &VhostPort, path: &Path| match live {
        Some(_) => Known::Known(None),
        None => (ground.in_use)(port, path, domain),
    };
    let step = match convert::decide(&ground.terms, &ground.join(path), (place, card), &mut in_use) {
        Decision::Nothing if from.kind == to || port.is_none_or(|port| port.vm_uuid.is_none()) => {
            return Ok(None);
        }
        Decision::Nothing => Step { turn: None, port: None },
        Decision::Left(why) => return Err((why, None)),
        Decision::InUse { port, by } => return Err((format!("port {port} is in use by {by}"), None)),
        Decision::Convert(step) => step,
    };
    let port = own_port(port, path, &step, to)?;
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

/// The port that may be changed: it must exist and not be nova's.
fn own_port<'a>(
    port: Option<&'a VhostPort>,
    path: &Path,
    step: &Step,
    to: PortType,
) -> Result<&'a VhostPort, (String, Option<String>)> {
    let Some(port) = port else {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("PORT");
        let at = step.turn.as_ref().map_or(path, |turn| turn.path.as_path());
        let fix = ovs::fixes::add_port(None, name, SocketMode::of(to), at);
        return Err((format!("OVS has no port {name}, and convert creates none"), Some(fix)));
    };
    if port.vm_uuid.is_none() {
        return Ok(port);
    }
    let why = format!("port {} is managed by nova, which creates port and definition itself", port.name);
    // A hard reboot alone keeps the binding, and with it the type (seen with neutron 26 and nova 31).
    let fix = format!(
        "let neutron's agent report {to}, then migrate the VM, or bind its port again ('openstack port set --host') and \
         'openstack server reboot --hard'"
    );
    Err((why, Some(fix)))
}

/// A card that is in no definition: the VM has none, or the card was hot-plugged.
fn undefined(
    domain: &Domain,
    live: Option<&Endpoint>,
    to: PortType,
) -> Result<Option<Turning>, (String, Option<String>)> {
    if live.and_then(Side::of).is_some_and(|side| side.kind == to) {
        return Ok(None);
    }
    let name = fixes::domain(domain);
    let why = "this card is in no definition (the VM is transient, or the card was hot-plugged): nothing to convert";
    let fix =
        format!("virsh detach-interface {name} vhostuser --live, or create the VM again where it came from");
    Err((why.to_string(), Some(fix)))
}

/// A port has one type: anyone else who uses it would be cut off.
fn shared(ground: &Ground<'_>, domain: &Domain, port: &VhostPort) -> Result<(), (String, Option<String>)> {
    let users = ground.users.get(&port.name).into_iter().flatten();
    let others: Vec<&str> = users.map(String::as_str).filter(|name| *name != domain.name).collect();
    let cards = convert::interfaces(domain).filter_map(|(_, card)| ground.index.port(card.path.as_deref()?));
    let twice = cards.filter(|other| other.name == port.name).count() > 1;
    if twice {
        return Err((format!("two cards of this VM use port {}", port.name), None));
    }
    if let Some(other) = others.first() {
        let why = format!("port {} is in the definition of VM {} as well", port.name, others.join(", "));
        return Err((why, Some(format!("virsh edit {} and give it a port of its own", shell::quote(other)))));
    }
    Ok(())
}

fn steps(
    ground: &Ground<'_>,
    domain: &Domain,
    verdict: Verdict,
    card: &Card,
    change: Option<&(PortState, PortState)>,
) -> Vec<String> {
    let name = fixes::domain(domain);
    let command = format!("vhost-accord convert --to {} {name}", ground.terms.wanted);
    let mut steps = match verdict {
        Verdict::Pause => vec![format!(
            "{command} --pause: pauses the VM while its {} MiB are saved to {SAVED} and restored; no reboot. Or shut it off first",
            domain.memory.size >> 20
        )],
        Verdict::DefinitionOnly => vec![format!("{command}: no pause; the VM runs with this type already")],
        _ => vec![command],
    };
    if card.from != card.to {
        let mode = SocketMode::of(card.to.kind).as_str();
        steps.push(format!("definition: mode='{mode}', path='{}'", card.to.path.display()));
    }
    if let Some((_, wanted)) = change {
        steps.push(format!("port {}: {}", wanted.name, describe(wanted)));
    }
    steps
}
