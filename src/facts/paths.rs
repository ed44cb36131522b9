// SPDX-License-Identifier: Apache-2.0
//! What stands along a path: each component's owner, mode, ACL and whether its mount is read-only.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::sys::statvfs::{self, FsFlags};
use serde::Serialize;

use crate::access::{Acl, Node};
use crate::root::{Handle, Reached, Root};

/// What was found at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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

/// Reads what stands along `path`. An error is a component that could not be examined, or [`crate::root::UnsafePath`].
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

/// What access is decided by, of one thing that was found.
pub fn read_node(handle: &Handle) -> Result<Node> {
    let path = handle.path().to_path_buf();
    let acl = handle.xattr(Acl::ACCESS)?.map(|bytes| Acl::parse(&bytes));
    let acl = acl.transpose().with_context(|| format!("reading the ACL of {}", path.display()))?;
    let (kind, uid, gid, mode) = (handle.kind(), handle.uid(), handle.gid(), handle.mode());
    Ok(Node { path, kind, uid, gid, mode, acl, read_only: is_read_only(handle)? })
}

/// The mount's flag and the filesystem's own are one in the answer (`calculate_f_flags`, fs/statfs.c).
fn is_read_only(handle: &Handle) -> Result<bool> {
    let state = statvfs::fstatvfs(handle.fd())
        .with_context(|| format!("reading the mount state of {}", handle.path().display()))?;
    Ok(state.flags().contains(FsFlags::ST_RDONLY))
}
