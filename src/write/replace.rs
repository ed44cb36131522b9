// SPDX-License-Identifier: Apache-2.0
//! Replacing a file whole: whoever reads it, and whatever kills us, sees the old one or the new one.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod, fstat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fsync, unlinkat};
use serde::{Deserialize, Serialize};

use super::attributes::set_through;
use super::entries::unlink;
use super::refused;
use crate::base::root::{Handle, Kind};

/// `NAME_MAX` (linux/limits.h): the most bytes that a file name has.
const NAME_MAX: usize = 255;
/// The end of the name of a file that is not complete yet.
const SUFFIX: &[u8] = b".vhost-accord-new";

/// All that a file has besides its name and its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMeta {
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permission bits, setuid, setgid and sticky included.
    pub mode: u32,
    /// Extended attributes, ACLs and security labels among them.
    pub xattrs: Vec<(OsString, Vec<u8>)>,
}

impl FileMeta {
    /// A file without extended attributes of its own; its label, where labels are used, comes from the directory.
    pub fn plain(uid: u32, gid: u32, mode: u32) -> FileMeta {
        FileMeta { uid, gid, mode, xattrs: Vec::new() }
    }
}

/// The name under which [`replace_file`] writes what becomes `name`: hidden, always the same so that the next run finds
/// what a killed one left, and not longer than a name may be.
pub fn temporary_name(name: &OsStr) -> OsString {
    let room = NAME_MAX - SUFFIX.len() - 1;
    let stem = name.as_bytes();
    let stem = stem.get(..room).unwrap_or(stem);
    OsString::from_vec([b".", stem, SUFFIX].concat())
}

/// Gives `name` this content and these attributes in one step. It is made if it is not there; anything but a regular file
/// under that name is [`super::Refused`].
///
/// An error before the rename leaves the old file as it was and no temporary one. After the rename only the directory's
/// fsync and the final look can fail: then the new file is in place whole, but may not have reached the disk, or somebody
/// who may write the directory put another in its place.
pub fn replace_file(parent: &Handle, name: &OsStr, content: &[u8], like: &FileMeta) -> Result<()> {
    if let Some(old) = parent.entry(name)?.filter(|old| old.kind() != Kind::File) {
        return Err(refused(old.path(), "something other than a regular file"));
    }
    let temporary = Temporary::create(parent, name)?;
    temporary.fill(content, like)?;
    let id = temporary.id()?;
    temporary.rename_to(name)?;
    let directory = parent.reopen(OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
    fsync(&directory).with_context(|| format!("writing {} to disk (fsync)", parent.path().display()))?;
    match parent.entry(name)? {
        Some(new) if new.id() == id => Ok(()),
        _ => Err(refused(&parent.path().join(name), "replaced by another process at the same time")),
    }
}

/// Removes the new `name`, file or directory, that somebody who was killed never put in its place.
pub fn remove_temporary(parent: &Handle, name: &OsStr) -> Result<()> {
    let temporary = temporary_name(name);
    // A filesystem that is read-only refuses to remove even what is not there.
    if parent.entry(&temporary)?.is_none() {
        return Ok(());
    }
    match unlinkat(parent.fd(), temporary.as_os_str(), UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR) => unlink(parent, &temporary, UnlinkatFlags::RemoveDir).map(drop),
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno)
            .with_context(|| format!("removing {} (unlinkat)", parent.path().join(&temporary).display())),
    }
}

/// A file on its way in, removed again unless it gets there.
struct Temporary<'a> {
    parent: &'a Handle,
    name: OsString,
    file: File,
    renamed: bool,
}

impl Temporary<'_> {
    fn create<'a>(parent: &'a Handle, target: &OsStr) -> Result<Temporary<'a>> {
        let name = temporary_name(target);
        remove_temporary(parent, target)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(parent.fd(), name.as_os_str(), flags, Mode::from_bits_truncate(0o600))
            .with_context(|| format!("creating {} (openat)", parent.path().join(&name).display()))?;
        Ok(Temporary { parent, name, file: File::from(fd), renamed: false })
    }

    fn path(&self) -> PathBuf {
        self.parent.path().join(&self.name)
    }

    /// The mode comes last but for the fsync: until then nobody else can open the file, and the owner's change and an ACL
    /// both alter it.
    fn fill(&self, content: &[u8], like: &FileMeta) -> Result<()> {
        let FileMeta { uid, gid, mode, xattrs } = like;
        let path = self.path();
        let doing = |what: &str| format!("{what} of {}", path.display());
        (&self.file).write_all(content).with_context(|| doing("writing the content (write)"))?;
        fchown(&self.file, Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)))
            .with_context(|| doing("setting the owner (fchown)"))?;
        set_through(&PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd())), &path, xattrs)?;
        fchmod(&self.file, Mode::from_bits_truncate(*mode))
            .with_context(|| doing("setting the mode (fchmod)"))?;
        fsync(&self.file).with_context(|| doing("writing to disk (fsync)"))
    }

    fn id(&self) -> Result<(u64, u64)> {
        let stat =
            fstat(&self.file).with_context(|| format!("reading the state of {}", self.path().display()))?;
        Ok((stat.st_dev, stat.st_ino))
    }

    fn rename_to(mut self, target: &OsStr) -> Result<()> {
        let result: Result<(), Errno> =
            renameat(self.parent.fd(), self.name.as_os_str(), self.parent.fd(), target);
        self.renamed = result.is_ok();
        result
            .with_context(|| format!("renaming {} to {} (renameat)", self.path().display(), target.display()))
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            // The error that brought us here is the one to tell; the next run removes what is left.
            let _ = unlinkat(self.parent.fd(), self.name.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}
