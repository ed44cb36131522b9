// SPDX-License-Identifier: Apache-2.0
//! What the kinds that change a file have in common.

use std::path::Path;

use anyhow::{Context, Result};

use super::diff::hunks;
use super::{FileState, Undone};
use crate::base::root::Root;
use crate::write;

/// Edits the text of a foreign file, which must exist; true if it became another.
pub fn edit(root: &Root, path: &Path, new: impl FnOnce(&str) -> Result<String>) -> Result<bool> {
    let state =
        FileState::read(root, path)?.with_context(|| format!("{} no longer exists", path.display()))?;
    let text = String::from_utf8(state.content.to_vec()?)
        .with_context(|| format!("{} is not UTF-8 text", path.display()))?;
    let new = new(&text)?;
    let differs = new != text;
    if differs {
        rewrite(root, path, new.as_bytes(), &state)?;
    }
    Ok(differs)
}

/// Puts new content where `like` was read, with its owner, mode and attributes.
fn rewrite(root: &Root, path: &Path, content: &[u8], like: &FileState) -> Result<()> {
    let meta = write::FileMeta { uid: like.uid, gid: like.gid, mode: like.mode, xattrs: like.raw_xattrs()? };
    let (parent, name) = root.place(path)?;
    write::replace_file(&parent, name, content, &meta)
}

/// The same, to undo a change.
pub fn put_back(root: &Root, path: &Path, new: impl FnOnce(&str) -> Result<String>) -> Result<Undone> {
    Ok(if edit(root, path, new)? { Undone::Restored } else { Undone::AlreadyBack })
}

/// Removes what a change that was killed left beside the file.
pub fn clear(root: &Root, path: &Path) -> Result<()> {
    let Some(name) = path.file_name() else { return Ok(()) };
    let Some(parent) = path.parent().map(|directory| root.find(directory)).transpose()?.flatten() else {
        return Ok(());
    };
    write::remove_temporary(&parent, name)
}

/// Restores the file, or removes it if there was none. Does nothing if it is as before.
pub fn restore(root: &Root, path: &Path, before: Option<&FileState>) -> Result<()> {
    clear(root, path)?;
    let now = FileState::read(root, path)?;
    match (before, now) {
        (before, now) if before == now.as_ref() => Ok(()),
        (Some(before), _) => rewrite(root, path, &before.content.to_vec()?, before),
        (None, _) => remove(root, path),
    }
}

/// Removes what is at the path.
pub fn remove(root: &Root, path: &Path) -> Result<()> {
    let (parent, name) = root.place(path)?;
    let Some(found) = parent.entry(name)? else { return Ok(()) };
    write::remove_file(&parent, name, found.id()).map(drop)
}

/// A unified diff of the file as found and as wanted.
pub fn unified(path: &Path, old: Option<&FileState>, new: &str) -> String {
    let path = path.display().to_string();
    let before = if old.is_some() { path.as_str() } else { "/dev/null" };
    let body = hunks((before, FileState::text_of(old)), (&path, new), 2);
    match old {
        Some(file) if body.is_empty() => {
            format!("- {path}  {}:{} {:04o}\n+ {path}  0:0 0644\n", file.uid, file.gid, file.mode)
        }
        _ => body,
    }
}
