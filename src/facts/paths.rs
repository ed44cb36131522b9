// SPDX-License-Identifier: Apache-2.0
//! What stands along a path: each component's owner, mode, ACL and whether its mount is read-only.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::sys::statvfs::{self, FsFlags};
use serde::{Deserialize, Serialize};

use super::mounts;
use crate::access::{Acl, Node};
use crate::base::root::{Handle, Kind, Reached, Root};

/// What was found at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathFact {
    /// There is nothing.
    Missing {
        /// The first component that is not there, symlinks before it resolved.
        first: PathBuf,
        /// What was passed on the way to it: the last one is the directory in which it would have to be made.
        above: Vec<Node>,
    },
    /// It is there.
    Present {
        /// Every directory passed on the way, the root first, and the thing itself.
        chain: Vec<Node>,
        /// Device and inode of the thing itself.
        id: (u64, u64),
    },
}

impl PathFact {
    /// The thing itself, when it is there.
    pub fn node(&self) -> Option<&Node> {
        match self {
            PathFact::Missing { .. } => None,
            PathFact::Present { chain, .. } => chain.last(),
        }
    }
}

/// Reads what stands along `path`. An error is a component that could not be examined, or [`crate::base::root::UnsafePath`].
pub fn read_chain(root: &Root, path: &Path) -> Result<PathFact> {
    chain_of(&root.reach(path)?, path)
}

/// The same of a path that was followed already.
pub fn chain_of(reached: &Reached, path: &Path) -> Result<PathFact> {
    let nodes = reached.passed.iter().map(read_node).collect::<Result<Vec<_>>>()?;
    match (&reached.missing, reached.passed.last()) {
        (None, Some(last)) => Ok(PathFact::Present { chain: nodes, id: last.id() }),
        (missing, _) => Ok(PathFact::Missing {
            first: missing.clone().unwrap_or_else(|| path.to_path_buf()),
            above: nodes,
        }),
    }
}

/// What is in the same few directories, each of them followed once.
#[derive(Debug, Default)]
pub struct Neighbours(HashMap<PathBuf, Option<(Handle, Vec<Node>)>>);

impl Neighbours {
    /// As [`read_chain`], and the thing itself where it is there and no symlink led to it in its directory.
    pub fn read(&mut self, root: &Root, path: &Path) -> Result<(PathFact, Option<Handle>)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok((read_chain(root, path)?, None));
        };
        if !self.0.contains_key(parent) {
            self.0.insert(parent.to_path_buf(), follow(root, parent)?);
        }
        let Some(Some((directory, above))) = self.0.get(parent) else {
            return Ok((read_chain(root, path)?, None));
        };
        match directory.entry(name)? {
            Some(entry) if entry.kind() == Kind::Symlink => Ok((read_chain(root, path)?, None)),
            Some(entry) => {
                let chain = above.iter().cloned().chain([read_node(&entry)?]).collect();
                Ok((PathFact::Present { chain, id: entry.id() }, Some(entry)))
            }
            None => {
                let first = directory.path().join(name);
                Ok((PathFact::Missing { first, above: above.clone() }, None))
            }
        }
    }
}

/// A directory and what was passed on the way to it; `None` for what is none.
fn follow(root: &Root, path: &Path) -> Result<Option<(Handle, Vec<Node>)>> {
    let reached = root.reach(path)?;
    let PathFact::Present { chain, .. } = chain_of(&reached, path)? else { return Ok(None) };
    Ok(reached.end().filter(|end| end.kind() == Kind::Directory).map(|end| (end, chain)))
}

/// What access is decided by, of one thing that was found.
pub fn read_node(handle: &Handle) -> Result<Node> {
    handle.known()?;
    let path = handle.path().to_path_buf();
    let acl = Acl::of(handle, Acl::ACCESS)?;
    let (kind, uid, gid, mode) = (handle.kind(), handle.uid(), handle.gid(), handle.mode());
    // Nothing of a socket is stored on its mount, and a node has thousands.
    let read_only = kind != Kind::Socket && is_read_only(handle)?;
    Ok(Node { path, kind, uid, gid, mode, acl, read_only })
}

/// The mount's flag and the filesystem's own are one in the answer (`calculate_f_flags`, fs/statfs.c).
fn is_read_only(handle: &Handle) -> Result<bool> {
    if let Some(report) = handle.report() {
        return mounts::is_read_only(report.file("/proc/1/mountinfo")?.as_bytes(), handle.path());
    }
    let state = statvfs::fstatvfs(handle.fd())
        .with_context(|| format!("reading the mount state of {}", handle.path().display()))?;
    Ok(state.flags().contains(FsFlags::ST_RDONLY))
}
