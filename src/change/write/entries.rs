// SPDX-License-Identifier: Apache-2.0
//! Making and removing the entries of a directory.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{readlinkat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, symlinkat, unlinkat};

use super::{refused, set_owner_mode, temporary_name};
use crate::root::{Handle, Kind};

/// Makes the directory `name` with this owner and mode, and returns it. One that is there is given them; anything else
/// under that name is [`super::Refused`]. A new one is for nobody but us until it has its owner and mode; if it cannot be
/// given them it is removed again.
pub fn create_directory(parent: &Handle, name: &OsStr, uid: u32, gid: u32, mode: u32) -> Result<Handle> {
    let path = parent.path().join(name);
    // Refuses what is not a plain name before `mkdirat` could follow it anywhere.
    parent.entry(name)?;
    let new = match mkdirat(parent.fd(), name, Mode::from_bits_truncate(mode & 0o700)) {
        Ok(()) => true,
        Err(Errno::EEXIST) => false,
        Err(errno) => {
            return Err(errno).with_context(|| format!("making the directory {} (mkdirat)", path.display()));
        }
    };
    adopt(parent, name, new, (uid, gid, mode)).inspect_err(|_| {
        if new {
            // It is empty, or it is no longer ours and stays. The first error is the one to tell.
            let _ = unlinkat(parent.fd(), name, UnlinkatFlags::RemoveDir);
        }
    })
}

fn adopt(parent: &Handle, name: &OsStr, new: bool, (uid, gid, mode): (u32, u32, u32)) -> Result<Handle> {
    let path = parent.path().join(name);
    let Some(found) = parent.entry(name)? else { return Err(refused(&path, "gone as soon as it was made")) };
    if found.kind() != Kind::Directory {
        return Err(refused(&path, "something other than a directory"));
    }
    // Whoever may write the parent may have put another directory in place of the one just made.
    if new && (found.uid() != geteuid().as_raw() || found.id().0 != parent.id().0) {
        return Err(refused(&path, "replaced as soon as it was made"));
    }
    set_owner_mode(&found, Some(uid), Some(gid), Some(mode))?;
    found.again()
}

/// Makes `name` a symlink to `target`: whoever looks sees the old link or the new one. False when it is that already;
/// anything but a symlink under that name is [`super::Refused`].
pub fn replace_link(parent: &Handle, name: &OsStr, target: &Path) -> Result<bool> {
    let path = parent.path().join(name);
    if let Some(found) = parent.entry(name)? {
        if found.kind() != Kind::Symlink {
            return Err(refused(&path, "something other than a symlink; move it away"));
        }
        if Path::new(&readlinkat(found.fd(), "")?) == target {
            return Ok(false);
        }
    }
    let temporary = temporary_name(name);
    unlink(parent, &temporary, UnlinkatFlags::NoRemoveDir)?;
    symlinkat(target, parent.fd(), temporary.as_os_str())
        .with_context(|| format!("making the symlink {} (symlinkat)", path.display()))?;
    renameat(parent.fd(), temporary.as_os_str(), parent.fd(), name)
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
