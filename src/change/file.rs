// SPDX-License-Identifier: Apache-2.0
//! Whole files: ours, and those put back as they were.

use std::path::Path;

use anyhow::Result;

use super::{Undone, write};
use crate::accord::item::File;
use crate::base::root::Root;
use crate::facts::state::FileState;

pub fn make(root: &Root, item: &File) -> Result<()> {
    let (parent, name) = root.place(&item.path)?;
    write::replace_file(&parent, name, item.content.as_bytes(), &write::FileMeta::plain(0, 0, 0o644))
}

/// Puts new content where `like` was read, with its owner, mode and attributes.
pub fn rewrite(root: &Root, path: &Path, content: &[u8], like: &FileState) -> Result<()> {
    let meta = write::FileMeta { uid: like.uid, gid: like.gid, mode: like.mode, xattrs: like.raw_xattrs()? };
    let (parent, name) = root.place(path)?;
    write::replace_file(&parent, name, content, &meta)
}

/// Removes what a change that was killed left beside the file.
pub fn clear(root: &Root, path: &Path) -> Result<()> {
    let Some(name) = path.file_name() else { return Ok(()) };
    let Some(parent) = path.parent().map(|directory| root.find(directory)).transpose()?.flatten() else {
        return Ok(());
    };
    write::remove_temporary(&parent, name)
}

/// Makes the file what it was, absent included. Does nothing where it is that already.
pub fn restore(root: &Root, path: &Path, before: Option<&FileState>) -> Result<()> {
    clear(root, path)?;
    let now = FileState::read(root, path)?;
    match (before, now) {
        (before, now) if before == now.as_ref() => Ok(()),
        (Some(before), _) => rewrite(root, path, &before.content.to_vec()?, before),
        (None, _) => {
            let (parent, name) = root.place(path)?;
            let Some(found) = parent.entry(name)? else { return Ok(()) };
            write::remove_file(&parent, name, found.id()).map(drop)
        }
    }
}

/// `ours` is what we left there.
pub fn undo(
    root: &Root,
    path: &Path,
    before: Option<&FileState>,
    now: Option<&FileState>,
    ours: &str,
) -> Result<Undone> {
    if before == now {
        return Ok(Undone::AlreadyBack);
    }
    let drifted = now.is_none_or(|now| now.content.text() != ours);
    restore(root, path, before)?;
    Ok(match (drifted, now) {
        (true, Some(now)) => {
            Undone::RestoredOver(format!("an edited file of {} bytes", now.content.to_vec()?.len()))
        }
        _ => Undone::Restored,
    })
}
