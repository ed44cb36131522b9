// SPDX-License-Identifier: Apache-2.0
//! Owner, group and mode of what is at a path; a directory that is missing.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Kind, Target, Undone, text};
use crate::access::owner_text;
use crate::base::root::{self, Handle, Root};
use crate::facts::accounts::Accounts;
use crate::write;

/// What a path is to the accord: findings are named after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A directory above the socket directory.
    Parent,
    /// Where QEMU makes its sockets.
    SocketDirectory,
    /// The root of a hugetlbfs mount.
    Hugepages,
    /// OVS's run directory.
    RunDirectory,
    /// OVS's database, configuration or logs.
    DataplaneState,
    /// The database's socket, where systemd creates it.
    DatabaseSocket,
}

/// What to do where nothing is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Absent {
    /// Create the directory.
    Create,
    /// Nothing: whoever creates it gives it the right owner.
    Fine,
}

/// Owner, group and mode of what is at a path. `None` leaves that part as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Where.
    pub path: PathBuf,
    /// What it is to us.
    pub subject: Subject,
    /// The owner.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
    /// The permission bits with setgid.
    pub mode: Option<u32>,
    /// Where nothing is there.
    pub absent: Absent,
}

/// Owner, group and mode as they were found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerState {
    /// What it is.
    pub kind: root::Kind,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits.
    pub mode: u32,
}

impl OwnerState {
    /// Of something that was found, which may not be known in a report.
    fn read(handle: &Handle) -> Result<OwnerState> {
        handle.known().map(OwnerState::of)
    }

    /// Of something that was found.
    pub fn of(handle: &Handle) -> OwnerState {
        OwnerState { kind: handle.kind(), uid: handle.uid(), gid: handle.gid(), mode: handle.mode() }
    }
}

/// Of a directory that is created and whose mode is not asked for.
const NEW_DIRECTORY_MODE: u32 = 0o755;

impl Owner {
    /// Is it the dataplane's own state, whose owner changes with its identity?
    pub fn is_state(&self) -> bool {
        matches!(self.subject, Subject::DataplaneState | Subject::RunDirectory | Subject::DatabaseSocket)
    }

    /// Are the owner, group and mode that are wanted those that were found?
    fn is_of(&self, found: &OwnerState) -> bool {
        self.uid.is_none_or(|uid| uid == found.uid)
            && self.gid.is_none_or(|gid| gid == found.gid)
            && self.mode.is_none_or(|mode| mode == found.mode)
    }

    /// Removes a directory that we created if it is empty; what others put into it stays.
    fn remove(&self, root: &Root, found: &Handle) -> Result<Undone> {
        if found.kind() != root::Kind::Directory {
            return Ok(Undone::Left("no longer the directory that apply created".to_string()));
        }
        let entries = found.names()?.len();
        if entries > 0 {
            return Ok(Undone::InUse(format!("not empty ({entries} inside)")));
        }
        let (parent, name) = root.place(&self.path)?;
        write::remove_empty_directory(&parent, name).context("removing what apply created")?;
        Ok(Undone::Restored)
    }
}

impl Kind for Owner {
    type Found = Option<OwnerState>;

    fn target(&self) -> Target {
        Target(format!("owner of {}", self.path.display()))
    }

    fn observe(&self, root: &Root, _accounts: &Accounts) -> Result<Self::Found> {
        let found = match self.subject {
            // A parent directory may be a symlink that root made.
            Subject::Parent => root.find(&self.path)?,
            // The mount root or directory itself must be none: someone could direct us elsewhere with a link.
            _ => root.find_nofollow(&self.path)?,
        };
        found.as_ref().map(OwnerState::read).transpose()
    }

    fn holds(&self, found: &Self::Found) -> bool {
        let Some(found) = found else { return self.absent == Absent::Fine };
        // A symlink in place of a file is not changed: its target is an item of its own.
        if self.absent == Absent::Fine && found.kind == root::Kind::Symlink {
            return true;
        }
        if self.absent == Absent::Create && found.kind != root::Kind::Directory {
            return false;
        }
        self.is_of(found)
    }

    fn show(&self, before: &Self::Found, accounts: &Accounts) -> String {
        let path = self.path.display();
        let now = before.as_ref().map(|found| owner_text(accounts, found.uid, found.gid, found.mode));
        let base = before.as_ref().map_or((0, 0, 0o755), |found| (found.uid, found.gid, found.mode));
        let (uid, gid, mode) =
            (self.uid.unwrap_or(base.0), self.gid.unwrap_or(base.1), self.mode.unwrap_or(base.2));
        let mut after = owner_text(accounts, uid, gid, mode);
        if now.as_ref() == Some(&after) {
            // Two numbers with one name, as during a renumbering.
            after = format!("{uid}:{gid} {mode:04o}");
        }
        match now {
            Some(now) => format!("- {path}  {now}\n+ {path}  {after}\n"),
            None => format!("+ {path}/  {after}\n"),
        }
    }

    fn writes(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn make(&self, root: &Root, _before: &Self::Found) -> Result<()> {
        match root.find_nofollow(&self.path)? {
            Some(found) if self.absent == Absent::Create && found.kind() != root::Kind::Directory => {
                Err(write::refused(&self.path, "not a directory; move it away"))
            }
            Some(found) => write::set_owner_mode(&found, self.uid, self.gid, self.mode).map(drop),
            None if self.absent == Absent::Create => {
                let (parent, name) = root.place(&self.path)?;
                let (uid, gid) = (self.uid.unwrap_or(0), self.gid.unwrap_or(0));
                let mode = self.mode.unwrap_or(NEW_DIRECTORY_MODE);
                write::create_directory(&parent, name, uid, gid, mode).map(drop)
            }
            None => Ok(()),
        }
    }

    fn undo(&self, root: &Root, before: &Self::Found, now: &Self::Found) -> Result<Undone> {
        let (Some(_), Some(found)) = (now, root.find_nofollow(&self.path)?) else {
            return Ok(Undone::AlreadyBack);
        };
        let Some(before) = before else { return self.remove(root, &found) };
        if found.kind() != before.kind {
            return Ok(Undone::Left("the path is something else now".to_string()));
        }
        let drifted = !self.is_of(&OwnerState::of(&found));
        let changed = write::set_owner_mode(&found, Some(before.uid), Some(before.gid), Some(before.mode))?;
        Ok(match (changed, drifted) {
            (false, _) => Undone::AlreadyBack,
            (true, false) => Undone::Restored,
            (true, true) => {
                Undone::RestoredOver(format!("{}:{} {:04o}", found.uid(), found.gid(), found.mode()))
            }
        })
    }

    fn clear(&self, root: &Root) -> Result<()> {
        match self.absent {
            Absent::Create => text::clear(root, &self.path),
            Absent::Fine => Ok(()),
        }
    }
}
