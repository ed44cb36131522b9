// SPDX-License-Identifier: Apache-2.0
//! One socket of the switch with all that is known of its two ends.

use crate::dataplane::ovs::ovsdb::VhostPort;
use crate::facts::domains::SocketMode;
use crate::facts::processes::Process;
use crate::facts::sockets::Liveness;
use crate::node::endpoints::{End, Endpoints, Link, Machine, Owner, Socket, sides};
use crate::rules::start::StartCase;

/// QEMU and DPDK try each second: who is younger than this, in nanoseconds, may still be at it.
const YOUNG: u64 = 5_000_000_000;

/// Where a VM and the switch are to meet.
#[derive(Debug, Clone, Copy)]
pub struct Meeting<'a> {
    /// The VM's start, as it would be now.
    pub case: StartCase<'a>,
    /// Both sides of every socket.
    pub endpoints: &'a Endpoints,
    /// The VM; none for a port without one.
    pub machine: Option<&'a Machine>,
    /// The port, where no VM has it.
    pub port: Option<&'a VhostPort>,
    /// The socket.
    pub socket: &'a Socket,
    /// Who listens and who is connected.
    pub link: &'a Link,
    /// This node's libvirt can be asked for its VMs.
    pub sees_vms: bool,
}

impl<'a> Meeting<'a> {
    /// QEMU's side.
    pub fn mode(&self) -> SocketMode {
        self.socket.endpoint.mode
    }

    /// QEMU, if it runs.
    pub fn qemu(&self) -> Option<&'a Process> {
        self.machine?.process.as_ref()
    }

    /// ovs-vswitchd, if it runs.
    pub fn switch(&self) -> Option<&'a Process> {
        self.endpoints.vswitchd.process()
    }

    /// The kernel told who is connected, which is found by the file's inode.
    pub fn is_seen(&self) -> bool {
        let lost = self.socket.id.is_none() && matches!(self.socket.liveness, Liveness::Unknown(_));
        self.endpoints.peers.known().is_some() && !lost
    }

    /// QEMU tries again when it loses its peer.
    pub fn tries_again(&self) -> bool {
        self.socket.endpoint.reconnect.is_some_and(|seconds| seconds > 0)
    }

    /// One of the two may still be about to connect.
    pub fn is_young(&self) -> bool {
        let young = |since: u64| self.endpoints.now.saturating_sub(since) < YOUNG;
        [self.qemu(), self.switch()].into_iter().flatten().any(|process| young(process.started.since_boot))
    }

    /// The switch that was asked is to be at the other end; else any process is as it should be.
    pub fn meets_switch(&self) -> bool {
        self.machine.is_none() || self.case.meets_asked_switch(self.socket)
    }

    /// QEMU is connected, and with the switch where it is to be.
    pub fn is_joined(&self) -> bool {
        let switch = self.switch().filter(|_| self.meets_switch()).map(|process| process.pid);
        self.machine.is_some_and(|machine| joins(machine, self.socket, self.link, switch))
    }

    /// Where nothing is wrong.
    pub fn word(&self) -> &'static str {
        let (seen, used) = (self.endpoints.peers.known().is_some(), !self.link.connections.is_empty());
        match self.machine {
            // An application that is no VM has the port, or nobody can tell.
            None if seen && used => "ok",
            Some(machine) if !seen || machine.process.is_none() => "unknown",
            Some(_) if self.is_joined() => "ok",
            Some(_) if self.is_young() => "starting",
            None | Some(_) => "unknown",
        }
    }
}

/// Is QEMU connected with the dataplane through this socket?
pub fn is_joined(endpoints: &Endpoints, machine: &Machine, socket: &Socket, link: &Link) -> bool {
    joins(machine, socket, link, endpoints.vswitchd.process().map(|process| process.pid))
}

/// Is QEMU connected, and with this process where that is known?
pub fn joins(machine: &Machine, socket: &Socket, link: &Link, other: Option<u32>) -> bool {
    let qemu = machine.process.as_ref().map(|process| process.pid);
    link.connections.iter().any(|connection| {
        let (dataplane, guest) = sides(socket.endpoint.mode, connection);
        !is_other(dataplane, other) && !is_other(guest, qemu)
    })
}

/// Nobody where no one is seen to hold it: it may be in another pid namespace.
pub fn is_other(end: &End, expected: Option<u32>) -> bool {
    let pid = end.owner.as_ref().map(|owner| owner.pid);
    expected.is_some() && pid.is_some() && pid != expected
}

/// Who it is, in words.
pub fn name(end: &End) -> String {
    end.owner.as_ref().map_or("an unknown process".to_string(), Owner::text)
}
