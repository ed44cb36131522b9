// SPDX-License-Identifier: Apache-2.0
//! Owner and mode of what was found.

use anyhow::{Context, Result, bail};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{Gid, Uid, fchownat};

use super::attributes::set_one;
use super::refused;
use crate::base::root::{CAPABILITIES, Handle, Kind};

/// Gives what is held the owner, group and mode that are `Some`, and reads them back. True when something had to change.
///
/// In the order of systemd's `fd_set_perms` (src/tmpfiles/tmpfiles.c), so that there is no moment at which the old owner
/// has rights that the new mode does not give, or the new owner more than the old mode gave. Without a `mode`, the bits
/// stay as they are, except that a change of owner takes setuid and setgid from a file, as the kernel does: they would
/// else be handed to another user.
pub fn set_owner_mode(
    handle: &Handle,
    uid: Option<u32>,
    gid: Option<u32>,
    mode: Option<u32>,
) -> Result<bool> {
    let before = handle.again()?;
    check_target(&before)?;
    let (new_uid, new_gid) = (uid.unwrap_or(before.uid()), gid.unwrap_or(before.gid()));
    let new_mode = mode.unwrap_or(before.mode());
    let owner_differs = (new_uid, new_gid) != (before.uid(), before.gid());
    if !owner_differs && new_mode == before.mode() {
        return Ok(false);
    }
    if owner_differs {
        if before.mode() & new_mode != before.mode() {
            change_mode(&before, before.mode() & new_mode)?;
        }
        change_owner(&before, uid, gid)?;
    }
    let between = handle.again()?;
    let wanted_mode = mode.unwrap_or(between.mode());
    if wanted_mode != between.mode() {
        change_mode(&between, wanted_mode)?;
    }
    prove(handle, new_uid, new_gid, wanted_mode)
}

/// Gives what is held another number of the same group: a symlink and a file with several names as well, since whoever
/// was in the group before is in it after. setuid, setgid and capabilities, which the kernel takes from a file with its
/// owner, are given back by [`set_special`].
pub fn regroup(handle: &Handle, gid: u32) -> Result<()> {
    let (mode, capabilities) = (handle.mode(), handle.xattr(CAPABILITIES)?);
    change_owner(handle, None, Some(gid))?;
    if handle.kind() == Kind::Symlink { Ok(()) } else { set_special(handle, mode, capabilities.as_deref()) }
}

/// Gives a file the bits and capabilities it had before it changed hands; nothing where it has them.
pub fn set_special(handle: &Handle, mode: u32, capabilities: Option<&[u8]>) -> Result<()> {
    let now = handle.again()?;
    if now.mode() != mode {
        change_mode(&now, mode)?;
    }
    match capabilities {
        Some(value) if now.xattr(CAPABILITIES)?.as_deref() != Some(value) => {
            set_one(&now, CAPABILITIES, value)
        }
        Some(_) | None => Ok(()),
    }
}

/// A symlink has no rights of its own, and a second name of a file may be one that somebody planted here to be given it
/// (systemd's `hardlink_vulnerable`; here whatever fs.protected_hardlinks says, since nothing of ours has two names).
fn check_target(found: &Handle) -> Result<()> {
    match found.kind() {
        Kind::Symlink => Err(refused(found.path(), "a symlink")),
        Kind::Directory => Ok(()),
        _ if found.links() > 1 => {
            Err(refused(found.path(), format!("a file with {} hard links", found.links())))
        }
        _ => Ok(()),
    }
}

fn change_owner(handle: &Handle, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    let text = |id: Option<u32>| id.map_or_else(String::new, |id| id.to_string());
    fchownat(handle.fd(), "", uid.map(Uid::from_raw), gid.map(Gid::from_raw), AtFlags::AT_EMPTY_PATH)
        .with_context(|| {
            format!("giving {} to {}:{} (fchownat)", handle.path().display(), text(uid), text(gid))
        })
}

/// Through /proc, since no chmod of an `O_PATH` descriptor exists before Linux 6.6 (`fchmodat2`).
fn change_mode(handle: &Handle, mode: u32) -> Result<()> {
    let bits = Mode::from_bits_truncate(mode);
    fchmodat(AT_FDCWD, &handle.proc_path(), bits, FchmodatFlags::FollowSymlink)
        .with_context(|| format!("setting the mode of {} to {mode:04o} (fchmodat)", handle.path().display()))
}

fn prove(handle: &Handle, uid: u32, gid: u32, mode: u32) -> Result<bool> {
    let after = handle.again()?;
    if (after.uid(), after.gid(), after.mode()) != (uid, gid, mode) {
        bail!(
            "setting {} to {uid}:{gid} {mode:04o}: it is {}:{} {:04o} afterwards",
            handle.path().display(),
            after.uid(),
            after.gid(),
            after.mode()
        );
    }
    Ok(true)
}
