// SPDX-License-Identifier: Apache-2.0
//! Sockets of the switch's ports: we grant the other side access to the socket, and do not change the process. A socket lives as
//! long as the process that created it, so each new socket needs a new grant, and none is in the journal.

use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::access::Node;
use crate::accord::{Accord, Agreed};
use crate::base::root::{Kind, Root, UnsafePath};
use crate::base::text::log_line;
use crate::config::{PortType, ServerAccess};
use crate::dataplane::PortSocket;
use crate::dataplane::ovs::database::SILENT;
use crate::dataplane::ovs::ovsdb::OVSDB_LIMIT;
use crate::dataplane::ovs::sockets::{is_switch_place, port_sockets, read_switch};
use crate::facts::Known;
use crate::facts::sockets::Liveness;
use crate::write::{self, Refused};

/// What connecting needs: write for the group (unix(7)).
pub const GROUP_READ_WRITE: u32 = 0o060;

/// A socket that needs another group or mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// The port.
    pub port: String,
    /// The socket.
    pub path: PathBuf,
    /// The owner that it must have, or it is not changed: the user that created it.
    pub uid: u32,
    /// Its group now.
    pub gid_before: u32,
    /// Its mode now.
    pub mode_before: u32,
    /// The group it gets.
    pub gid: u32,
    /// The mode it gets.
    pub mode: u32,
}

impl Grant {
    /// Does it change anything?
    pub(super) fn is_due(&self) -> bool {
        (self.gid, self.mode) != (self.gid_before, self.mode_before)
    }

    /// The grant for an existing socket of a port.
    fn of(socket: &PortSocket, node: &Node, gid: u32, mode: u32) -> Grant {
        Grant {
            port: socket.port.clone(),
            path: socket.path.clone(),
            uid: node.uid,
            gid_before: node.gid,
            mode_before: node.mode,
            gid,
            mode,
        }
    }
}

/// Which sockets are granted, and to which groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Giving {
    /// The group that `dpdkvhostuser` sockets get; none if they are not granted.
    pub server: Option<u32>,
    /// The group that sockets of `dpdkvhostuserclient` ports get.
    pub client: Option<u32>,
    /// Only those in this directory.
    pub directory: PathBuf,
}

impl Giving {
    /// As the accord has it.
    pub fn of(accord: &Accord) -> Giving {
        let granted = accord.gives && accord.server_access == Some(ServerAccess::Grant);
        Giving {
            server: accord.qemu.as_ref().filter(|_| granted).map(|qemu| qemu.grant_gid),
            client: (accord.gives && accord.has(PortType::Dpdkvhostuserclient)).then_some(accord.group.gid),
            directory: accord.socket_directory.clone(),
        }
    }

    /// As the last `apply` set it up.
    pub fn agreed(agreed: &Agreed) -> Giving {
        Giving {
            server: agreed.qemu.as_ref().and_then(|qemu| qemu.grant_gid),
            client: agreed.shared_gid,
            directory: agreed.socket_directory.clone(),
        }
    }
}

/// The grants that existing sockets need.
pub fn plan(giving: &Giving, sockets: &[PortSocket]) -> Vec<Grant> {
    sockets.iter().filter_map(|socket| needed(giving, socket)).collect()
}

fn needed(giving: &Giving, socket: &PortSocket) -> Option<Grant> {
    let node = socket.fact.node().filter(|node| node.kind == Kind::Socket)?;
    let gid = match socket.kind {
        PortType::Dpdkvhostuser => {
            giving.server.filter(|_| socket.liveness != Liveness::Stale && is_switch_place(&socket.path))?
        }
        PortType::Dpdkvhostuserclient => {
            giving.client.filter(|_| socket.path.starts_with(&giving.directory))?
        }
    };
    Some(Grant::of(socket, node, gid, node.mode | GROUP_READ_WRITE)).filter(Grant::is_due)
}

/// The grants that restore granted sockets as OVS creates them: `gid` and `umask` are ovs-vswitchd's.
pub fn withdraw(accord: &Accord, sockets: &[PortSocket], gid: u32, umask: u32) -> Vec<Grant> {
    let Some(granted) = accord.qemu.as_ref().map(|qemu| qemu.grant_gid) else { return Vec::new() };
    let back = |socket: &PortSocket| {
        let node = socket.fact.node().filter(|node| node.kind == Kind::Socket && node.gid == granted)?;
        Some(Grant::of(socket, node, gid, 0o777 & !umask))
    };
    let ours = |socket: &&PortSocket| socket.kind == PortType::Dpdkvhostuser && is_switch_place(&socket.path);
    sockets.iter().filter(ours).filter_map(back).collect()
}

/// Makes a grant. A socket that was replaced meanwhile is not changed: its creation causes a grant of its own.
pub fn make(root: &Root, grant: &Grant) -> Result<bool> {
    let Some(found) = root.find_nofollow(&grant.path)? else { return Ok(false) };
    if found.kind() != Kind::Socket || found.uid() != grant.uid {
        return Ok(false);
    }
    write::set_owner_mode(&found, None, Some(grant.gid), Some(grant.mode))
}

/// Makes all grants, and returns those that changed something. If someone put a hard link or a symlink at a socket's path, that is
/// logged and not changed; the other grants are still made.
pub fn make_all<'a>(root: &Root, grants: &'a [Grant]) -> Result<Vec<&'a Grant>> {
    let mut made = Vec::new();
    for grant in grants {
        match make(root, grant) {
            Ok(true) => made.push(grant),
            Ok(false) => {}
            Err(error) if error.is::<Refused>() || error.is::<UnsafePath>() => {
                tracing::warn!("{}", log_line(&format!("port {}: {error:#}; not changed", grant.port)));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(made)
}

/// Grants sockets that ovs-vswitchd just created to QEMU, as after its start.
pub fn give_new(root: &Root, accord: &Accord) -> Result<()> {
    if !accord.gives {
        return Ok(());
    }
    let switch = match read_switch(root, OVSDB_LIMIT) {
        Known::Known(switch) => switch,
        Known::Unknown(why) => bail!("{SILENT}: {why}"),
    };
    let grants = plan(&Giving::of(accord), &port_sockets(root, &switch));
    make_all(root, &grants).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_planted_socket_keeps_no_other_from_its_owner() {
        let tree = tempfile::tempdir().unwrap();
        let run = tree.path().join("run");
        fs::create_dir(&run).unwrap();
        for name in ["linked", "own"] {
            drop(UnixListener::bind(run.join(name)).unwrap());
        }
        fs::hard_link(run.join("linked"), run.join("second")).unwrap();
        symlink("..", run.join("sub")).unwrap();
        fs::set_permissions(&run, Permissions::from_mode(0o777)).unwrap();
        let own = fs::metadata(run.join("own")).unwrap();
        let grant = |name: &str| Grant {
            port: name.to_string(),
            path: format!("/run/{name}").into(),
            uid: own.uid(),
            gid_before: own.gid(),
            mode_before: own.mode() & 0o777,
            gid: own.gid(),
            mode: 0o666,
        };
        let root = Root::open(tree.path()).unwrap();
        let grants = ["linked", "sub/run/own", "own"].map(grant);
        assert_eq!(make_all(&root, &grants).unwrap(), [&grants[2]]);
        let mode = |name: &str| fs::metadata(run.join(name)).unwrap().mode() & 0o777;
        assert_eq!((mode("own"), mode("second")), (0o666, own.mode() & 0o777));
    }
}
