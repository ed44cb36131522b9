// SPDX-License-Identifier: Apache-2.0
//! What the hook fixes by itself, with the same code as `apply`: the socket directory, a stale socket, the grant on a socket that
//! OVS created. It changes only what `apply` set up.

use anyhow::Result;

use super::count::Count;
use crate::accord::Agreed;
use crate::base::journald::Priority;
use crate::base::root::Root;
use crate::facts::domains::SocketMode;
use crate::facts::sockets::{self, Liveness};
use crate::items::{Change, Held, Kind as _};
use crate::node::endpoints::{Socket, start::Facts};
use crate::rules::start::{Start, grant_for, may_remove};
use crate::sockets::grant;
use crate::write;

/// True if something was changed. What cannot be fixed becomes a finding.
pub fn fix(root: &Root, start: &Start, facts: &Facts, count: &Count) -> bool {
    let Some(agreed) = &start.agreed else { return false };
    let mut changed = false;
    let mut note = |path: &str, result| {
        if note(start, path, result) {
            count.fixed();
            changed = true;
        }
    };
    note("the socket directory", directory(root, start, agreed, facts));
    for socket in &facts.sockets {
        let path = socket.path.display().to_string();
        note(&path, stale(root, agreed, facts, socket));
        note(&path, granted(root, start, agreed, facts, socket));
    }
    changed
}

/// Logs what was done or what failed. True if something was done.
fn note(start: &Start, path: &str, result: Result<Option<String>>) -> bool {
    let (priority, what) = match result {
        Ok(None) => return false,
        Ok(Some(what)) => (Priority::Notice, what),
        Err(error) => (Priority::Warning, format!("{path} was not fixed: {error:#}")),
    };
    start.log(priority, &what, &[("VA_SOCKET", path)]);
    priority == Priority::Notice
}

/// Creates the socket directory, or restores its owner and mode, if QEMU is to create a socket in it.
fn directory(root: &Root, start: &Start, agreed: &Agreed, facts: &Facts) -> Result<Option<String>> {
    let in_it =
        |socket: &Socket| socket.endpoint.mode == SocketMode::Server && start.is_agreed_path(&socket.path);
    if !facts.sockets.iter().any(in_it) {
        return Ok(None);
    }
    let mut changed = false;
    for owner in &agreed.directories {
        let found = owner.observe(root, &start.names)?;
        if !owner.holds(&found) {
            Change::Owner(Held { item: owner.clone(), before: found }).make(root)?;
            changed = true;
        }
    }
    Ok(changed.then(|| format!("fixed owner and mode of {}", agreed.socket_directory.display())))
}

/// Removes a socket that is proven stale.
fn stale(root: &Root, agreed: &Agreed, facts: &Facts, socket: &Socket) -> Result<Option<String>> {
    let (Liveness::Stale, Some(id)) = (&socket.liveness, socket.id) else { return Ok(None) };
    if !may_remove(agreed, facts, socket) || sockets::liveness(root, &socket.path) != Liveness::Stale {
        return Ok(None);
    }
    let (parent, name) = root.place(&socket.path)?;
    let removed = write::remove_file(&parent, name, id)?;
    Ok(removed.then(|| format!("removed the stale socket {}", socket.path.display())))
}

/// Grants QEMU its own socket.
fn granted(
    root: &Root,
    start: &Start,
    agreed: &Agreed,
    facts: &Facts,
    socket: &Socket,
) -> Result<Option<String>> {
    let Some(grant) = grant_for(start, agreed, facts, socket) else { return Ok(None) };
    let made = grant::make(root, &grant)?;
    Ok(made.then(|| format!("gave {} to group {}", socket.path.display(), grant.gid)))
}
