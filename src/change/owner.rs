// SPDX-License-Identifier: Apache-2.0
//! Owner, group and mode; a directory that is missing.

use anyhow::{Context, Result};

use super::{Undone, write};
use crate::accord::item::{Absent, Owner};
use crate::base::root::{Handle, Kind, Root};
use crate::facts::state::OwnerState;

const NEW_DIRECTORY_MODE: u32 = 0o755;

pub fn make(root: &Root, item: &Owner) -> Result<()> {
    match root.find_nofollow(&item.path)? {
        Some(found) if item.absent == Absent::Create && found.kind() != Kind::Directory => {
            Err(write::refused(&item.path, "not a directory; move it away"))
        }
        Some(found) => write::set_owner_mode(&found, item.uid, item.gid, item.mode).map(drop),
        None if item.absent == Absent::Create => {
            let (parent, name) = root.place(&item.path)?;
            let (uid, gid) = (item.uid.unwrap_or(0), item.gid.unwrap_or(0));
            let mode = item.mode.unwrap_or(NEW_DIRECTORY_MODE);
            write::create_directory(&parent, name, uid, gid, mode).map(drop)
        }
        None => Ok(()),
    }
}

pub fn undo(
    root: &Root,
    item: &Owner,
    before: Option<&OwnerState>,
    now: Option<&OwnerState>,
) -> Result<Undone> {
    let (Some(_), Some(found)) = (now, root.find_nofollow(&item.path)?) else {
        return Ok(Undone::AlreadyBack);
    };
    let Some(before) = before else { return remove(root, item, &found) };
    if found.kind() != before.kind {
        return Ok(Undone::Left("the path is something else now".to_string()));
    }
    let drifted = !holds(item, &found);
    let changed = write::set_owner_mode(&found, Some(before.uid), Some(before.gid), Some(before.mode))?;
    Ok(match (changed, drifted) {
        (false, _) => Undone::AlreadyBack,
        (true, false) => Undone::Restored,
        (true, true) => Undone::RestoredOver(format!("{}:{} {:04o}", found.uid(), found.gid(), found.mode())),
    })
}

fn holds(item: &Owner, found: &Handle) -> bool {
    item.uid.is_none_or(|uid| uid == found.uid())
        && item.gid.is_none_or(|gid| gid == found.gid())
        && item.mode.is_none_or(|mode| mode == found.mode())
}

/// A directory that we made goes when it is empty; what others put into it is not ours to remove.
fn remove(root: &Root, item: &Owner, found: &Handle) -> Result<Undone> {
    if found.kind() != Kind::Directory {
        return Ok(Undone::Left("no longer the directory that apply created".to_string()));
    }
    let entries = found.names()?.len();
    if entries > 0 {
        return Ok(Undone::InUse(format!("not empty ({entries} inside)")));
    }
    let (parent, name) = root.place(&item.path)?;
    write::remove_empty_directory(&parent, name).context("removing what apply created")?;
    Ok(Undone::Restored)
}
