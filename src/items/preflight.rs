// SPDX-License-Identifier: Apache-2.0
//! Finds, before the first step, what would stop a plan half-way.

use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::sys::statvfs::{FsFlags, fstatvfs};

use super::Change;
use crate::base::paths;
use crate::base::root::Root;

/// Free bytes a filesystem must have before we begin: the largest file that is written, twice, and the journal.
const ROOM: u64 = 1 << 20;

/// Free inodes: what is replaced has two at a time, and directories are made on the way.
const FILES: u64 = 64;

/// Fails when a filesystem that `changes` would write is read-only or full.
pub fn check(root: &Root, changes: &[Change]) -> Result<()> {
    for change in changes {
        // A change of owner writes nothing, unless the directory is missing.
        let replaced = !matches!(change, Change::Owner(_));
        change.writes().iter().try_for_each(|target| writable(root, target, replaced))?;
    }
    writable(root, &Path::new(paths::STATE).join("journal"), true)
}

/// Is what is at a path on a filesystem that nobody can write to?
pub fn is_read_only(root: &Root, path: &Path) -> Result<bool> {
    let Some(found) = root.find_nofollow(path)? else { return Ok(false) };
    let filesystem = fstatvfs(found.fd())
        .with_context(|| format!("asking for the filesystem of {} (fstatvfs)", path.display()))?;
    Ok(filesystem.flags().contains(FsFlags::ST_RDONLY))
}

fn writable(root: &Root, target: &Path, replaced: bool) -> Result<()> {
    for path in target.ancestors() {
        let Some(found) = root.find(path)? else { continue };
        let filesystem = fstatvfs(found.fd())
            .with_context(|| format!("asking for the filesystem of {} (fstatvfs)", path.display()))?;
        if filesystem.flags().contains(FsFlags::ST_RDONLY) {
            bail!(
                "{}: the filesystem is read-only; nothing was changed (remount it writable first)",
                target.display()
            );
        }
        // hugetlbfs and other memory filesystems without a limit report no blocks at all.
        let free = filesystem.blocks_available() * filesystem.fragment_size();
        let holds_files = replaced || path != target;
        if holds_files && filesystem.blocks() > 0 && free < ROOM {
            bail!("{}: the filesystem is full ({free} bytes free); nothing was changed", target.display());
        }
        // Filesystems that create inodes on demand report none at all.
        let inodes = filesystem.files_available();
        if holds_files && filesystem.files() > 0 && inodes < FILES {
            bail!("{}: the filesystem is full ({inodes} inodes free); nothing was changed", target.display());
        }
        return Ok(());
    }
    Ok(())
}
