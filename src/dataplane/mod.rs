// SPDX-License-Identifier: Apache-2.0
//! What a dataplane is: what the rest of the program knows of the process at the other end of QEMU's sockets. Each kind of
//! dataplane is a file or folder of its own, and what is true of one alone is said there and nowhere else.

pub mod conversation;
pub mod declared;
pub mod driver;
pub mod drivers;
pub mod ovs;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::base::root::{Kind, Root};
use crate::config::{PortType, Sockets};
use crate::facts::domains::SocketMode;
use crate::facts::owners::Owner;
use crate::facts::paths::{PathFact, read_chain};
use crate::facts::sockets::Liveness;

// Of a domain, facts say what is written: which port goes with it is not theirs to know.
impl SocketMode {
    /// QEMU's side of a port of this type.
    pub fn of(kind: PortType) -> SocketMode {
        match kind {
            PortType::Dpdkvhostuserclient => SocketMode::Server,
            PortType::Dpdkvhostuser => SocketMode::Client,
        }
    }

    /// The type of port that goes with it.
    pub fn port_type(self) -> PortType {
        match self {
            SocketMode::Server => PortType::Dpdkvhostuserclient,
            SocketMode::Client => PortType::Dpdkvhostuser,
        }
    }
}

/// A vhost-user socket that the switch has, or expects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortSocket {
    /// The port.
    pub port: String,
    /// Which side makes it.
    pub kind: PortType,
    /// Where.
    pub path: PathBuf,
    /// What is there.
    pub fact: PathFact,
    /// Whether someone listens.
    pub liveness: Liveness,
    /// Nothing is there, or a symlink in its directory was followed.
    pub followed: bool,
}

/// The name of the dataplane at a socket, in every command and metric: the section that has the path, else the unit of the process
/// there, else the program.
pub fn name<'a>(section: Option<&'a str>, owner: Option<&'a Owner>) -> Option<&'a str> {
    section.or_else(|| owner.map(|owner| owner.unit.as_deref().unwrap_or(&owner.name)))
}

/// The section that has this path.
pub fn section_of<'a>(
    mut sections: impl Iterator<Item = (&'a str, &'a Sockets)>,
    path: &Path,
) -> Option<&'a str> {
    sections.find(|(_, sockets)| sockets.is_at(path)).map(|(name, _)| name)
}

/// Something of the switch's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Guarded {
    /// Where.
    pub path: PathBuf,
    /// A socket is connected to, a file is read.
    pub kind: Kind,
    /// What is there.
    pub fact: PathFact,
}

impl Guarded {
    /// Those of these paths that are there. A path that is not to be trusted is no way in for us to judge.
    pub fn among(root: &Root, paths: &[&Path]) -> Vec<Guarded> {
        let one = |path: &&Path| {
            let fact = read_chain(root, path).ok()?;
            let kind = fact.node()?.kind;
            matches!(kind, Kind::Socket | Kind::File).then(|| Guarded {
                path: path.to_path_buf(),
                kind,
                fact,
            })
        };
        paths.iter().filter_map(one).collect()
    }
}
