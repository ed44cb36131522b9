// SPDX-License-Identifier: Apache-2.0
//! As a VM's start would meet them.

use super::{Evidence, StartCase};
use crate::access::{Wish, may};
use crate::base::root::Kind;
use crate::base::shell;
use crate::dataplane::ovs::{self, vswitchd::VSWITCHD};
use crate::facts::domains::SocketMode;
use crate::facts::owners::Owner;
use crate::facts::sockets::Liveness;
use crate::fixes;
use crate::node::endpoints::Socket;
use crate::rules::ports::systemctl;
use crate::rules::start::{Operation, others, predict};

/// Someone else must have made it by now: the switch at once; other back ends at `start`, since another hook may bring them
/// up.
fn is_due(case: &StartCase<'_>, socket: &Socket) -> bool {
    socket.endpoint.mode == SocketMode::Client
        && (case.meets_switch(socket) || case.start.operation == Operation::Start)
}

/// Nothing else is judged of a socket with this side of QEMU's, in this state.
fn in_state(socket: &Socket, mode: SocketMode, liveness: Liveness) -> Option<()> {
    (socket.endpoint.mode == mode && socket.liveness == liveness).then_some(())
}

pub fn missing(case: &StartCase<'_>, socket: &Socket) -> Option<Evidence> {
    if socket.liveness != Liveness::Missing || !is_due(case, socket) {
        return None;
    }
    let fix = match case.meets_switch(socket) {
        // Without a word from OVSDB nobody knows if a restart would make it.
        true if case.facts.switch.known().is_none() => ovs::fixes::SHOW.to_string(),
        true => {
            let remake = |port| ovs::fixes::remake(None, port);
            case.port_at(socket).map_or_else(|| systemctl("restart", case.start), remake)
        }
        false => others::serve(case, socket),
    };
    Some(absent(case, socket, "missing", fix))
}

pub fn stale(case: &StartCase<'_>, socket: &Socket) -> Option<Evidence> {
    if socket.liveness != Liveness::Stale || !is_due(case, socket) {
        return None;
    }
    let again = match case.meets_switch(socket) {
        true => systemctl("restart", case.start),
        false => others::serve(case, socket),
    };
    let fix = format!("{} && {again}", fixes::remove(&socket.path));
    Some(absent(case, socket, "no process listens on it", fix))
}

/// Nobody serves it yet. A QEMU that tries again waits for a back end that comes later; the switch is known to come or not.
fn absent(case: &StartCase<'_>, socket: &Socket, seen: &str, fix: String) -> Evidence {
    let foreign = !case.meets_switch(socket);
    let tries = socket.endpoint.reconnect.is_some_and(|seconds| seconds > 0);
    Evidence::at(&socket.path, seen, fix).passing().foreign_if(foreign).sure_if(!(foreign && tries))
}

pub fn not_a_socket(_: &StartCase<'_>, socket: &Socket) -> Option<Evidence> {
    let kind = match socket.node.as_ref().map(|node| node.kind) {
        None => "something else",
        Some(Kind::Directory) => "a directory",
        Some(Kind::File) => "a file",
        Some(_) => "neither file nor socket",
    };
    let is_none = socket.liveness == Liveness::NotASocket;
    is_none.then(|| Evidence::at(&socket.path, kind, fixes::move_away(&socket.path)))
}

pub fn refuses_qemu(case: &StartCase<'_>, socket: &Socket) -> Option<Evidence> {
    in_state(socket, SocketMode::Client, Liveness::Listening)?;
    let denial = case.qemu_connects(socket)?.err()?;
    let qemu = case.start.qemu.as_ref()?;
    let seen = case.no_access("QEMU", qemu, &denial);
    // Of a back end that is not the switch `apply` knows nothing, unless it has a section: who serves it has to let QEMU in.
    let ours = case.meets_switch(socket);
    let (seen, fix) = match ours {
        true => (seen, fixes::APPLY.to_string()),
        false => (others::seen(socket, seen), others::let_in(case.start, socket, &denial, qemu)),
    };
    let evidence = Evidence::at(&socket.path, seen, fix).passing().foreign_if(!ours);
    Some(evidence.sure_if(case.start.groups_are_known))
}

pub fn in_use(case: &StartCase<'_>, socket: &Socket) -> Option<Evidence> {
    in_state(socket, SocketMode::Server, Liveness::Listening)?;
    let other = socket.other.as_ref().map_or("another process".to_string(), Owner::text);
    // OVS is connected to that one, and would stay so.
    let remove = fixes::remove(&socket.path);
    let again = case.port_at(socket).map(|port| format!(" && {}", ovs::fixes::remake(None, port)));
    let fix = match case.meets_switch(socket) {
        true => format!("{remove}{}", again.unwrap_or_default()),
        false => format!("lsof -- {}", shell::path(&socket.path)),
    };
    Some(Evidence::at(&socket.path, format!("{other} listens on it"), fix))
}

pub fn in_the_way(case: &StartCase<'_>, socket: &Socket) -> Option<Evidence> {
    in_state(socket, SocketMode::Server, Liveness::Stale)?;
    let qemu = case.start.qemu.as_ref()?;
    let denial = may(qemu, &case.chain(socket)?, Wish::Remove).err()?;
    let seen = format!("QEMU ({}) may not remove it: {}", case.who(qemu), denial.text(&case.start.names));
    let fix = fixes::remove(&socket.path);
    Some(Evidence::at(&socket.path, seen, fix).sure_if(case.start.groups_are_known))
}

/// The socket is not there yet: what QEMU is about to make decides.
pub fn refuses_dataplane(case: &StartCase<'_>, socket: &Socket) -> Option<Evidence> {
    if socket.endpoint.mode != SocketMode::Server || !case.meets_switch(socket) {
        return None;
    }
    let (qemu, dataplane) = (case.start.qemu.as_ref()?, case.dataplane()?);
    let chain = case.directory(socket)?;
    let default_acl = case.facts.directories.get(socket.directory)?.default_acl.as_ref();
    let mut made = predict::socket(chain.last()?, default_acl, qemu);
    made.path.clone_from(&socket.path);
    let denial = may(&dataplane, &[chain, &[made]].concat(), Wish::Connect);
    let denial = denial.err().filter(|denial| denial.path == socket.path)?;
    let path = socket.path.display().to_string();
    let why = denial.text(&case.start.names).replacen(" is ", " will be ", 1).replacen(&path, "", 1);
    let (who, why) = (case.who(&dataplane), why.trim_start());
    let seen = format!("{VSWITCHD} ({who}) will have no access: the socket {why}");
    Some(Evidence::at(&socket.path, seen, fixes::APPLY))
}
