// SPDX-License-Identifier: Apache-2.0
//! Stale sockets: no process listens on them any more.

use std::path::Path;

use anyhow::Result;

use crate::base::root::Root;
use crate::config::PortType;
use crate::dataplane::PortSocket;
use crate::dataplane::ovs::sockets::is_switch_place;
use crate::facts::paths::PathFact;
use crate::facts::sockets::{self, Liveness};
use crate::write;

/// Removes a `dpdkvhostuser` socket that is proven stale. It is checked again right before, and only the inode that was found
/// stale is removed.
pub fn remove(root: &Root, socket: &PortSocket) -> Result<bool> {
    let PathFact::Present { id, .. } = &socket.fact else { return Ok(false) };
    let stale = socket.kind == PortType::Dpdkvhostuser && socket.liveness == Liveness::Stale;
    if !stale || !is_switch_place(&socket.path) || sockets::liveness(root, &socket.path) != Liveness::Stale {
        return Ok(false);
    }
    let (parent, name) = root.place(&socket.path)?;
    write::remove_file(&parent, name, *id)
}

/// Removes every socket right below a directory that is proven to have no listener.
pub fn remove_below(root: &Root, directory: &Path) -> Result<()> {
    for name in root.list(directory)? {
        let path = directory.join(&name);
        let Some(handle) = root.find_nofollow(&path)? else { continue };
        if sockets::liveness_of(&handle) == Liveness::Stale {
            let (parent, name) = root.place(&path)?;
            write::remove_file(&parent, name, handle.id())?;
        }
    }
    Ok(())
}
