// SPDX-License-Identifier: Apache-2.0
//! As a VM that runs and is not connected meets them. Whoever tries again each second is kept out by owner and mode: nobody
//! has to start anew for it.

use super::{Evidence, Meeting};
use crate::access::{Wish, may};
use crate::config::PortType;
use crate::dataplane::ovs::vswitchd::VSWITCHD;
use crate::facts::domains::SocketMode;
use crate::facts::processes::Process;
use crate::facts::sockets::Liveness;
use crate::fixes;

pub fn refuses_qemu(meeting: &Meeting<'_>) -> Option<Evidence> {
    let tries = meeting.mode() == SocketMode::Client && meeting.tries_again();
    refused(meeting, meeting.qemu().filter(|_| tries)?, PortType::Dpdkvhostuser, "QEMU")
}

pub fn refuses_dataplane(meeting: &Meeting<'_>) -> Option<Evidence> {
    let process = meeting.switch().filter(|_| meeting.mode() == SocketMode::Server)?;
    refused(meeting, process, PortType::Dpdkvhostuserclient, VSWITCHD)
}

fn refused(meeting: &Meeting<'_>, process: &Process, kind: PortType, name: &str) -> Option<Evidence> {
    let (start, socket) = (meeting.case.start, meeting.socket);
    // Both ends are there, and apart.
    let _both = meeting.qemu().zip(meeting.switch())?;
    if socket.liveness != Liveness::Listening || meeting.is_joined() {
        return None;
    }
    let identity = process.identity();
    let Err(denial) = may(&identity, &meeting.case.chain(socket)?, Wish::Connect) else {
        return None;
    };
    let fix = match start.let_in(kind) {
        Some(fix) => fix,
        None if denial.path == socket.path => fixes::give_socket(&socket.path, identity.gid),
        None => fixes::acl(identity.uid, "x", &denial.path),
    };
    let seen = format!("{name} (pid {}) has no access: {}", process.pid, denial.text(&start.names));
    Some(Evidence::at(&socket.path, seen, fix))
}
