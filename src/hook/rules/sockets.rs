// SPDX-License-Identifier: Apache-2.0
//! The sockets themselves, by the kernel's own rule.

use super::others;
use super::paths::{dataplane, who};
use super::ports::{meets_switch, switch_unit};
use super::{Case, Evidence, Rule};
use crate::access::{Verdict, Wish, may};
use crate::base::paths::same_path;
use crate::base::shell;
use crate::config::Family;
use crate::dataplane::ovs;
use crate::dataplane::ovs::ovsdb::VhostPort;
use crate::facts::domains::SocketMode;
use crate::facts::owners::Owner;
use crate::facts::sockets::Liveness;
use crate::fixes;
use crate::hook::call::Operation;
use crate::hook::predict;
use crate::node::endpoints::start::Socket;

pub const RULES: &[Rule] = &[
    Rule {
        id: "server-socket-missing",
        family: Family::Sockets,
        cause: "no process has created this socket: 'Failed to connect to ...: No such file or directory'",
        check: missing,
    },
    Rule {
        id: "server-socket-stale",
        family: Family::Sockets,
        cause: "its process is gone: QEMU fails with 'Connection refused', and DPDK cannot create the socket again",
        check: stale,
    },
    Rule {
        id: "not-a-socket",
        family: Family::Sockets,
        cause: "another file is at the path of the socket",
        check: not_a_socket,
    },
    Rule {
        id: "server-socket-refuses-qemu",
        family: Family::Sockets,
        cause: "QEMU needs write permission to connect to this socket: 'Failed to connect to ...: Permission denied'",
        check: refuses_qemu,
    },
    Rule {
        id: "client-socket-in-use",
        family: Family::Sockets,
        cause: "QEMU removes an existing socket before it creates its own, also that of another process",
        check: in_use,
    },
    Rule {
        id: "client-socket-in-the-way",
        family: Family::Sockets,
        cause: "a stale socket is in the way and QEMU may not remove it: 'Failed to unlink socket ...'",
        check: in_the_way,
    },
    Rule {
        id: "client-socket-refuses-dataplane",
        family: Family::Sockets,
        cause: "OVS needs write permission to connect to this socket, and retries silently: the VM would hang forever",
        check: refuses_dataplane,
    },
];

fn of_mode<'a>(case: &Case<'a>, mode: SocketMode) -> impl Iterator<Item = &'a Socket> + use<'a> {
    case.facts.sockets.iter().filter(move |socket| socket.endpoint.mode == mode)
}

/// Sockets that someone else must have made by now: of the switch at once; of other back ends at `start`, since another
/// hook may bring them up.
fn due<'a>(case: &Case<'a>) -> impl Iterator<Item = &'a Socket> {
    let sockets = of_mode(case, SocketMode::Client);
    let case = *case;
    sockets.filter(move |socket| meets_switch(&case, socket) || case.subject.operation == Operation::Start)
}

fn missing(case: &Case<'_>) -> Vec<Evidence> {
    let evidence = |socket: &Socket| {
        let fix = match meets_switch(case, socket) {
            // Without a word from OVSDB nobody knows if a restart would make it.
            true if case.facts.switch.known().is_none() => "ovs-vsctl --timeout=5 show".to_string(),
            true => port_at(case, socket).map_or_else(|| restart(case), ovs::fixes::remake),
            false => others::serve(socket),
        };
        absent(case, socket, "missing", fix)
    };
    due(case).filter(|socket| socket.liveness == Liveness::Missing).map(evidence).collect()
}

fn stale(case: &Case<'_>) -> Vec<Evidence> {
    let evidence = |socket: &Socket| {
        let again = match meets_switch(case, socket) {
            true => restart(case),
            false => others::serve(socket),
        };
        let fix = format!("{} && {again}", fixes::remove(&socket.path));
        absent(case, socket, "no process listens on it", fix)
    };
    due(case).filter(|socket| socket.liveness == Liveness::Stale).map(evidence).collect()
}

/// Nobody serves it yet. A QEMU that tries again waits for a back end that comes later; the switch is known to come or not.
fn absent(case: &Case<'_>, socket: &Socket, seen: &str, fix: String) -> Evidence {
    let foreign = !meets_switch(case, socket);
    let tries = socket.endpoint.reconnect.is_some_and(|seconds| seconds > 0);
    Evidence::of(socket, seen, fix).passing().foreign_if(foreign).sure_if(!(foreign && tries))
}

fn restart(case: &Case<'_>) -> String {
    format!("systemctl restart {}", shell::quote(&switch_unit(case)))
}

/// The port that makes this socket.
pub fn port_at<'a>(case: &Case<'a>, socket: &Socket) -> Option<&'a VhostPort> {
    let join = case.facts.switch.known()?;
    join.ports.iter().find(|port| same_path(&join.expected_socket(port), &socket.path))
}

fn move_away(path: &std::path::Path) -> String {
    let away = format!("{}.moved-away", path.display());
    format!("mv -T {} {}", shell::path(path), shell::quote(&away))
}

fn not_a_socket(case: &Case<'_>) -> Vec<Evidence> {
    let evidence = |socket: &Socket| {
        let kind = socket.node.as_ref().map_or("something else", |node| match node.kind {
            crate::base::root::Kind::Directory => "a directory",
            crate::base::root::Kind::File => "a file",
            _ => "neither file nor socket",
        });
        Evidence::of(socket, kind, move_away(&socket.path))
    };
    case.facts.sockets.iter().filter(|socket| socket.liveness == Liveness::NotASocket).map(evidence).collect()
}

fn refuses_qemu(case: &Case<'_>) -> Vec<Evidence> {
    let listening = |socket: &&Socket| socket.liveness == Liveness::Listening;
    let evidence = |socket: &Socket| {
        let Verdict::Denied(denial) = case.qemu_connects(socket)? else { return None };
        let qemu = case.subject.qemu.as_ref()?;
        let seen = format!("QEMU ({}) has no access: {}", who(case, qemu), denial.text(&case.subject.names));
        // Of a back end that is not the switch `apply` knows nothing: who serves it has to let QEMU in.
        let ours = meets_switch(case, socket);
        let (seen, fix) = match ours {
            true => (seen, case.apply().to_string()),
            false => (others::seen(socket, seen), others::let_in(socket, &denial, qemu)),
        };
        let evidence = Evidence::of(socket, seen, fix).passing().foreign_if(!ours);
        Some(evidence.sure_if(case.subject.groups_are_known))
    };
    of_mode(case, SocketMode::Client).filter(listening).filter_map(evidence).collect()
}

fn in_use(case: &Case<'_>) -> Vec<Evidence> {
    let evidence = |socket: &Socket| {
        let other = socket.other.as_ref().map_or("another process".to_string(), Owner::text);
        let seen = format!("{other} listens on it");
        // OVS is connected to that one, and would stay so.
        let remove = fixes::remove(&socket.path);
        let again = port_at(case, socket).map(|port| format!(" && {}", ovs::fixes::remake(port)));
        let fix = match meets_switch(case, socket) {
            true => format!("{remove}{}", again.unwrap_or_default()),
            false => format!("lsof -- {}", shell::path(&socket.path)),
        };
        Evidence::of(socket, seen, fix)
    };
    of_mode(case, SocketMode::Server)
        .filter(|socket| socket.liveness == Liveness::Listening)
        .map(evidence)
        .collect()
}

fn in_the_way(case: &Case<'_>) -> Vec<Evidence> {
    let Some(qemu) = &case.subject.qemu else { return Vec::new() };
    let evidence = |socket: &Socket| {
        let chain = [case.directory(socket)?, std::slice::from_ref(socket.node.as_ref()?)].concat();
        let Verdict::Denied(denial) = may(qemu, &chain, Wish::Remove) else { return None };
        let seen =
            format!("QEMU ({}) may not remove it: {}", who(case, qemu), denial.text(&case.subject.names));
        let fix = fixes::remove(&socket.path);
        Some(Evidence::of(socket, seen, fix).sure_if(case.subject.groups_are_known))
    };
    of_mode(case, SocketMode::Server)
        .filter(|socket| socket.liveness == Liveness::Stale)
        .filter_map(evidence)
        .collect()
}

/// The socket is not there yet: what QEMU is about to make decides.
fn refuses_dataplane(case: &Case<'_>) -> Vec<Evidence> {
    let (Some(qemu), Some(dataplane)) = (&case.subject.qemu, dataplane(case)) else { return Vec::new() };
    let evidence = |socket: &Socket| {
        let chain = case.directory(socket)?;
        let default_acl = case.facts.directories.get(socket.directory)?.default_acl.as_ref();
        let mut made = predict::socket(chain.last()?, default_acl, qemu);
        made.path.clone_from(&socket.path);
        let denial = may(&dataplane, &[chain, &[made]].concat(), Wish::Connect);
        let denial = denial.denial().filter(|denial| denial.path == socket.path)?.clone();
        let seen = format!(
            "ovs-vswitchd ({}) will have no access: the socket {}",
            who(case, &dataplane),
            denial
                .text(&case.subject.names)
                .replacen(" is ", " will be ", 1)
                .replacen(&socket.path.display().to_string(), "", 1)
                .trim_start()
        );
        Some(Evidence::of(socket, seen, case.apply()))
    };
    of_mode(case, SocketMode::Server)
        .filter(|socket| meets_switch(case, socket))
        .filter_map(evidence)
        .collect()
}
