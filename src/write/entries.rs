// SPDX-License-Identifier: Apache-2.0
//! Making and removing the entries of a directory.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{RenameFlags, renameat, renameat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, symlinkat, unlinkat};

use super::{refused, remove_temporary, set_owner_mode, temporary_name};
use crate::base::root::{Handle, Kind};

/// Makes the directory `name` with this owner and mode, and returns it. One that is there is given them; anything else
/// under that name is [`super::Refused`]. A new one gets its name when it has its owner and mode, so that whatever kills
/// us leaves the whole directory or none; under its temporary name it is for nobody but us.
pub fn create_directory(parent: &Handle, name: &OsStr, uid: u32, gid: u32, mode: u32) -> Result<Handle> {
    let like = (uid, gid, mode);
    match parent.entry(name)? {
        Some(found) => adopt(&found, like),
        None => new_directory(parent, name, like),
    }
}

fn adopt(found: &Handle, (uid, gid, mode): (u32, u32, u32)) -> Result<Handle> {
    if found.kind() != Kind::Directory {
        return Err(refused(found.path(), "something other than a directory"));
    }
    set_owner_mode(found, Some(uid), Some(gid), Some(mode))?;
    found.again()
}

fn new_directory(parent: &Handle, name: &OsStr, like: (u32, u32, u32)) -> Result<Handle> {
    let (temporary, path) = (temporary_name(name), parent.path().join(name));
    remove_temporary(parent, name)?;
    mkdirat(parent.fd(), temporary.as_os_str(), Mode::from_bits_truncate(like.2 & 0o700))
        .with_context(|| format!("creating the directory {} (mkdirat)", path.display()))?;
    let made = own(parent, &temporary, like).and_then(|made| put_in_place(parent, name, &made));
    if !matches!(made, Ok(Some(_))) {
        // It is empty, or it is no longer ours and stays. The first error is the one to tell.
        let _ = unlinkat(parent.fd(), temporary.as_os_str(), UnlinkatFlags::RemoveDir);
    }
    match (made?, parent.entry(name)?) {
        (Some(id), Some(found)) if found.id() == id => Ok(found),
        (Some(_), _) => Err(refused(&path, "replaced right after it was created")),
        // Somebody else made it meanwhile.
        (None, Some(found)) => adopt(&found, like),
        (None, None) => Err(refused(&path, "removed right after another process created it")),
    }
}

/// Gives the directory that was just made its owner and mode.
fn own(parent: &Handle, temporary: &OsStr, like: (u32, u32, u32)) -> Result<Handle> {
    let path = parent.path().join(temporary);
    let Some(found) = parent.entry(temporary)? else {
        return Err(refused(&path, "removed right after it was created"));
    };
    // Whoever may write the parent may have put another directory in place of the one just made.
    if found.uid() != geteuid().as_raw() || found.id().0 != parent.id().0 {
        return Err(refused(&path, "replaced right after it was created"));
    }
    adopt(&found, like)
}

/// Device and inode of what has the name now; `None` where the name was taken meanwhile.
fn put_in_place(parent: &Handle, name: &OsStr, made: &Handle) -> Result<Option<(u64, u64)>> {
    let temporary = temporary_name(name);
    let flags = RenameFlags::RENAME_NOREPLACE;
    let renamed = match renameat2(parent.fd(), temporary.as_os_str(), parent.fd(), name, flags) {
        // A filesystem without this flag (NFS): a rename takes the place of nothing but an empty directory.
        Err(Errno::EINVAL) => renameat(parent.fd(), temporary.as_os_str(), parent.fd(), name),
        other => other,
    };
    match renamed {
        Ok(()) => Ok(Some(made.id())),
        Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno).with_context(|| {
            format!("putting the directory {} in place (renameat2)", parent.path().join(name).display())
        }),
    }
}

/// Makes `name` a symlink to `target`: whoever looks sees the old link or the new one. False when it is that already;
/// anything but a symlink under that name is [`super::Refused`].
pub fn replace_link(parent: &Handle, name: &OsStr, target: &Path) -> Result<bool> {
    let path = parent.path().join(name);
    if let Some(found) = parent.entry(name)? {
        if found.kind() != Kind::Symlink {
            return Err(refused(&path, "something other than a symlink; move it away"));
        }
        if found.target()? == target {
            return Ok(false);
        }
    }
    let temporary = temporary_name(name);
    remove_temporary(parent, name)?;
    symlinkat(target, parent.fd(), temporary.as_os_str())
        .with_context(|| format!("creating the symlink {} (symlinkat)", path.display()))?;
    renameat(parent.fd(), temporary.as_os_str(), parent.fd(), name)
        .inspect_err(|_| drop(remove_temporary(parent, name)))
        .with_context(|| format!("putting the symlink {} in place (renameat)", path.display()))?;
    Ok(true)
}

/// Removes `name` if it is still the file, socket or symlink with this device and inode. False when there is nothing;
/// [`super::Refused`] when something else has the name by now.
pub fn remove_file(parent: &Handle, name: &OsStr, expected: (u64, u64)) -> Result<bool> {
    let Some(found) = parent.entry(name)? else { return Ok(false) };
    if found.kind() == Kind::Directory {
        return Err(refused(found.path(), "a directory"));
    }
    if found.id() != expected {
        return Err(refused(found.path(), "not the file that was there before"));
    }
    unlink(parent, name, UnlinkatFlags::NoRemoveDir)
}

/// Removes the directory `name`. False when there is nothing; an error when something is in it.
pub fn remove_empty_directory(parent: &Handle, name: &OsStr) -> Result<bool> {
    let Some(found) = parent.entry(name)? else { return Ok(false) };
    if found.kind() != Kind::Directory {
        return Err(refused(found.path(), "something other than a directory"));
    }
    unlink(parent, name, UnlinkatFlags::RemoveDir)
}

/// False when there was nothing to remove. Nothing beyond this one name can be hit: `unlinkat` follows no symlink.
pub(super) fn unlink(parent: &Handle, name: &OsStr, flags: UnlinkatFlags) -> Result<bool> {
    match unlinkat(parent.fd(), name, flags) {
        Ok(()) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => {
            Err(errno).with_context(|| format!("removing {} (unlinkat)", parent.path().join(name).display()))
        }
    }
}
