// SPDX-License-Identifier: Apache-2.0
//! What a running VM has lost, and who sits where it should not.

use super::{Other, Trouble};
use crate::access::{Verdict, Wish, may};
use crate::base::paths::same_path;
use crate::base::shell;
use crate::config::{Family, PortType};
use crate::dataplane::ovs;
use crate::dataplane::ovs::ovsdb::VhostPort;
use crate::dataplane::ovs::vswitchd::Vswitchd;
use crate::facts::Known;
use crate::facts::domains::SocketMode;
use crate::facts::paths::PathFact;
use crate::facts::sockets::Liveness;
use crate::fixes;
use crate::hook::{self, Problem, Subject};
use crate::node::endpoints::start::Socket;
use crate::node::endpoints::{End, Endpoints, FreePort, Link, Machine, Next, Owner, Waiting, sides};

/// QEMU and DPDK try each second: who is younger than this, in nanoseconds, may still be at it.
const YOUNG: u64 = 5_000_000_000;

/// Of what the hook would say before a start: what is a trouble for a VM that runs already.
pub fn still_counts(problem: &Problem) -> bool {
    let of_sockets = ["server-socket-missing", "server-socket-stale", "not-a-socket"];
    problem.family == Family::Ports || problem.id == "memory-not-shared" || of_sockets.contains(&problem.id)
}

fn dataplane(endpoints: &Endpoints) -> Option<u32> {
    endpoints.vswitchd.process().map(|process| process.pid)
}

/// None where nobody is seen to hold it: it may be in another pid namespace.
fn pid(end: &End) -> Option<u32> {
    end.owner.as_ref().map(|owner| owner.pid)
}

fn name(end: &End) -> String {
    end.owner.as_ref().map_or("an unknown process".to_string(), Owner::text)
}

fn is_other(end: &End, expected: Option<u32>) -> bool {
    expected.is_some() && pid(end).is_some() && pid(end) != expected
}

fn is_young(endpoints: &Endpoints, machine: &Machine) -> bool {
    let started = [machine.process.as_ref(), endpoints.vswitchd.process()];
    let young = |since: u64| endpoints.now.saturating_sub(since) < YOUNG;
    started.into_iter().flatten().any(|process| young(process.started.since_boot))
}

/// Is QEMU connected with the dataplane through this socket?
pub fn is_joined(endpoints: &Endpoints, machine: &Machine, socket: &Socket, link: &Link) -> bool {
    joins(machine, socket, link, dataplane(endpoints))
}

/// Is QEMU connected, and with this process where that is known?
fn joins(machine: &Machine, socket: &Socket, link: &Link, other: Option<u32>) -> bool {
    let qemu = machine.process.as_ref().map(|process| process.pid);
    link.connections.iter().any(|connection| {
        let (switch, guest) = sides(socket.endpoint.mode, connection);
        !is_other(switch, other) && !is_other(guest, qemu)
    })
}

/// Is it about the socket of another back end that QEMU is connected with? Some take one connection and no more: virtiofsd
/// listens no longer then, and some remove their socket.
pub fn is_served(machine: &Machine, problem: &Problem) -> bool {
    let is_its = |socket: &Socket| socket.path.display().to_string() == problem.subject;
    let mut sockets = machine.start.sockets.iter().zip(&machine.links);
    problem.foreign && sockets.any(|(socket, link)| is_its(socket) && joins(machine, socket, link, None))
}

/// Where nothing is wrong.
pub fn word(other: &Other<'_>, socket: &Socket, link: &Link) -> &'static str {
    let Other { endpoints, machine, meets_switch } = *other;
    let expected = dataplane(endpoints).filter(|_| meets_switch);
    if endpoints.peers.known().is_none() || machine.process.is_none() {
        "unknown"
    } else if joins(machine, socket, link, expected) {
        "ok"
    } else if is_young(endpoints, machine) {
        "starting"
    } else {
        "unknown"
    }
}

/// A port without a VM with which nothing is wrong: an application that is no VM has it, or nobody can tell.
pub fn free_word(endpoints: &Endpoints, port: &FreePort) -> String {
    let used = endpoints.peers.known().is_some() && !port.link.connections.is_empty();
    if used { "ok".to_string() } else { "unknown".to_string() }
}

/// What the kernel says of this socket.
pub fn trouble(endpoints: &Endpoints, machine: &Machine, socket: &Socket, link: &Link) -> Option<Trouble> {
    endpoints.peers.known()?;
    // Who is connected is found by the file's inode.
    if socket.id.is_none() && matches!(socket.liveness, Liveness::Unknown(_)) {
        return None;
    }
    match (machine.domain.running, socket.endpoint.mode) {
        (true, SocketMode::Server) => serving(endpoints, machine, socket, link),
        (true, SocketMode::Client) => connecting(endpoints, machine, socket, link),
        (false, SocketMode::Client) => foreign(endpoints, socket, link),
        (false, SocketMode::Server) => None,
    }
}

fn serving(endpoints: &Endpoints, machine: &Machine, socket: &Socket, link: &Link) -> Option<Trouble> {
    let qemu = machine.process.as_ref()?.pid;
    let again = fixes::start_again(&machine.domain);
    let Some(listener) = &link.listener else {
        let gone = matches!(socket.liveness, Liveness::Missing | Liveness::Stale);
        let seen = if socket.liveness == Liveness::Missing { "missing" } else { "no process listens on it" };
        let old = !is_young(endpoints, machine);
        return (gone && old).then(|| Trouble::of("client-socket-gone", socket, seen, again));
    };
    if is_other(listener, Some(qemu)) {
        let seen = format!("{} listens on it", name(listener));
        let fix = format!("{} && {again}", fixes::remove(&socket.path));
        return Some(Trouble::of("listener-is-foreign", socket, seen, fix));
    }
    apart(endpoints, machine, socket, link, &again)
}

fn connecting(endpoints: &Endpoints, machine: &Machine, socket: &Socket, link: &Link) -> Option<Trouble> {
    if let Some(trouble) = foreign(endpoints, socket, link) {
        return Some(trouble);
    }
    let (qemu, switch) = (machine.process.as_ref()?, endpoints.vswitchd.process()?);
    let again = fixes::start_again(&machine.domain);
    let joined = is_joined(endpoints, machine, socket, link);
    let tries = socket.endpoint.reconnect.is_some_and(|seconds| seconds > 0);
    if !joined && !tries && qemu.started.since_boot < switch.started.since_boot {
        let seen = format!("ovs-vswitchd (pid {}) was started after QEMU (pid {})", switch.pid, qemu.pid);
        return Some(Trouble::of("nic-dead-after-restart", socket, seen, again));
    }
    apart(endpoints, machine, socket, link, &again)
}

/// Whoever tries again each second is kept out by owner and mode: nobody has to start anew for it.
pub fn refused(
    subject: &Subject,
    endpoints: &Endpoints,
    machine: &Machine,
    socket: &Socket,
    link: &Link,
) -> Option<Trouble> {
    endpoints.peers.known()?;
    let (qemu, switch) = (machine.process.as_ref()?, endpoints.vswitchd.process()?);
    if socket.liveness != Liveness::Listening || is_joined(endpoints, machine, socket, link) {
        return None;
    }
    let tries = socket.endpoint.reconnect.is_some_and(|seconds| seconds > 0);
    let (id, process, kind, name) = match socket.endpoint.mode {
        SocketMode::Client if tries => ("server-socket-refuses-qemu", qemu, PortType::Dpdkvhostuser, "QEMU"),
        SocketMode::Server => {
            ("client-socket-refuses-dataplane", switch, PortType::Dpdkvhostuserclient, "ovs-vswitchd")
        }
        SocketMode::Client => return None,
    };
    let Known::Known(PathFact::Present { chain, .. }) =
        &machine.start.directories.get(socket.directory)?.fact
    else {
        return None;
    };
    let identity = process.identity();
    let chain = [chain.as_slice(), std::slice::from_ref(socket.node.as_ref()?)].concat();
    let Verdict::Denied(denial) = may(&identity, &chain, Wish::Connect) else { return None };
    let fix = match subject.let_in(kind) {
        Some(fix) => fix,
        None if denial.path == socket.path => fixes::give_socket(&socket.path, identity.gid),
        None => format!("setfacl -m u:{}:x {}", identity.uid, shell::path(&denial.path)),
    };
    let seen = format!("{name} (pid {}) has no access: {}", process.pid, denial.text(&subject.names));
    Some(Trouble::of(id, socket, seen, fix))
}

/// Everything is in its place, and nobody is connected.
fn apart(
    endpoints: &Endpoints,
    machine: &Machine,
    socket: &Socket,
    link: &Link,
    again: &str,
) -> Option<Trouble> {
    let running = matches!(endpoints.vswitchd, Vswitchd::Running(Some(_)));
    if !running || is_young(endpoints, machine) {
        return None;
    }
    if is_joined(endpoints, machine, socket, link) {
        return unmade(endpoints, socket);
    }
    let others: Vec<String> = link.connections.iter().map(|connection| name(&connection.1)).collect();
    let seen = match (others.first(), socket.endpoint.mode) {
        (Some(other), _) => format!("{other} is connected instead"),
        (None, SocketMode::Server) => "ovs-vswitchd is not connected".to_string(),
        (None, SocketMode::Client) => "QEMU is not connected".to_string(),
    };
    let port = machine.start.switch.known().and_then(|join| {
        join.ports.iter().find(|port| port.server_path.as_deref() == Some(socket.path.as_path()))
    });
    let fix = match (port, socket.endpoint.mode) {
        (Some(port), SocketMode::Server) if others.is_empty() => ovs::fixes::remake(port),
        _ => again.to_string(),
    };
    Some(Trouble::of("not-connected", socket, seen, fix))
}

/// The port of a connected socket, which the datapath does not have.
pub fn unmade(endpoints: &Endpoints, socket: &Socket) -> Option<Trouble> {
    let switch = endpoints.switch.known()?;
    let is_at = |port: &&VhostPort| same_path(&switch.expected_socket(port), &socket.path);
    let port = endpoints.unmade.iter().find(is_at)?;
    let link = port.link_state.as_deref().unwrap_or("unknown");
    let seen = format!(
        "OVSDB has port {} with ofport and link {link}, but 'ovs-appctl dpif/show' does not list it",
        port.name
    );
    let log = "grep ERR /var/log/openvswitch/ovs-vswitchd.log";
    let fix = format!("fix the error that '{log}' shows for the port, then {}", ovs::fixes::remake(port));
    Some(Trouble::of("port-not-in-datapath", socket, seen, fix))
}

/// A card that was plugged in and waits for its port.
pub fn waits(endpoints: &Endpoints, waiting: &Waiting) -> Trouble {
    let name = waiting.path.file_name().and_then(|name| name.to_str()).unwrap_or("PORT");
    // One that no VM has was meant for it, most likely, with another path.
    let fix = match endpoints.free.iter().any(|free| free.port.name == name) {
        true => ovs::fixes::convert_port(name, SocketMode::Server, &waiting.path),
        false => ovs::fixes::add_port(name, SocketMode::Server, &waiting.path),
    };
    Trouble {
        id: "hot-plug-waits",
        subject: waiting.path.display().to_string(),
        seen: format!(
            "QEMU of VM {} (pid {}) listens on it, but no port and no definition has it, and nothing is connected",
            waiting.domain, waiting.pid
        ),
        fix,
    }
}

/// A definition that the VM does not run with, and whose cards do not meet their ports.
pub fn next(subject: &mut Subject, machine: &Machine, next: &Next) -> Option<Trouble> {
    let qemu = subject.qemu.as_ref().map(|qemu| (qemu.uid, qemu.gid));
    subject.turn_to(next.domain.clone(), qemu);
    let case = hook::Case { subject, facts: &next.start };
    let paths: Vec<String> =
        next.start.sockets.iter().map(|socket| socket.path.display().to_string()).collect();
    let of_card = |problem: &Problem| problem.family == Family::Ports && paths.contains(&problem.subject);
    let problem = hook::problems(&case).into_iter().find(|problem| problem.sure && of_card(problem))?;
    let convert =
        |kind: PortType| format!("vhost-accord convert --to {kind} {}", fixes::domain(&machine.domain));
    let fix = match problem.id {
        "both-ends-client" => convert(PortType::Dpdkvhostuserclient),
        "both-ends-server" => convert(PortType::Dpdkvhostuser),
        _ => problem.fix,
    };
    let seen = format!("{}: {}: {}", problem.id, problem.subject, problem.seen);
    Some(Trouble { id: "next-start-fails", subject: format!("VM {}", machine.domain.name), seen, fix })
}

/// Another process than ovs-vswitchd serves what is to be its socket.
fn foreign(endpoints: &Endpoints, socket: &Socket, link: &Link) -> Option<Trouble> {
    let listener = link.listener.as_ref().filter(|end| is_other(end, dataplane(endpoints)))?;
    let seen = format!("{} listens on it", name(listener));
    let port = socket.path.file_name().and_then(|name| name.to_str()).map(shell::quote)?;
    let again = ovs::fixes::remake_interface(&port, PortType::Dpdkvhostuser);
    let fix = format!("{} && {again}", fixes::remove(&socket.path));
    Some(Trouble::of("listener-is-foreign", socket, seen, fix))
}

/// The same of a port that no VM has. Where QEMU is to listen, nobody's QEMU is expected.
pub fn foreign_at_port(endpoints: &Endpoints, port: &FreePort) -> Option<Trouble> {
    match port.port.kind {
        PortType::Dpdkvhostuser => foreign(endpoints, &port.socket, &port.link),
        PortType::Dpdkvhostuserclient => None,
    }
}
