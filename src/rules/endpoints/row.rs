// SPDX-License-Identifier: Apache-2.0
//! A line of the table: all that is known of one endpoint.

use std::path::PathBuf;

use serde::Serialize;

use super::Case;
use crate::access::Identity;
use crate::base::paths::same_path;
use crate::dataplane::ovs::ovsdb::VhostPort;
use crate::facts::domains::{Endpoint, EndpointKind, SocketMode};
use crate::facts::processes::Process;
use crate::facts::sockets::Liveness;
use crate::node::endpoints::start::Socket;
use crate::node::endpoints::{Endpoints, FreePort, Link, Machine};

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The VM; none for a port without one.
    pub vm: Option<String>,
    /// `running` or `off`.
    pub state: Option<&'static str>,
    /// The device.
    pub device: Option<EndpointKind>,
    /// Its name inside QEMU.
    pub alias: Option<String>,
    /// The guest's card.
    pub mac: Option<String>,
    /// The switch's port.
    pub port: Option<PortRow>,
    /// QEMU's side by the XML.
    pub mode: Option<SocketMode>,
    /// Seconds after which QEMU tries again.
    pub reconnect: Option<u32>,
    /// The socket's path.
    pub path: Option<PathBuf>,
    /// The socket file; none where there is none.
    pub socket: Option<SocketRow>,
    /// Who listens and who is connected.
    #[serde(flatten)]
    pub link: Link,
    /// Whether somebody is connected; none where the kernel did not tell.
    pub connected: Option<bool>,
    /// QEMU, if it runs.
    pub qemu: Option<ProcessRow>,
    /// ovs-vswitchd, if it runs.
    pub dataplane: Option<ProcessRow>,
    /// `ok`, `ready` (off, would start), `starting`, `unknown`, or the finding's id.
    pub verdict: String,
}

/// The switch's port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortRow {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its OpenFlow number.
    pub ofport: Option<i64>,
    /// Why OVS could not make it.
    pub error: Option<String>,
}

/// The socket file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SocketRow {
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The owner's name.
    pub user: String,
    /// The group's name.
    pub group: String,
    /// Its mode, in octal.
    pub mode: String,
    /// Whether someone is behind it.
    pub liveness: Liveness,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ProcessRow {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// The user's name.
    pub user: String,
    /// The group's name.
    pub group: String,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Their names.
    pub group_names: Vec<String>,
    /// The umask, in octal.
    pub umask: Option<String>,
}

fn process(case: &Case<'_>, process: &Process) -> ProcessRow {
    let Identity { uid, gid, groups, .. } = process.identity();
    ProcessRow {
        pid: process.pid,
        name: process.status.name.clone(),
        uid,
        gid,
        user: case.names.user_name(uid),
        group: case.names.group_name(gid),
        group_names: groups.iter().map(|gid| case.names.group_name(*gid)).collect(),
        groups,
        umask: process.status.umask.map(|umask| format!("{umask:04o}")),
    }
}

fn port(port: &VhostPort) -> PortRow {
    PortRow {
        name: port.name.clone(),
        kind: port.kind.to_string(),
        ofport: port.ofport,
        error: port.error.clone(),
    }
}

fn socket_file(case: &Case<'_>, socket: &Socket) -> Option<SocketRow> {
    let node = socket.node.as_ref()?;
    Some(SocketRow {
        uid: node.uid,
        gid: node.gid,
        user: case.names.user_name(node.uid),
        group: case.names.group_name(node.gid),
        mode: format!("{:04o}", node.mode),
        liveness: socket.liveness.clone(),
    })
}

fn bare(case: &Case<'_>, endpoints: &Endpoints, endpoint: &Endpoint) -> Row {
    Row {
        vm: None,
        state: None,
        device: Some(endpoint.device),
        alias: endpoint.alias.clone(),
        mac: endpoint.mac.clone(),
        port: None,
        mode: Some(endpoint.mode),
        reconnect: endpoint.reconnect,
        path: endpoint.path.clone(),
        socket: None,
        link: Link::default(),
        connected: None,
        qemu: None,
        dataplane: endpoints.vswitchd.process().map(|found| process(case, found)),
        verdict: "unknown".to_string(),
    }
}

fn of_domain(case: &Case<'_>, machine: &Machine, row: Row) -> Row {
    let state = if machine.domain.running { "running" } else { "off" };
    Row {
        vm: Some(machine.domain.name.clone()),
        state: Some(state),
        qemu: machine.process.as_ref().map(|found| process(case, found)),
        ..row
    }
}

pub fn of_machine(
    case: &Case<'_>,
    endpoints: &Endpoints,
    machine: &Machine,
    socket: &Socket,
    link: Link,
    verdict: String,
) -> Row {
    let join = machine.start.switch.known();
    let at = join.and_then(|join| {
        let meets = |port: &&VhostPort| same_path(&join.expected_socket(port), &socket.path);
        let named = |port: &&VhostPort| socket.path.file_name() == Some(port.name.as_ref());
        join.ports.iter().find(meets).or_else(|| join.ports.iter().find(named))
    });
    let row = bare(case, endpoints, &socket.endpoint);
    let row = Row {
        port: at.map(port).or_else(|| other(machine, socket)),
        socket: socket_file(case, socket),
        connected: endpoints.peers.known().map(|()| !link.connections.is_empty()),
        link,
        verdict,
        ..row
    };
    of_domain(case, machine, row)
}

/// An interface of another type.
fn other(machine: &Machine, socket: &Socket) -> Option<PortRow> {
    let join = machine.start.switch.known()?;
    let (name, kind) = join.others.iter().find(|(name, _)| socket.path.file_name() == Some(name.as_ref()))?;
    Some(PortRow { name: name.clone(), kind: kind.clone(), ofport: None, error: None })
}

/// libvirt's own socket.
pub fn without_path(case: &Case<'_>, endpoints: &Endpoints, machine: &Machine, endpoint: &Endpoint) -> Row {
    let verdict = if machine.domain.running { "unknown" } else { "ready" };
    of_domain(case, machine, Row { verdict: verdict.to_string(), ..bare(case, endpoints, endpoint) })
}

pub fn of_port(case: &Case<'_>, endpoints: &Endpoints, free: &FreePort, verdict: String) -> Row {
    Row {
        port: Some(port(&free.port)),
        device: None,
        mode: None,
        socket: socket_file(case, &free.socket),
        connected: endpoints.peers.known().map(|()| !free.link.connections.is_empty()),
        link: free.link.clone(),
        verdict,
        ..bare(case, endpoints, &free.socket.endpoint)
    }
}
