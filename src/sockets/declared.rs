// SPDX-License-Identifier: Apache-2.0
//! Sockets of declared dataplanes: granting them to QEMU, and undoing that.

use std::path::Path;

use anyhow::Result;

use super::grant::{GROUP_READ_WRITE, Grant};
use crate::accord::Given;
use crate::base::root::{Handle, Kind, Root};
use crate::dataplane::declared;
use crate::facts::processes::Process;
use crate::facts::sockets::{Liveness, liveness_of};

/// The grants that existing sockets need: each that the dataplane's user created and that has a listener.
pub fn plan(root: &Root, given: &Given) -> Result<Vec<Grant>> {
    let sockets = own(root, given)?;
    let needed = sockets.iter().filter_map(|socket| needed(given, socket));
    let listens = |(_, liveness): &(Grant, Liveness)| *liveness == Liveness::Listening;
    Ok(needed.filter(listens).map(|(grant, _)| grant).collect())
}

/// The same for one path, with its listener; none if nothing is needed.
pub fn plan_one(root: &Root, given: &Given, path: &Path) -> Result<Option<(Grant, Liveness)>> {
    let socket = root.find_nofollow(path)?.filter(|socket| is_own(given, socket));
    Ok(socket.and_then(|socket| needed(given, &socket)))
}

fn needed(given: &Given, socket: &Handle) -> Option<(Grant, Liveness)> {
    let grant = grant(given, socket, given.gid, socket.mode() | GROUP_READ_WRITE);
    grant.is_due().then(|| (grant, liveness_of(socket)))
}

/// The grants that restore the sockets as this process, the dataplane, creates them.
pub fn withdraw(root: &Root, given: &Given, process: &Process) -> Result<Vec<Grant>> {
    let Some(umask) = process.status.umask else { return Ok(Vec::new()) };
    let sockets = own(root, given)?;
    let ours = sockets.iter().filter(|socket| socket.gid() == given.gid);
    Ok(ours.map(|socket| grant(given, socket, process.status.gid.effective, 0o777 & !umask)).collect())
}

/// Does one of them have a listener?
pub fn is_served(root: &Root, given: &Given) -> Result<bool> {
    Ok(own(root, given)?.iter().any(|socket| liveness_of(socket) == Liveness::Listening))
}

fn own(root: &Root, given: &Given) -> Result<Vec<Handle>> {
    let sockets = declared::sockets(root, &given.sockets)?;
    Ok(sockets.into_iter().filter(|socket| is_own(given, socket)).collect())
}

/// Only sockets that its user created.
fn is_own(given: &Given, socket: &Handle) -> bool {
    socket.kind() == Kind::Socket && socket.uid() == given.uid
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
