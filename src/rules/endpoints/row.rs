// SPDX-License-Identifier: Apache-2.0
//! A line of the table: all that is known of one endpoint.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Case, Meeting};
use crate::access::Identity;
use crate::base::paths::same_path;
use crate::config::MadeBy;
use crate::dataplane;
use crate::dataplane::declared::Found;
use crate::dataplane::ovs::ovsdb::{Join, VhostPort};
use crate::facts::domains::{Endpoint, EndpointKind, SocketMode};
use crate::facts::processes::Process;
use crate::facts::sockets::Liveness;
use crate::node::endpoints::{Endpoints, FreePort, Link, Machine, Owner, Socket, sides};

/// One endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
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
    /// The section of the configuration whose dataplane has the socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// The switch's port, or what the section's dataplane says of its own.
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
    /// ovs-vswitchd, if it runs and the socket is one of its own.
    pub dataplane: Option<ProcessRow>,
    /// The process at the other end, or that is to come there.
    pub backend: Option<Owner>,
    /// `ok`, `ready` (off, would start), `starting`, `unknown`, or the finding's id.
    pub verdict: String,
}

/// The switch's port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PortRow {
    /// Its name.
    pub name: String,
    /// Its type: of a section's dataplane, `server` where that creates the socket, else `client`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its OpenFlow number.
    pub ofport: Option<i64>,
    /// Why the dataplane could not make or use it.
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

fn bare(endpoint: &Endpoint) -> Row {
    Row {
        device: Some(endpoint.device),
        alias: endpoint.alias.clone(),
        mac: endpoint.mac.clone(),
        mode: Some(endpoint.mode),
        reconnect: endpoint.reconnect,
        path: endpoint.path.clone(),
        ..Row::default()
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

pub fn of_machine(case: &Case<'_>, (meeting, machine): (&Meeting<'_>, &Machine), verdict: String) -> Row {
    let (Meeting { endpoints, socket, link, .. }, meets_switch) = (*meeting, meeting.meets_switch());
    let second = meeting.case.second(socket);
    let own = machine.start.switch.known().filter(|_| meets_switch);
    let join = second.map_or(own, |asked| asked.join.known());
    let at = join.and_then(|join| {
        let meets = |port: &&VhostPort| same_path(&join.expected_socket(port), &socket.path);
        let named = |port: &&VhostPort| socket.path.file_name() == Some(port.name.as_ref());
        join.ports.iter().find(meets).or_else(|| join.ports.iter().find(named))
    });
    let sections = case.profile.declared.iter().map(Found::sockets);
    let of_path = || dataplane::section_of(sections, &socket.path).filter(|_| !meets_switch);
    let section = second.map(|asked| asked.second.name.as_str()).or_else(of_path);
    let ours = section.and_then(|section| declared_port(case, section, &socket.path));
    let row = Row {
        section: section.map(str::to_string),
        port: at.map(port).or_else(|| join.and_then(|join| other(join, socket))).or(ours),
        socket: socket_file(case, socket),
        connected: connected(meeting, machine),
        backend: backend(meeting),
        link: link.clone(),
        verdict,
        ..bare(&socket.endpoint)
    };
    let row = if meets_switch { of_switch(case, endpoints, row) } else { row };
    of_domain(case, machine, row)
}

impl Row {
    /// What its dataplane is called; none where nobody is known to be there.
    pub fn dataplane_name(&self) -> Option<&str> {
        dataplane::name(self.section.as_deref(), self.backend.as_ref())
    }

    /// Is it about this path or port, as a log has it?
    pub fn concerns(&self, subject: &str) -> bool {
        let is_port = self.port.as_ref().is_some_and(|port| port.name == subject);
        is_port || self.path.as_ref().is_some_and(|path| same_path(path, Path::new(subject)))
    }
}

/// What its dataplane says of this socket.
fn declared_port(case: &Case<'_>, section: &str, path: &Path) -> Option<PortRow> {
    let mut asked = case.live?.declared.iter().filter(|asked| asked.section == section);
    let found = asked.find_map(|asked| asked.at(path))?;
    let kind = if found.made_by == MadeBy::Dataplane { "server" } else { "client" };
    let (name, error) = (found.name.clone(), found.error.clone());
    Some(PortRow { name, kind: kind.to_string(), error, ..PortRow::default() })
}

/// Another back end may be in a network namespace of its own, whose sockets are not seen.
fn connected(meeting: &Meeting<'_>, machine: &Machine) -> Option<bool> {
    let yes = !meeting.link.connections.is_empty();
    let is_sure = yes || meeting.meets_switch() || !machine.domain.running;
    meeting.endpoints.peers.known().filter(|()| is_sure).map(|()| yes)
}

/// Who is connected, else who listens for QEMU, else who was told to use the socket.
fn backend(meeting: &Meeting<'_>) -> Option<Owner> {
    let (mode, link) = (meeting.mode(), meeting.link);
    let connected = link.connections.iter().find_map(|connection| sides(mode, connection).0.owner.clone());
    let listener = || link.listener.as_ref().and_then(|end| end.owner.clone());
    let listener = connected.or_else(|| if mode == SocketMode::Client { listener() } else { None });
    listener.or_else(|| if meeting.meets_switch() { None } else { meeting.socket.other.clone() })
}

/// With the switch's daemon, which is to be at the other end where nobody is yet.
fn of_switch(case: &Case<'_>, endpoints: &Endpoints, row: Row) -> Row {
    let Some(vswitchd) = endpoints.vswitchd.process() else { return row };
    let owner = || Owner { pid: vswitchd.pid, name: vswitchd.status.name.clone(), unit: None };
    Row { dataplane: Some(process(case, vswitchd)), backend: row.backend.or_else(|| Some(owner())), ..row }
}

/// An interface of another type.
fn other(join: &Join, socket: &Socket) -> Option<PortRow> {
    let (name, kind) = join.others.iter().find(|(name, _)| socket.path.file_name() == Some(name.as_ref()))?;
    Some(PortRow { name: name.clone(), kind: kind.clone(), ..PortRow::default() })
}

/// libvirt's own socket.
pub fn without_path(case: &Case<'_>, machine: &Machine, endpoint: &Endpoint) -> Row {
    let verdict = if machine.domain.running { "unknown" } else { "ready" };
    of_domain(case, machine, Row { verdict: verdict.to_string(), ..bare(endpoint) })
}

pub fn of_port(case: &Case<'_>, endpoints: &Endpoints, free: &FreePort, verdict: String) -> Row {
    let row = Row {
        port: Some(port(&free.port)),
        device: None,
        mode: None,
        socket: socket_file(case, &free.socket),
        connected: endpoints.peers.known().map(|()| !free.link.connections.is_empty()),
        link: free.link.clone(),
        verdict,
        ..bare(&free.socket.endpoint)
    };
    of_switch(case, endpoints, row)
}
