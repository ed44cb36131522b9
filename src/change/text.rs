// SPDX-License-Identifier: Apache-2.0
//! Files of others: one key of qemu.conf, and packaged files that were patched in place. Only the bytes in question change.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Undone, file};
use crate::accord::item::{LogOwner, Setting, Unpatch};
use crate::edit::{legacy, logrotate, virconf};
use crate::facts::state::FileState;
use crate::root::Root;

fn read(root: &Root, path: &Path) -> Result<(FileState, String)> {
    let state = FileState::read(root, path)?.with_context(|| format!("{} is gone", path.display()))?;
    let bytes = state.content.to_vec()?;
    let text = String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8 text", path.display()))?;
    Ok((state, text))
}

pub fn set(root: &Root, item: &Setting) -> Result<()> {
    let (state, text) = read(root, &item.path)?;
    let new =
        virconf::set_text(&text, &item.key, &item.value).with_context(|| item.path.display().to_string())?;
    // Never a file that libvirt would refuse: it is read as libvirt reads it before it takes the old one's place.
    if let Err(error) = virconf::VirConf::parse(&new) {
        bail!("{}: the edit would break it ({error}); nothing was written", item.path.display());
    }
    if new == text { Ok(()) } else { file::rewrite(root, &item.path, new.as_bytes(), &state) }
}

/// The key goes back to what it was, whatever else changed in the file.
pub fn unset(
    root: &Root,
    item: &Setting,
    before: Option<&FileState>,
    now: Option<&FileState>,
) -> Result<Undone> {
    let (Some(before), Some(now)) = (before, now) else {
        return Ok(Undone::Left("the file is gone".to_string()));
    };
    if std::str::from_utf8(&now.content.to_vec()?).is_err() {
        return Ok(Undone::Left("it is not UTF-8 text".to_string()));
    }
    let (state, text) = read(root, &item.path)?;
    let context = || item.path.display().to_string();
    let previous = virconf::previous(before.content.text(), &item.key).with_context(context)?;
    let restored = match virconf::restore(&text, &item.key, &item.value, &previous) {
        Ok(restored) => restored,
        Err(why) => return Ok(Undone::Left(why.to_string())),
    };
    if restored == text {
        return Ok(Undone::AlreadyBack);
    }
    file::rewrite(root, &item.path, restored.as_bytes(), &state)?;
    Ok(Undone::Restored)
}

pub fn give_logs(root: &Root, item: &LogOwner) -> Result<()> {
    let (state, text) = read(root, &item.path)?;
    file::rewrite(root, &item.path, logrotate::set_owner(&text, &item.user).as_bytes(), &state)
}

/// The owner goes back to the first that was there before; packages name one.
pub fn take_logs(
    root: &Root,
    item: &LogOwner,
    before: Option<&FileState>,
    now: Option<&FileState>,
) -> Result<Undone> {
    let (Some(before), Some(_)) = (before, now) else {
        return Ok(Undone::Left("the file is gone".to_string()));
    };
    let Some(owner) = logrotate::owners(before.content.text()).first().copied() else {
        return Ok(Undone::AlreadyBack);
    };
    let (state, text) = read(root, &item.path)?;
    let restored = logrotate::set_owner(&text, owner);
    if restored == text {
        return Ok(Undone::AlreadyBack);
    }
    file::rewrite(root, &item.path, restored.as_bytes(), &state)?;
    Ok(Undone::Restored)
}

pub fn unpatch(root: &Root, item: &Unpatch) -> Result<()> {
    let (state, text) = read(root, &item.path)?;
    let new = legacy::undo(item.kind, &text);
    if new == text { Ok(()) } else { file::rewrite(root, &item.path, new.as_bytes(), &state) }
}

/// `revert` puts back exactly what was there, a patch included; not where the package brought a new file since.
pub fn repatch(
    root: &Root,
    item: &Unpatch,
    before: Option<&FileState>,
    now: Option<&FileState>,
) -> Result<Undone> {
    let (Some(before), Some(now)) = (before, now) else {
        return Ok(Undone::Left("the file is gone".to_string()));
    };
    if before == now {
        return Ok(Undone::AlreadyBack);
    }
    if now.content.text() != legacy::undo(item.kind, before.content.text()) {
        return Ok(Undone::Left("the package brought another file since".to_string()));
    }
    file::restore(root, &item.path, Some(before))?;
    Ok(Undone::Restored)
}
