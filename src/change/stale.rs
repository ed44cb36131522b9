// SPDX-License-Identifier: Apache-2.0
//! Sockets that nobody listens on any more.

use anyhow::Result;

use super::{place, write};
use crate::config::PortType;
use crate::facts::live::PortSocket;
use crate::facts::paths::PathFact;
use crate::facts::sockets::{self, Liveness};
use crate::root::Root;

/// Removes a `dpdkvhostuser` socket that is proven stale. It is asked again right before, and only the very inode that
/// was found stale goes.
pub fn remove(root: &Root, socket: &PortSocket) -> Result<bool> {
    let PathFact::Present { id, .. } = &socket.fact else { return Ok(false) };
    let stale = socket.kind == PortType::Dpdkvhostuser && socket.liveness == Liveness::Stale;
    if !stale || sockets::liveness(root, &socket.path) != Liveness::Stale {
        return Ok(false);
    }
    let (parent, name) = place(root, &socket.path)?;
    write::remove_file(&parent, name, *id)
}
