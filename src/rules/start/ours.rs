// SPDX-License-Identifier: Apache-2.0
//! What the hook fixes by itself before the rules look, and so what a start does not meet. Only what `apply` agreed to.

use super::{Start, StartCase};
use crate::access::{Wish, may};
use crate::accord::Agreed;
use crate::base::paths::same_path;
use crate::base::root::Kind;
use crate::config::PortType;
use crate::dataplane::ovs::sockets::is_switch_place;
use crate::dataplane::ovs::vswitchd::Vswitchd;
use crate::facts::domains::{SocketMode, is_network_card};
use crate::facts::sockets::Liveness;
use crate::node::endpoints::{Socket, start::Facts};
use crate::rules::Finding;
use crate::sockets::grant::{self, Grant};

/// Would this be fixed before the rules look, when the VM starts?
pub fn will_fix(case: &StartCase<'_>, finding: &Finding) -> bool {
    let Some(agreed) = &case.start.agreed else { return false };
    let is_it = |socket: &&Socket| socket.path.display().to_string() == finding.subject;
    let Some(socket) = case.facts.sockets.iter().find(is_it) else { return false };
    match finding.id {
        "client-socket-in-the-way" => may_remove(agreed, case.facts, socket),
        "server-socket-refuses-qemu" => grant_for(case.start, agreed, case.facts, socket).is_some(),
        _ => false,
    }
}

/// A stale socket that is ours to remove: of QEMU's in the agreed directory, of OVS's where its port is known and OVS did
/// not come to bind it.
pub fn may_remove(agreed: &Agreed, facts: &Facts, socket: &Socket) -> bool {
    match socket.endpoint.mode {
        SocketMode::Server => socket.path.parent() == Some(agreed.socket_directory.as_path()),
        SocketMode::Client => {
            let gives = agreed.qemu.as_ref().is_some_and(|qemu| qemu.grant_gid.is_some());
            gives && is_ports_socket(facts, socket)
        }
    }
}

/// OVSDB has a `dpdkvhostuser` port whose socket this is.
fn is_ports_socket(facts: &Facts, socket: &Socket) -> bool {
    let Some(join) = facts.switch.known().filter(|_| is_network_card(&socket.endpoint)) else { return false };
    is_switch_place(&socket.path)
        && join.ports.iter().any(|port| {
            port.kind == PortType::Dpdkvhostuser && same_path(&join.expected_socket(port), &socket.path)
        })
}

/// Nothing is given that OVSDB does not name: a path in a domain is no reason to hand out a control socket.
pub fn grant_for(start: &Start, agreed: &Agreed, facts: &Facts, socket: &Socket) -> Option<Grant> {
    let (qemu, usual, node) = (start.qemu.as_ref()?, agreed.qemu.as_ref()?, socket.node.as_ref()?);
    let gid = usual.grant_gid.filter(|_| socket.endpoint.mode == SocketMode::Client)?;
    let made_by_switch = match &facts.vswitchd {
        Vswitchd::Running(Some(process)) => node.uid == process.status.uid.fs,
        _ => node.uid == 0 || agreed.dataplane.as_ref().is_some_and(|dataplane| dataplane.uid == node.uid),
    };
    let wanted = made_by_switch && node.kind == Kind::Socket && socket.liveness == Liveness::Listening;
    if !wanted
        || !is_ports_socket(facts, socket)
        || may(qemu, std::slice::from_ref(node), Wish::Connect).is_ok()
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
