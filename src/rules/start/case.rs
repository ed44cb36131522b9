// SPDX-License-Identifier: Apache-2.0
//! What the rules about a start have in common.

use std::path::Path;

use super::Start;
use crate::access::{Denial, Identity, Node, Wish, may};
use crate::base::paths::{plain, same_path};
use crate::dataplane::ovs;
use crate::dataplane::ovs::ovsdb::{Join, VhostPort};
use crate::dataplane::ovs::vswitchd::Vswitchd;
use crate::facts::Known;
use crate::facts::domains::{SocketMode, is_network_card};
use crate::facts::paths::PathFact;
use crate::node::endpoints::Socket;
use crate::node::endpoints::start::{Facts, SecondFacts};

/// All that a rule about a start looks at.
#[derive(Debug, Clone, Copy)]
pub struct StartCase<'a> {
    /// What the start is about.
    pub start: &'a Start,
    /// What was found.
    pub facts: &'a Facts,
}

impl<'a> StartCase<'a> {
    /// Is this a socket that Open vSwitch is to meet QEMU at, and nothing else? A node may have another dataplane beside,
    /// with sockets wherever it likes: Open vSwitch's are in its own directory, in the agreed one, and where a port of it
    /// says so.
    fn is_switch_path(&self, path: &Path) -> bool {
        let start = self.start;
        let configured =
            || start.socket_directory.as_ref().is_some_and(|directory| path.starts_with(directory));
        let claims = |join: &Join| {
            let has = |port: &VhostPort| {
                // os-vif writes into a port which VM it is for, and names it like the socket.
                let is_for = port.vm_uuid.is_some() && port.vm_uuid == start.domain.uuid;
                same_path(&join.expected_socket(port), path)
                    || (is_for && path.file_name() == Some(port.name.as_ref()))
            };
            join.config.has_dpdk() && (configured() || join.ports.iter().any(has))
        };
        let below_run = plain(path).starts_with(ovs::paths::RUN);
        below_run || start.is_agreed_path(path) || self.facts.switch.known().is_some_and(claims)
    }

    /// Is the switch to meet QEMU at this socket? What another process serves, or was told to use, is that one's wherever it
    /// is, unless a port of the switch says otherwise.
    pub fn meets_switch(&self, socket: &Socket) -> bool {
        let others = || socket.other.is_some() && self.port_at(socket).is_none();
        let is_others = || others() || self.second(socket).is_some();
        is_network_card(&socket.endpoint) && self.is_switch_path(&socket.path) && !is_others()
    }

    /// The second switch that is to meet QEMU at this socket: one that has a port there, else the one whose section has the path,
    /// unless another process serves it.
    pub fn second(&self, socket: &Socket) -> Option<&'a SecondFacts> {
        let seconds = &self.facts.seconds;
        if seconds.is_empty() || !is_network_card(&socket.endpoint) || self.port_at(socket).is_some() {
            return None;
        }
        let is_its = |asked: &&SecondFacts| asked.second.sockets.is_at(&socket.path);
        let has = |asked: &&SecondFacts| asked.port_at(&socket.path).is_some();
        let unit = socket.other.as_ref().map(|other| other.unit.as_deref());
        let serves = |asked: &&SecondFacts| unit.is_none_or(|unit| unit == Some(&asked.second.unit));
        let both = seconds.iter().find(|asked| has(asked) && is_its(asked));
        both.or_else(|| seconds.iter().find(has)).or_else(|| seconds.iter().filter(is_its).find(serves))
    }

    /// Is it the switch that was asked? Where there is another one, only its own ports say so.
    pub fn meets_asked_switch(&self, socket: &Socket) -> bool {
        let is_asked = || self.facts.second.is_none() || self.port_at(socket).is_some();
        self.meets_switch(socket) && is_asked()
    }

    /// Another back end is to meet QEMU there: the switch has no port for it, under this path or under its name.
    pub fn is_others(&self, socket: &Socket) -> bool {
        let has_switch = || self.start.agreed.as_ref().is_some_and(|agreed| agreed.dataplane.is_some());
        let is_named = |join: &Join| {
            let named = |port: &VhostPort| socket.path.file_name() == Some(port.name.as_ref());
            join.ports.iter().any(named)
        };
        let may_be_ports = || self.facts.switch.known().map_or_else(has_switch, is_named);
        !self.meets_switch(socket) && (socket.other.is_some() || !may_be_ports())
    }

    /// The sockets at which the switch and QEMU are to meet.
    pub fn on_switch(&self) -> impl Iterator<Item = &'a Socket> + use<'a> {
        let case = *self;
        self.facts.sockets.iter().filter(move |socket| case.meets_switch(socket))
    }

    /// The sockets for which the domain has this side.
    pub fn of_mode(&self, mode: SocketMode) -> impl Iterator<Item = &'a Socket> + use<'a> {
        self.facts.sockets.iter().filter(move |socket| socket.endpoint.mode == mode)
    }

    /// The directory of a socket with everything above it; `None` where it is missing or could not be read.
    pub fn directory(&self, socket: &Socket) -> Option<&'a [Node]> {
        match &self.facts.directories.get(socket.directory)?.fact {
            Known::Known(PathFact::Present { chain, .. }) => Some(chain),
            Known::Known(PathFact::Missing { .. }) | Known::Unknown(_) => None,
        }
    }

    /// The socket itself, if it is there, with everything above it.
    pub fn chain(&self, socket: &Socket) -> Option<Vec<Node>> {
        Some([self.directory(socket)?, std::slice::from_ref(socket.node.as_ref()?)].concat())
    }

    /// May QEMU connect to a socket that is there? `None` before `start`, and where it cannot be known.
    pub fn qemu_connects(&self, socket: &Socket) -> Option<Result<(), Denial>> {
        Some(may(self.start.qemu.as_ref()?, &self.chain(socket)?, Wish::Connect))
    }

    /// The port that makes this socket.
    pub fn port_at(&self, socket: &Socket) -> Option<&'a VhostPort> {
        self.facts.switch.known()?.port_at(&socket.path)
    }

    /// Whom a line is about: `user:group`.
    pub fn who(&self, identity: &Identity) -> String {
        let names = &self.start.names;
        format!("{}:{}", names.user_name(identity.uid), names.group_name(identity.gid))
    }

    /// What keeps a process of this name out, in words.
    pub fn no_access(&self, name: &str, identity: &Identity, denial: &Denial) -> String {
        format!("{name} ({}) has no access: {}", self.who(identity), denial.text(&self.start.names))
    }

    /// Whom the dataplane runs as.
    pub fn dataplane(&self) -> Option<Identity> {
        match &self.facts.vswitchd {
            Vswitchd::Running(Some(process)) => Some(process.identity()),
            Vswitchd::Running(None) | Vswitchd::NotRunning | Vswitchd::Unknown(_) => None,
        }
    }
}
