// SPDX-License-Identifier: Apache-2.0
//! A group's new number, and its files with it. After a kill at any point, the same call finishes the work; so does undoing.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::{Kind, Target, Undone, shadow, tool};
use crate::base::progress::Progress;
use crate::base::root::{self, CAPABILITIES, Root};
use crate::facts::accounts::Accounts;
use crate::facts::carriers::{self, Carrier, SET_ID, Special};
use crate::write;

/// A group's number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renumber {
    /// The group.
    pub group: String,
    /// The number that it must have.
    pub gid: u32,
}

/// What carries a group's number.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Number {
    /// The number now; none where there is no such group.
    pub gid: Option<u32>,
    /// Files with that number, found only where it is not the one asked for.
    pub files: Vec<PathBuf>,
    /// Those of them that lose special bits by it; after a kill, these are restored from here.
    pub special: Vec<Special>,
    /// Files that have the wanted number already, of another group or of none. They keep it at `revert`.
    pub others: Vec<PathBuf>,
    /// Processes with the group's number now, for people: the journal outlives them.
    #[serde(default, skip_serializing)]
    pub processes: Vec<Carrier>,
}

impl Number {
    /// The number that is replaced.
    fn old(&self, item: &Renumber) -> Option<u32> {
        self.gid.filter(|old| *old != item.gid)
    }
}

/// How often the node is searched for files that running processes created meanwhile.
const ROUNDS: usize = 3;

/// Files and processes listed by name in a renumbering; the count is always given.
const LISTED: usize = 20;

impl Kind for Renumber {
    type Found = Number;

    fn target(&self) -> Target {
        Target(format!("number of {}", self.group))
    }

    fn observe(&self, root: &Root, accounts: &Accounts) -> Result<Number> {
        let gid = accounts.group(&self.group).map(|group| group.gid);
        let Some(old) = gid.filter(|now| *now != self.gid) else {
            return Ok(Number { gid, ..Number::default() });
        };
        if let Some(report) = root.report() {
            return Err(report.lacks(&format!("which files have the group {old}")));
        }
        let files = carriers::files(root, old)?;
        Ok(Number {
            gid,
            special: carriers::special(root, &files)?,
            files,
            others: carriers::files(root, self.gid)?,
            processes: carriers::processes(root, old)?,
        })
    }

    fn holds(&self, found: &Number) -> bool {
        found.old(self).is_none()
    }

    fn show(&self, before: &Number, _accounts: &Accounts) -> String {
        let Renumber { group, gid } = self;
        let Number { gid: old, files, processes, .. } = before;
        let old = old.unwrap_or_default();
        let mut text = format!("- group {group} has gid {old}\n");
        let _ = writeln!(text, "+ group {group} has gid {gid}, and its {} files too:", files.len());
        let paths: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
        list(&mut text, &paths);
        if !processes.is_empty() {
            let count = processes.len();
            let _ = writeln!(text, "! {count} processes keep gid {old} until they are restarted:");
            let name = |process: &Carrier| format!("{} (pid {})", process.name, process.pid);
            list(&mut text, &processes.iter().map(name).collect::<Vec<_>>());
        }
        text
    }

    fn writes(&self) -> Vec<PathBuf> {
        vec![PathBuf::from("/etc/group")]
    }

    fn make(&self, root: &Root, before: &Number) -> Result<()> {
        let Some(old) = before.old(self) else { return Ok(()) };
        let _progress = progress("renumbering");
        renumber(root, &self.group, old, self.gid)?;
        regroup(root, &before.files, old, self.gid)?;
        sweep(root, &self.group, old, self.gid, &[])?;
        give_back(root, &before.special, self.gid).map(drop)
    }

    /// Files first, the number last: until the number is restored, the next call sees that work is left.
    fn undo(&self, root: &Root, before: &Number, now: &Number) -> Result<Undone> {
        let (Some(old), Some(now)) = (before.gid, now.gid) else { return Ok(Undone::AlreadyBack) };
        let numbers = if now == self.gid { vec![self.gid] } else { vec![self.gid, now] };
        let _progress = progress("undoing the renumbering");
        let mut changed = false;
        let mut back = |root| -> Result<()> {
            for number in numbers.iter().filter(|number| **number != old) {
                changed |= sweep(root, &self.group, *number, old, &before.others)?;
            }
            Ok(())
        };
        back(root)?;
        let renumbered = renumber(root, &self.group, now, old)? | join(root, &self.group, self.gid, old)?;
        back(root)?;
        changed |= give_back(root, &before.special, old)?;
        if !changed && !renumbered {
            return Ok(Undone::AlreadyBack);
        }
        let expected = now == self.gid || now == old;
        Ok(if expected { Undone::Restored } else { Undone::RestoredOver(format!("gid {now}")) })
    }

    fn clear(&self, root: &Root) -> Result<()> {
        shadow::clear(root)
    }

    /// While processes run with the old number, they create files with it, so the work is not complete.
    fn lingers(&self, root: &Root, before: &Number) -> Result<bool> {
        match before.old(self) {
            Some(old) if is_free(root, &self.group, old)? => Ok(!carriers::processes(root, old)?.is_empty()),
            Some(_) | None => Ok(false),
        }
    }
}

/// Shown while the node is searched for files of the group.
pub fn progress(what: &'static str) -> Progress {
    Progress::show(move || format!("{what}: {} files examined", carriers::looked_at()))
}

fn list(text: &mut String, entries: &[String]) {
    for entry in entries.iter().take(LISTED) {
        let _ = writeln!(text, "  {entry}");
    }
    if entries.len() > LISTED {
        let _ = writeln!(text, "  and {} more", entries.len() - LISTED);
    }
}

fn renumber(root: &Root, group: &str, from: u32, to: u32) -> Result<bool> {
    let differs = Accounts::read(root)?.group(group).is_some_and(|now| now.gid != to);
    if differs {
        if !is_free(root, group, to)? {
            bail!("gid {to} belongs to another group now");
        }
        // Without --non-unique it refuses a number that another source gives the very same group.
        tool::accounts(root, "groupmod", &["--non-unique", "--gid", &to.to_string(), group])?;
    }
    Ok(join(root, group, from, to)? | differs)
}

/// groupmod writes the group before the users whose primary group it is; killed in between, it leaves them with the old number.
fn join(root: &Root, group: &str, from: u32, to: u32) -> Result<bool> {
    if from == to || !is_free(root, group, from)? {
        return Ok(false);
    }
    let accounts = Accounts::read(root)?;
    if accounts.group_by_id(from).is_some() {
        return Ok(false);
    }
    let left_behind = accounts.users_of(from);
    for user in &left_behind {
        tool::accounts(root, "usermod", &["--gid", &to.to_string(), &user.name])?;
    }
    Ok(!left_behind.is_empty())
}

/// Does no other group have the number? Then files with it belong to this group.
fn is_free(root: &Root, group: &str, gid: u32) -> Result<bool> {
    Ok(Accounts::read(root)?.group_by_id(gid).is_none_or(|holder| holder.name == group))
}

/// Searches until no files are found, because processes with the old number may create more.
fn sweep(root: &Root, group: &str, old: u32, new: u32, except: &[PathBuf]) -> Result<bool> {
    let mut changed = false;
    for _ in 0..ROUNDS {
        if !is_free(root, group, old)? {
            break;
        }
        let mut files = carriers::files(root, old)?;
        files.retain(|path| !except.contains(path));
        if files.is_empty() {
            break;
        }
        changed |= regroup(root, &files, old, new)?;
    }
    Ok(changed)
}

fn regroup(root: &Root, files: &[PathBuf], old: u32, new: u32) -> Result<bool> {
    let mut changed = false;
    for path in files {
        // The group is compared on the descriptor, so that a file that someone swapped in is not changed.
        if let Some(found) = root.find_nofollow(path)?.filter(|found| found.gid() == old) {
            write::regroup(&found, new)?;
            changed = true;
        }
    }
    Ok(changed)
}

/// Restores what the kernel took from a file when its group changed.
fn give_back(root: &Root, special: &[Special], gid: u32) -> Result<bool> {
    let mut changed = false;
    for Special { path, mode, capabilities } in special {
        let Some(found) = root.find_nofollow(path)?.filter(|found| found.gid() == gid) else { continue };
        let robbed = found.kind() == root::Kind::File && found.mode() | (mode & SET_ID) == *mode;
        let whole = found.mode() == *mode && found.xattr(CAPABILITIES)? == *capabilities;
        if robbed && !whole {
            write::set_special(&found, *mode, capabilities.as_deref())?;
            changed = true;
        }
    }
    Ok(changed)
}
