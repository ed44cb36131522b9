// SPDX-License-Identifier: Apache-2.0
//! Sockets of VMs, and the directories that they are in.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde::{Deserialize, Serialize};

use super::Owner;
use crate::access::{Acl, Node};
use crate::base::root::{Handle, Kind, Reached, Root};
use crate::facts::Known;
use crate::facts::domains::Endpoint;
use crate::facts::paths::{PathFact, chain_of, read_node};
use crate::facts::sockets::{self, Liveness};

/// A directory that sockets of the VM are in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// As written.
    pub path: PathBuf,
    /// What is there.
    pub fact: Known<PathFact>,
    /// What new entries get.
    pub default_acl: Option<Acl>,
}

/// A socket of the VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// What it is for.
    pub endpoint: Endpoint,
    /// Its path as written.
    pub path: PathBuf,
    /// The number of its directory.
    pub directory: usize,
    /// What is there.
    pub node: Option<Node>,
    /// Its device and inode.
    pub id: Option<(u64, u64)>,
    /// Who is behind it.
    pub liveness: Liveness,
    /// The process that listens at it, or is told to use it, where that is not the switch;
    /// looked for where it matters.
    pub other: Option<Owner>,
}

/// What is at a socket's path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// The thing itself.
    pub node: Option<Node>,
    /// Its device and inode, which mean nothing on another node.
    #[serde(skip)]
    pub id: Option<(u64, u64)>,
    /// Who is behind it.
    pub liveness: Liveness,
}

/// A directory as it was read, and held.
pub type Held = (Directory, Option<Handle>);

/// The sockets of these endpoints and the directories they are in, each once.
pub fn places(
    endpoints: &[Endpoint],
    directory: impl Fn(&Path) -> Directory,
    sight: impl Fn(&Directory, &Path) -> Sight,
) -> (Vec<Directory>, Vec<Socket>) {
    let mut directories: Vec<Directory> = Vec::new();
    let mut found = Vec::new();
    for endpoint in endpoints {
        let Some(path) = endpoint.path.clone() else { continue };
        let parent = path.parent().unwrap_or(Path::new("/"));
        let known = directories.iter().position(|other| other.path == parent);
        let number = known.unwrap_or(directories.len());
        if known.is_none() {
            directories.push(directory(parent));
        }
        let Sight { node, id, liveness } = sight(&directories[number], &path);
        let endpoint = endpoint.clone();
        found.push(Socket { endpoint, path, directory: number, node, id, liveness, other: None });
    }
    (directories, found)
}

/// What stands along the path of a directory, and the directory itself.
pub fn read_directory(root: &Root, path: PathBuf) -> Held {
    let reached = root.reach(&path);
    let fact =
        reached.as_ref().map_err(|error| anyhow!("{error:#}")).and_then(|reached| chain_of(reached, &path));
    let fact = Known::from(fact);
    let found = reached.ok().and_then(Reached::end);
    let handle = found.filter(|handle| handle.kind() == Kind::Directory);
    let default_acl = handle.as_ref().and_then(|handle| Acl::of(handle, Acl::DEFAULT).ok()?);
    (Directory { path, fact, default_acl }, handle)
}

/// What is at a path in a directory that is held.
pub fn look_at(directory: &Directory, handle: Option<&Handle>, path: &Path) -> Sight {
    let nothing = |liveness| Sight { node: None, id: None, liveness };
    let (directory, name) = match (&directory.fact, handle, path.file_name()) {
        (Known::Unknown(why), ..) => return nothing(Liveness::Unknown(why.clone())),
        (_, Some(directory), Some(name)) => (directory, name),
        _ => return nothing(Liveness::Missing),
    };
    match directory.entry(name) {
        Ok(Some(entry)) => {
            // Whoever may write the directory chooses where a link leads: it is not followed, and nothing is said of it.
            let liveness = match entry.kind() {
                Kind::Symlink => Liveness::Unknown("a symlink".to_string()),
                _ => sockets::liveness_of(&entry),
            };
            Sight { node: read_node(&entry).ok(), id: Some(entry.id()), liveness }
        }
        Ok(None) => nothing(Liveness::Missing),
        Err(error) => nothing(Liveness::Unknown(format!("{error:#}"))),
    }
}
