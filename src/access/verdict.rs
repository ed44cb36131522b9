// SPDX-License-Identifier: Apache-2.0
//! The answer, and where it was decided.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::{AclEntry, Node, Perm};
use crate::base::root::Kind;

/// What users and groups are called, for messages.
pub trait Names {
    /// The name of a user, or the number where it has none.
    fn user(&self, uid: u32) -> String;
    /// The name of a group, or the number where it has none.
    fn group(&self, gid: u32) -> String;
}

/// Names nobody: numbers stay numbers.
#[derive(Debug, Clone, Copy)]
pub struct Numbers;

impl Names for Numbers {
    fn user(&self, uid: u32) -> String {
        uid.to_string()
    }

    fn group(&self, gid: u32) -> String {
        gid.to_string()
    }
}

/// The first component at which the kernel says no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Denial {
    /// Its place in the chain that was asked about.
    pub component: usize,
    /// Its path.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its mode.
    pub mode: u32,
    /// What it would have to grant and does not.
    pub missing: Perm,
    /// What decided.
    pub why: Why,
}

/// What decided that something is denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It is the owner, and the owner's bits are final.
    Owner,
    /// It is in the owning group, and there is no ACL.
    Group,
    /// It is neither the owner nor in a group that has a say.
    Other,
    /// The ACL entry of this very user grants too little, and is final.
    AclUser {
        /// That entry.
        entry: AclEntry,
    },
    /// An ACL entry would grant it, but the mask takes it away.
    AclMask {
        /// The entry that would.
        entry: AclEntry,
        /// The mask.
        mask: Perm,
    },
    /// None of the ACL entries for its groups grants all of it.
    AclGroups {
        /// Those entries.
        entries: Vec<AclEntry>,
    },
    /// The mount or the filesystem is read-only.
    ReadOnly,
    /// The directory is sticky, and neither it nor the entry is theirs.
    Sticky {
        /// The entry's owner.
        owner: u32,
    },
    /// The root directory cannot be removed.
    NoParent,
    /// There was no path to decide about.
    NoPath,
}

impl Denial {
    pub(super) fn new(component: usize, node: &Node, missing: Perm, why: Why) -> Denial {
        let Node { path, kind, uid, gid, mode, .. } = node;
        Denial { component, path: path.clone(), kind: *kind, uid: *uid, gid: *gid, mode: *mode, missing, why }
    }

    pub(super) fn no_path() -> Denial {
        let (path, kind, missing, why) = (PathBuf::new(), Kind::Other, Perm::NONE, Why::NoPath);
        Denial { component: 0, path, kind, uid: 0, gid: 0, mode: 0, missing, why }
    }

    /// The path, whose it is, and what decided, in one line.
    pub fn text(&self, names: &dyn Names) -> String {
        if self.why == Why::NoPath {
            return "there is no such path".to_string();
        }
        let owner = owner_text(names, self.uid, self.gid, self.mode);
        format!("{} is {owner}: {}", self.path.display(), self.reason(names))
    }

    fn reason(&self, names: &dyn Names) -> String {
        let verbs = self.missing.verbs(self.kind);
        match &self.why {
            Why::Owner => format!("its owner may not {verbs}, whatever others may"),
            Why::Group => format!("its group may not {verbs}"),
            Why::Other => format!("neither owner nor in its group, and others may not {verbs}"),
            Why::AclUser { entry } => format!("the ACL entry {} does not grant {verbs}", entry.text(names)),
            Why::AclMask { entry, mask } => {
                format!("the ACL mask {mask} takes {verbs} from the entry {}", entry.text(names))
            }
            Why::AclGroups { entries } => {
                let entries: Vec<_> = entries.iter().map(|entry| entry.text(names)).collect();
                format!("no ACL entry of its groups ({}) grants {verbs}", entries.join(", "))
            }
            Why::ReadOnly => "it is on a read-only mount".to_string(),
            Why::Sticky { owner } => {
                let (entry, directory) = (names.user(*owner), names.user(self.uid));
                format!("it is sticky, so that only {entry} and {directory} may remove what is {entry}'s")
            }
            Why::NoParent => "it is the root and cannot be removed".to_string(),
            Why::NoPath => String::new(),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&Numbers))
    }
}

/// `owner:group mode`, with names where there are any.
pub fn owner_text(names: &dyn Names, uid: u32, gid: u32, mode: u32) -> String {
    format!("{}:{} {mode:04o}", names.user(uid), names.group(gid))
}

/// What of `wanted` is not in `granted`, and why; `None` when all is.
pub(super) fn lacking(wanted: Perm, granted: Perm, why: Why) -> Option<(Perm, Why)> {
    let missing = wanted.without(granted);
    (!missing.is_empty()).then_some((missing, why))
}
