// SPDX-License-Identifier: Apache-2.0
//! A file, directory or socket that was found, held by a descriptor. It only reads; `write` has what writes.

use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, readlinkat};
use nix::sys::stat::{self, FileStat, Mode, SFlag};
use serde::{Deserialize, Serialize};

use super::open_entry;
use super::report::{Report, Told};

/// No file that this program reads is larger. A hostile or broken file must not use up the node's memory.
const MAX_FILE: u64 = 64 << 20;

/// What a file of /proc gives at once.
const PAGE: u64 = 4096;

/// What an entry of a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A Unix domain socket.
    Socket,
    /// A device or a FIFO.
    Other,
}

/// Something found in the tree, held by an `O_PATH` descriptor: whatever happens to its name, this stays the same object.
#[derive(Debug)]
pub struct Handle {
    pub(super) fd: OwnedFd,
    pub(super) path: PathBuf,
    pub(super) stat: FileStat,
    /// What a report says of it, if it is in a report and not on this machine.
    pub(super) told: Option<Box<Told>>,
}

impl Handle {
    pub(super) fn new(fd: OwnedFd, path: PathBuf) -> Result<Handle> {
        let stat = stat::fstat(&fd).with_context(|| format!("reading the state of {}", path.display()))?;
        Ok(Handle { fd, path, stat, told: None })
    }

    /// Fails where owner and mode are not known, which only happens in a report.
    pub fn known(&self) -> Result<&Handle> {
        if let Some(told) = &self.told {
            told.known(&self.path)?;
        }
        Ok(self)
    }

    /// Whether owner and mode are known.
    pub(super) fn has_owner(&self) -> bool {
        self.told.as_deref().is_none_or(|told| told.is_known)
    }

    /// The report that it is in: this machine's kernel must not be asked about it.
    pub fn report(&self) -> Option<&Report> {
        self.told.as_deref().map(|told| &*told.report)
    }

    /// The same object with its state read again: owner, mode and links may have changed since it was found.
    pub fn again(&self) -> Result<Handle> {
        let path = self.path.clone();
        let fd = self.fd.try_clone().with_context(|| format!("holding {} once more", path.display()))?;
        Handle::new(fd, path)
    }

    /// The descriptor, opened with `O_PATH`.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Its path in the node, symlinks resolved. For messages; acting goes through the descriptor.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match SFlag::from_bits_truncate(self.stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFDIR => Kind::Directory,
            SFlag::S_IFREG => Kind::File,
            SFlag::S_IFLNK => Kind::Symlink,
            SFlag::S_IFSOCK => Kind::Socket,
            _ => Kind::Other,
        }
    }

    /// The owner.
    pub fn uid(&self) -> u32 {
        self.stat.st_uid
    }

    /// The group.
    pub fn gid(&self) -> u32 {
        self.stat.st_gid
    }

    /// The permission bits, setuid, setgid and sticky included.
    pub fn mode(&self) -> u32 {
        self.stat.st_mode & 0o7777
    }

    /// Device and inode: two handles with the same pair are the same object.
    pub fn id(&self) -> (u64, u64) {
        (self.stat.st_dev, self.stat.st_ino)
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or(0)
    }

    /// Its inode; in a report it may not be known.
    pub fn inode(&self) -> Result<u64> {
        self.told.as_ref().map_or(Ok(self.stat.st_ino), |told| told.inode(&self.path))
    }

    /// How many names it has.
    pub fn links(&self) -> u64 {
        self.stat.st_nlink
    }

    /// Change time of the content, in nanoseconds since 1970.
    pub fn modified(&self) -> i128 {
        i128::from(self.stat.st_mtime) * 1_000_000_000 + i128::from(self.stat.st_mtime_nsec)
    }

    /// The same where it is known: in a report only from listings that have it whole.
    pub fn known_modified(&self) -> Result<i128> {
        self.told.as_ref().map_or(Ok(self.modified()), |told| told.modified(&self.path))
    }

    /// Change time of content or inode, in seconds since 1970.
    pub fn changed(&self) -> i64 {
        self.stat.st_ctime
    }

    /// A path by which calls that take no `O_PATH` descriptor reach the same object.
    pub fn proc_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }

    /// The entry `name` of this directory, not following a symlink; `None` when there is none.
    pub fn entry(&self, name: &OsStr) -> Result<Option<Handle>> {
        if name.is_empty() || name == "." || name == ".." || name.as_bytes().contains(&b'/') {
            bail!("{}: {name:?} is not a file name", self.path.display());
        }
        let path = self.path.join(name);
        if let Some(told) = &self.told {
            return told.report.lookup(&path);
        }
        let fd = open_entry(&self.fd, name).with_context(|| format!("opening {}", path.display()))?;
        fd.map(|fd| Handle::new(fd, path)).transpose()
    }

    /// Opens the object for real. For a regular file or a directory only: opening a FIFO or device can block or act.
    pub fn reopen(&self, flags: OFlag) -> Result<OwnedFd> {
        if !matches!(self.kind(), Kind::File | Kind::Directory) {
            bail!("{} is not a regular file", self.path.display());
        }
        if let Some(told) = &self.told {
            told.copied(&self.path)?;
        }
        nix::fcntl::open(&self.proc_path(), flags | OFlag::O_CLOEXEC | OFlag::O_NOCTTY, Mode::empty())
            .with_context(|| format!("opening {}", self.path.display()))
    }

    /// The file's whole content.
    pub fn read(&self) -> Result<Vec<u8>> {
        if self.kind() != Kind::File {
            bail!("{} is not a regular file", self.path.display());
        }
        let file = File::from(self.reopen(OFlag::O_RDONLY)?);
        // Room for all of it at once; files of /proc and /sys say that they are empty.
        let size = self.size().clamp(PAGE, MAX_FILE);
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(size as usize + 1)
            .with_context(|| format!("no memory for {}", self.path.display()))?;
        let context = || format!("reading {}", self.path.display());
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).with_context(context)?;
        if bytes.len() as u64 > MAX_FILE {
            bail!("{} is larger than {} MiB", self.path.display(), MAX_FILE >> 20);
        }
        Ok(bytes)
    }

    /// What it leads to, for a symlink.
    pub fn target(&self) -> Result<PathBuf> {
        if let Some(target) = self.told.as_deref().and_then(Told::target) {
            return Ok(target);
        }
        let target = readlinkat(&self.fd, "");
        target
            .map(PathBuf::from)
            .with_context(|| format!("reading the link {} (readlinkat)", self.path.display()))
    }

    /// The directory's names, sorted.
    pub fn names(&self) -> Result<Vec<OsString>> {
        let context = || format!("listing {}", self.path.display());
        if let Some(told) = &self.told
            && let Some(names) = told.names(&self.path)?
        {
            return Ok(names);
        }
        let fd = self.reopen(OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        let mut dir = Dir::from_fd(fd).with_context(context)?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            let entry = entry.with_context(context)?;
            let name: &CStr = entry.file_name();
            if name != c"." && name != c".." {
                names.push(OsStr::from_bytes(name.to_bytes()).to_os_string());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The entries of an ACL, where it is in a report: there are none of its attributes.
    pub fn told_acl(&self, is_default: bool) -> Option<Result<Option<&[String]>>> {
        self.told.as_ref().map(|told| told.acl(&self.path, is_default))
    }

    /// One extended attribute, `None` where it has none of that name or the filesystem has none at all.
    pub fn xattr(&self, name: &str) -> Result<Option<Vec<u8>>> {
        if self.kind() == Kind::Symlink {
            return Ok(None);
        }
        if let Some(told) = &self.told {
            return match name {
                "security.selinux" => told.label(&self.path),
                _ => bail!("{name} of {}: no report has it", self.path.display()),
            };
        }
        match xattr::get_deref(self.proc_path(), name) {
            Ok(value) => Ok(value),
            Err(error) if no_xattrs(&error) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {name} of {}", self.path.display())),
        }
    }

    /// All extended attributes, sorted by name: ACLs and security labels among them.
    pub fn xattrs(&self) -> Result<Vec<(OsString, Vec<u8>)>> {
        if self.kind() == Kind::Symlink || self.told.is_some() {
            return Ok(Vec::new());
        }
        let context = || format!("listing the extended attributes of {}", self.path.display());
        let names = match xattr::list_deref(self.proc_path()) {
            Ok(names) => names,
            Err(error) if no_xattrs(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(context),
        };
        let mut pairs = Vec::new();
        for name in names {
            if let Some(value) = xattr::get_deref(self.proc_path(), &name).with_context(context)? {
                pairs.push((name, value));
            }
        }
        pairs.sort();
        Ok(pairs)
    }
}

fn no_xattrs(error: &std::io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EOPNOTSUPP | Errno::ENODATA))
}
