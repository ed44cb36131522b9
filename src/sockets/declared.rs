// SPDX-License-Identifier: Apache-2.0
//! Sockets of dataplanes that the configuration declares: given to QEMU, and taken back.

use anyhow::Result;

use super::grant::{GROUP_READ_WRITE, Grant};
use crate::accord::Given;
use crate::base::root::{Handle, Root};
use crate::dataplane::declared;
use crate::facts::processes::Process;
use crate::facts::sockets::{Liveness, liveness_of};

/// What those that are there need: each that the dataplane's user made and someone listens on.
pub fn plan(root: &Root, given: &Given) -> Result<Vec<Grant>> {
    let needed = |socket: &Handle| {
        let grant = grant(given, socket, given.gid, socket.mode() | GROUP_READ_WRITE);
        (grant.is_due() && liveness_of(socket) == Liveness::Listening).then_some(grant)
    };
    Ok(own(root, given)?.iter().filter_map(needed).collect())
}

/// Back to how the dataplane, whose process this is, makes them.
pub fn withdraw(root: &Root, given: &Given, process: &Process) -> Result<Vec<Grant>> {
    let Some(umask) = process.status.umask else { return Ok(Vec::new()) };
    let sockets = own(root, given)?;
    let ours = sockets.iter().filter(|socket| socket.gid() == given.gid);
    Ok(ours.map(|socket| grant(given, socket, process.status.gid.effective, 0o777 & !umask)).collect())
}

/// Does someone listen on one of them?
pub fn is_served(root: &Root, given: &Given) -> Result<bool> {
    Ok(own(root, given)?.iter().any(|socket| liveness_of(socket) == Liveness::Listening))
}

fn own(root: &Root, given: &Given) -> Result<Vec<Handle>> {
    let sockets = declared::sockets(root, &given.sockets)?;
    Ok(sockets.into_iter().filter(|socket| socket.uid() == given.uid).collect())
}

fn grant(given: &Given, socket: &Handle, gid: u32, mode: u32) -> Grant {
    Grant {
        port: given.name.clone(),
        path: socket.path().to_path_buf(),
        uid: given.uid,
        gid_before: socket.gid(),
        mode_before: socket.mode(),
        gid,
        mode,
    }
}
