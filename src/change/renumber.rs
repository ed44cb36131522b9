// SPDX-License-Identifier: Apache-2.0
//! A group's new number, and its files with it. Killed half-way, the same call with the same list finishes the work.

use std::path::PathBuf;

use anyhow::Result;

use super::{Undone, tool, write};
use crate::accord::item::Renumber;
use crate::facts::accounts::Accounts;
use crate::facts::carriers;
use crate::root::Root;

/// `old` is the number `files` were found with.
pub fn make(root: &Root, item: &Renumber, old: Option<u32>, files: &[PathBuf]) -> Result<()> {
    let Some(old) = old else { return Ok(()) };
    renumber(root, &item.group, item.gid)?;
    regroup(root, files, old, item.gid)
}

pub fn undo(root: &Root, item: &Renumber, before: Option<u32>, now: Option<u32>) -> Result<Undone> {
    let (Some(before), Some(now)) = (before, now) else { return Ok(Undone::AlreadyBack) };
    if before == now {
        return Ok(Undone::AlreadyBack);
    }
    let files = carriers::files(root, now)?;
    renumber(root, &item.group, before)?;
    regroup(root, &files, now, before)?;
    Ok(if now == item.gid { Undone::Restored } else { Undone::RestoredOver(format!("gid {now}")) })
}

fn renumber(root: &Root, group: &str, gid: u32) -> Result<()> {
    if Accounts::read(root)?.group(group).is_some_and(|now| now.gid == gid) {
        return Ok(());
    }
    tool::accounts(root, "groupmod", &["--gid", &gid.to_string(), group])
}

fn regroup(root: &Root, files: &[PathBuf], old: u32, new: u32) -> Result<()> {
    for path in files {
        // The group is compared on the descriptor: a name that someone swapped meanwhile changes nothing else.
        if let Some(found) = root.find_nofollow(path)?.filter(|found| found.gid() == old) {
            write::regroup(&found, new)?;
        }
    }
    Ok(())
}
