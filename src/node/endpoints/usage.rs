// SPDX-License-Identifier: Apache-2.0
//! Whether anyone has a port at this moment: a VM that runs, by libvirt's files, or a process at its socket, by the kernel.

use std::path::Path;

use anyhow::{Result, bail};

use crate::base::paths::same_path;
use crate::base::root::Root;
use crate::base::root::ss::Stream;
use crate::config::PortType;
use crate::dataplane::ovs::ovsdb::VhostPort;
use crate::facts::diag;
use crate::facts::domains::{self, Domain};

/// VMs that run, and sockets of the kernel.
#[derive(Debug)]
pub struct Usage {
    machines: Vec<Domain>,
    sockets: Vec<Stream>,
}

impl Usage {
    /// Looks.
    ///
    /// # Errors
    /// Something could not be read, a VM's file included: it could be the one that counts.
    pub fn read(root: &Root) -> Result<Usage> {
        let found = domains::running(root)?;
        if let Some(broken) = found.broken.first() {
            bail!("{}: {}", broken.path.display(), broken.error);
        }
        let machines = found.domains.into_iter().filter(|domain| domain.running).collect();
        Ok(Usage { machines, sockets: diag::sockets(root)? })
    }

    /// Who has this port, whose socket is to be at `path`: in words. The VM that it is about does not count.
    pub fn of(
        &self,
        root: &Root,
        port: &VhostPort,
        path: &Path,
        about: Option<&Domain>,
    ) -> Result<Option<String>> {
        let is_about = |machine: &Domain| {
            about.is_some_and(|about| match (&machine.uuid, &about.uuid) {
                (Some(one), Some(other)) => one == other,
                _ => machine.name == about.name,
            })
        };
        let has = |machine: &&Domain| {
            let mut paths = machine.endpoints.iter().filter_map(|endpoint| endpoint.path.as_deref());
            !is_about(machine) && paths.any(|other| same_path(other, path))
        };
        if let Some(machine) = self.machines.iter().find(has) {
            return Ok(Some(format!("VM {}", machine.name)));
        }
        let Some(file) = root.find_nofollow(path)? else { return Ok(None) };
        // At a `dpdkvhostuser` port the switch itself listens.
        let taken = |socket: &&Stream| {
            socket.peer.is_some() || (socket.listening && port.kind == PortType::Dpdkvhostuserclient)
        };
        let process = self.sockets.iter().filter(|socket| socket.is_at(file.id(), path)).find(taken);
        Ok(process.map(|_| format!("a process at {}", path.display())))
    }
}
