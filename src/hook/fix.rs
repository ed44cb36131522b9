// SPDX-License-Identifier: Apache-2.0
//! What the hook puts right by itself, all of it by the changes' own primitives: the agreed directory, a socket that
//! nobody has any more, the grant on a socket that OVS made. Only what `apply` agreed to is touched.

use anyhow::Result;

use super::subject::Subject;
use crate::access::{Wish, may};
use crate::accord::Agreed;
use crate::base::journald::{Priority, log};
use crate::base::paths::same_path;
use crate::base::root::{Kind, Root};
use crate::config::PortType;
use crate::dataplane::ovs::sockets::is_switch_place;
use crate::dataplane::ovs::vswitchd::Vswitchd;
use crate::facts::domains::SocketMode;
use crate::facts::domains::is_network_card;
use crate::facts::sockets::{self, Liveness};
use crate::items::{Change, Held, Kind as _};
use crate::node::endpoints::start::{Facts, Socket};
use crate::sockets::grant::{self, Grant};
use crate::write;

/// True when something was changed. What cannot be fixed is left to the rules: they say why it matters.
pub fn fix(root: &Root, subject: &Subject, facts: &Facts) -> bool {
    let Some(agreed) = &subject.agreed else { return false };
    let mut changed = note(subject, "the socket directory", directory(root, subject, agreed, facts));
    for socket in &facts.sockets {
        let path = socket.path.display().to_string();
        changed |= note(subject, &path, stale(root, agreed, facts, socket));
        changed |= note(subject, &path, granted(root, subject, agreed, facts, socket));
    }
    changed
}

/// What was done, or what went wrong.
fn note(subject: &Subject, path: &str, result: Result<Option<String>>) -> bool {
    let name = subject.domain.name.as_str();
    let fields = [("VA_DOMAIN", name), ("VA_OPERATION", subject.operation.name()), ("VA_SOCKET", path)];
    match result {
        Ok(None) => false,
        Ok(Some(what)) => {
            log(Priority::Notice, &format!("{name}: {what}"), &fields);
            true
        }
        Err(error) => {
            log(Priority::Warning, &format!("{name}: {path} was not fixed: {error:#}"), &fields);
            false
        }
    }
}

/// Makes the agreed directory, or gives it its owner again, where QEMU is to make a socket in it.
fn directory(root: &Root, subject: &Subject, agreed: &Agreed, facts: &Facts) -> Result<Option<String>> {
    let in_it =
        |socket: &Socket| socket.endpoint.mode == SocketMode::Server && subject.is_agreed_path(&socket.path);
    if !facts.sockets.iter().any(in_it) {
        return Ok(None);
    }
    let mut changed = false;
    for owner in &agreed.directories {
        let found = owner.observe(root, &subject.names)?;
        if !owner.holds(&found) {
            Change::Owner(Held { item: owner.clone(), before: found }).make(root)?;
            changed = true;
        }
    }
    Ok(changed.then(|| format!("fixed owner and mode of {}", agreed.socket_directory.display())))
}

/// Would this be fixed before the rules look, when the VM starts?
pub fn will_fix(case: &super::Case<'_>, problem: &super::Problem) -> bool {
    let Some(agreed) = &case.subject.agreed else { return false };
    let is_it = |socket: &&Socket| socket.path.display().to_string() == problem.subject;
    let Some(socket) = case.facts.sockets.iter().find(is_it) else { return false };
    match problem.id {
        "client-socket-in-the-way" => may_remove(agreed, case.facts, socket),
        "server-socket-refuses-qemu" => grant_for(case.subject, agreed, case.facts, socket).is_some(),
        _ => false,
    }
}

/// A stale socket that is ours to remove: of QEMU's in the agreed directory, of OVS's where its port is known and OVS did
/// not come to bind it.
fn may_remove(agreed: &Agreed, facts: &Facts, socket: &Socket) -> bool {
    match socket.endpoint.mode {
        SocketMode::Server => socket.path.parent() == Some(agreed.socket_directory.as_path()),
        SocketMode::Client => {
            let gives = agreed.qemu.as_ref().is_some_and(|qemu| qemu.grant_gid.is_some());
            gives && is_ports_socket(facts, socket)
        }
    }
}

/// Removes a socket that is proven stale.
fn stale(root: &Root, agreed: &Agreed, facts: &Facts, socket: &Socket) -> Result<Option<String>> {
    let (Liveness::Stale, Some(id)) = (&socket.liveness, socket.id) else { return Ok(None) };
    if !may_remove(agreed, facts, socket) || sockets::liveness(root, &socket.path) != Liveness::Stale {
        return Ok(None);
    }
    let (parent, name) = root.place(&socket.path)?;
    let removed = write::remove_file(&parent, name, id)?;
    Ok(removed.then(|| format!("removed the stale socket {}", socket.path.display())))
}

/// OVSDB has a `dpdkvhostuser` port whose socket this is.
fn is_ports_socket(facts: &Facts, socket: &Socket) -> bool {
    let Some(join) = facts.switch.known().filter(|_| is_network_card(&socket.endpoint)) else { return false };
    is_switch_place(&socket.path)
        && join.ports.iter().any(|port| {
            port.kind == PortType::Dpdkvhostuser && same_path(&join.expected_socket(port), &socket.path)
        })
}

/// Lets QEMU in to the one socket that is its own.
fn granted(
    root: &Root,
    subject: &Subject,
    agreed: &Agreed,
    facts: &Facts,
    socket: &Socket,
) -> Result<Option<String>> {
    let Some(grant) = grant_for(subject, agreed, facts, socket) else { return Ok(None) };
    let made = grant::make(root, &grant)?;
    Ok(made.then(|| format!("gave {} to group {}", socket.path.display(), grant.gid)))
}

/// Nothing is given that OVSDB does not name: a path in a domain is no reason to hand out a control socket.
fn grant_for(subject: &Subject, agreed: &Agreed, facts: &Facts, socket: &Socket) -> Option<Grant> {
    let (qemu, usual, node) = (subject.qemu.as_ref()?, agreed.qemu.as_ref()?, socket.node.as_ref()?);
    let gid = usual.grant_gid.filter(|_| socket.endpoint.mode == SocketMode::Client)?;
    let made_by_switch = match &facts.vswitchd {
        Vswitchd::Running(Some(process)) => node.uid == process.status.uid.fs,
        _ => node.uid == 0 || agreed.dataplane.as_ref().is_some_and(|dataplane| dataplane.uid == node.uid),
    };
    let wanted = made_by_switch && node.kind == Kind::Socket && socket.liveness == Liveness::Listening;
    if !wanted
        || !is_ports_socket(facts, socket)
        || may(qemu, std::slice::from_ref(node), Wish::Connect).is_allowed()
    {
        return None;
    }
    // A domain with a label of its own is let in by its own group.
    let gid = if qemu.in_group(gid) { gid } else { qemu.gid };
    Some(Grant {
        port: socket.endpoint.target.clone().unwrap_or_default(),
        path: socket.path.clone(),
        uid: node.uid,
        gid_before: node.gid,
        mode_before: node.mode,
        gid,
        mode: node.mode | grant::GROUP_READ_WRITE,
    })
}
