// SPDX-License-Identifier: Apache-2.0
//! A group's new number, and its files with it. Killed anywhere, the same call finishes the work, and so does the way back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::{Undone, file, tool, write};
use crate::accord::item::Renumber;
use crate::facts::accounts::Accounts;
use crate::facts::carriers::{self, CAPABILITIES, SET_ID, Special};
use crate::facts::state::FileState;
use crate::report::progress;
use crate::root::{Kind, Root};

/// How often the node is searched for files that a running process made meanwhile.
const ROUNDS: usize = 3;

/// `old` is the number `files` were found with.
pub fn make(
    root: &Root,
    item: &Renumber,
    old: Option<u32>,
    files: &[PathBuf],
    special: &[Special],
) -> Result<()> {
    let Some(old) = old.filter(|old| *old != item.gid) else { return Ok(()) };
    let _progress = progress::of_search("renumbering");
    renumber(root, &item.group, old, item.gid)?;
    regroup(root, files, old, item.gid)?;
    sweep(root, &item.group, old, item.gid, &[])?;
    give_back(root, special, item.gid).map(drop)
}

/// Whether processes still run with the old number: what they make has it, so the work is not done before they end.
pub fn lingers(root: &Root, item: &Renumber, old: Option<u32>) -> Result<bool> {
    match old.filter(|old| *old != item.gid) {
        Some(old) if is_free(root, &item.group, old)? => Ok(!carriers::processes(root, old)?.is_empty()),
        Some(_) | None => Ok(false),
    }
}

/// What was there before `apply`.
#[derive(Debug, Clone, Copy)]
pub struct Before<'a> {
    /// The group's number.
    pub gid: Option<u32>,
    /// Files that lose more than their group.
    pub special: &'a [Special],
    /// Files that had the number asked for and were none of the group's.
    pub others: &'a [PathBuf],
    /// The backups of the databases.
    pub backups: &'a BTreeMap<PathBuf, Option<FileState>>,
}

/// Files first, the number last: until it is back, the next call sees that there is work left.
pub fn undo(root: &Root, item: &Renumber, before: Before<'_>, now: Option<u32>) -> Result<Undone> {
    let (Some(old), Some(now)) = (before.gid, now) else { return Ok(Undone::AlreadyBack) };
    let numbers = if now == item.gid { vec![item.gid] } else { vec![item.gid, now] };
    let _progress = progress::of_search("renumbering back");
    let mut changed = false;
    let mut back = |root| -> Result<()> {
        for number in numbers.iter().filter(|number| **number != old) {
            changed |= sweep(root, &item.group, *number, old, before.others)?;
        }
        Ok(())
    };
    back(root)?;
    let renumbered = renumber(root, &item.group, now, old)? | join(root, &item.group, item.gid, old)?;
    back(root)?;
    changed |= give_back(root, before.special, old)?;
    // Whatever was done before: one that was killed in here has this still to do.
    for (path, state) in before.backups {
        file::restore(root, path, state.as_ref())?;
    }
    if !changed && !renumbered {
        return Ok(Undone::AlreadyBack);
    }
    let expected = now == item.gid || now == old;
    Ok(if expected { Undone::Restored } else { Undone::RestoredOver(format!("gid {now}")) })
}

fn renumber(root: &Root, group: &str, from: u32, to: u32) -> Result<bool> {
    let differs = Accounts::read(root)?.group(group).is_some_and(|now| now.gid != to);
    if differs {
        if !is_free(root, group, to)? {
            bail!("gid {to} belongs to another group by now");
        }
        // Without --non-unique it refuses a number that another source gives the very same group.
        tool::accounts(root, "groupmod", &["--non-unique", "--gid", &to.to_string(), group])?;
    }
    Ok(join(root, group, from, to)? | differs)
}

/// groupmod writes the group before the users that have it as their primary one: killed between, it leaves them behind.
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

/// No group but this one has the number: its files are this one's.
fn is_free(root: &Root, group: &str, gid: u32) -> Result<bool> {
    Ok(Accounts::read(root)?.group_by_id(gid).is_none_or(|holder| holder.name == group))
}

/// Looks for files until there are none: processes with the old number go on making them.
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
        // The group is compared on the descriptor: a name that someone swapped meanwhile changes nothing else.
        if let Some(found) = root.find_nofollow(path)?.filter(|found| found.gid() == old) {
            write::regroup(&found, new)?;
            changed = true;
        }
    }
    Ok(changed)
}

/// What the kernel took from a file whose change of hands was killed in the middle.
fn give_back(root: &Root, special: &[Special], gid: u32) -> Result<bool> {
    let mut changed = false;
    for Special { path, mode, capabilities } in special {
        let Some(found) = root.find_nofollow(path)?.filter(|found| found.gid() == gid) else { continue };
        let robbed = found.kind() == Kind::File && found.mode() | (mode & SET_ID) == *mode;
        let whole = found.mode() == *mode && found.xattr(CAPABILITIES)? == *capabilities;
        if robbed && !whole {
            write::set_special(&found, *mode, capabilities.as_deref())?;
            changed = true;
        }
    }
    Ok(changed)
}
