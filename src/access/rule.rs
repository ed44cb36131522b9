// SPDX-License-Identifier: Apache-2.0
//! The rule itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::verdict::{Denial, Why, lacking};
use super::{Acl, CAP_DAC_READ_SEARCH, CAP_FOWNER, Identity, Perm};
use crate::base::root::Kind;

/// The sticky bit (`S_ISVTX`).
const STICKY: u32 = 0o1000;
/// Execute for anyone (`S_IXUGO`).
const EXECUTE_ANY: u32 = 0o111;
/// The group's bits (`S_IRWXG`), which are the mask where there is an ACL.
const GROUP_BITS: u32 = 0o070;

/// One component of a path, with all that the kernel asks about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its path in the node, symlinks resolved.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permission bits, setuid, setgid and sticky included.
    pub mode: u32,
    /// The access ACL, where it has one.
    pub acl: Option<Acl>,
    /// True when it was reached through a read-only mount or is on a read-only filesystem.
    pub read_only: bool,
}

/// What somebody wants of the last component of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// Pass through a directory.
    Search,
    /// Read a file, list a directory.
    Read,
    /// Make an entry in a directory: a file, a directory, a socket (`bind`).
    Create,
    /// Connect to a Unix socket. (To anything else the kernel answers `ECONNREFUSED`, which is no matter of permission.)
    Connect,
    /// Remove it from the directory before it in the chain.
    Remove,
}

/// May `identity` do what it wants with the last component of `chain`? `chain` has every directory on the way, the root first.
/// The error says which component denies it.
pub fn may(identity: &Identity, chain: &[Node], wish: Wish) -> Result<(), Denial> {
    first_denial(identity, chain, wish).map_or(Ok(()), Err)
}

fn first_denial(identity: &Identity, chain: &[Node], wish: Wish) -> Option<Denial> {
    let Some((last, above)) = chain.split_last() else { return Some(Denial::no_path()) };
    let asked = |index: usize, perm| {
        let node = chain.get(index)?;
        refusal(identity, node, perm).map(|(missing, why)| Denial::new(index, node, missing, why))
    };
    let searched = if wish == Wish::Remove { above.len().saturating_sub(1) } else { above.len() };
    if let Some(denial) = (0..searched).find_map(|index| asked(index, Perm::EXECUTE)) {
        return Some(denial);
    }
    match wish {
        Wish::Search => asked(above.len(), Perm::EXECUTE),
        Wish::Read => asked(above.len(), Perm::READ),
        Wish::Connect => asked(above.len(), Perm::WRITE),
        Wish::Create => asked(above.len(), Perm::WRITE | Perm::EXECUTE),
        Wish::Remove => match above.last() {
            Some(parent) => asked(searched, Perm::WRITE | Perm::EXECUTE).or_else(|| {
                sticky(identity, parent, last).map(|why| Denial::new(searched, parent, Perm::WRITE, why))
            }),
            None => Some(Denial::new(0, last, Perm::WRITE, Why::NoParent)),
        },
    }
}

/// `check_sticky` (fs/namei.c): who may remove `entry` from `directory`, once the directory may be written.
fn sticky(identity: &Identity, directory: &Node, entry: &Node) -> Option<Why> {
    let free = directory.mode & STICKY == 0;
    let owns = identity.uid == entry.uid || identity.uid == directory.uid;
    if free || owns || identity.has(CAP_FOWNER) { None } else { Some(Why::Sticky { owner: entry.uid }) }
}

/// `inode_permission` (fs/namei.c) for one component, whatever the path to it allows: which permission is missing and why;
/// `None` if none is.
pub fn refusal(identity: &Identity, node: &Node, wanted: Perm) -> Option<(Perm, Why)> {
    // Sockets, FIFOs and devices live elsewhere: a read-only filesystem does not keep anyone from using them.
    let stored_here = matches!(node.kind, Kind::Directory | Kind::File | Kind::Symlink);
    if node.read_only && stored_here && wanted.contains(Perm::WRITE) {
        return Some((Perm::WRITE, Why::ReadOnly));
    }
    class_refusal(identity, node, wanted).filter(|_| !overrides(identity, node, wanted))
}

/// `acl_permission_check`: the first class that the identity belongs to decides, even if a later one would give more.
fn class_refusal(identity: &Identity, node: &Node, wanted: Perm) -> Option<(Perm, Why)> {
    if identity.uid == node.uid {
        return lacking(wanted, Perm::from_bits(node.mode >> 6), Why::Owner);
    }
    // With an empty mask the kernel does not even look at the ACL: those it names then count as others.
    if let Some(acl) = node.acl.as_ref().filter(|_| node.mode & GROUP_BITS != 0) {
        return acl.refusal(identity, node.gid, wanted);
    }
    if identity.in_group(node.gid) {
        return lacking(wanted, Perm::from_bits(node.mode >> 3), Why::Group);
    }
    lacking(wanted, Perm::from_bits(node.mode), Why::Other)
}

/// `generic_permission`: a capability overrides the whole of what is wanted, or nothing of it.
fn overrides(identity: &Identity, node: &Node, wanted: Perm) -> bool {
    if node.kind == Kind::Directory {
        let searches = identity.has(CAP_DAC_READ_SEARCH) && !wanted.contains(Perm::WRITE);
        return searches || identity.has_dac_override();
    }
    let reads = identity.has(CAP_DAC_READ_SEARCH) && wanted == Perm::READ;
    let executable = !wanted.contains(Perm::EXECUTE) || node.mode & EXECUTE_ANY != 0;
    reads || (identity.has_dac_override() && executable)
}
