// SPDX-License-Identifier: Apache-2.0
//! The handle all paths go through.
//!
//! A path is opened one component at a time beneath the root, each with `O_PATH | O_NOFOLLOW`, so that nothing a guest's
//! process may swap under our hands leads anywhere else. A symlink is followed only where root alone could have made it
//! (`/var/run -> /run`), and then within the root. Where no symlink is on the way, which `openat2` tells in one call, all of
//! that comes to the same, and it is not done: a hook has no time for three calls a component.

mod handle;
pub mod listing;
mod report;
pub mod ss;

pub use handle::{Handle, Kind};
pub use report::{NotInReport, Report, told};

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{self, OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::Mode;

/// As the kernel's own limit for one path (`MAXSYMLINKS`, include/linux/namei.h).
const MAX_SYMLINKS: usize = 40;

/// The extended attribute that holds a file's capabilities (capabilities(7)).
pub const CAPABILITIES: &str = "security.capability";

/// The path is not one that root may act on: someone else could redirect it. An attack or a mistake, not an I/O error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsafePath {
    /// The component that is not to be trusted.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for UnsafePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, not followed", self.path.display(), self.why)
    }
}

impl std::error::Error for UnsafePath {}

/// The node's file tree: the live one (`/`), an unbooted image (`--root DIR`) or what a sosreport has of one (`--sos DIR`).
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    outside: PathBuf,
    report: Option<Arc<Report>>,
}

impl Root {
    /// Opens the tree at `outside`, a path as the caller sees it.
    pub fn open(outside: &Path) -> Result<Root> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = fcntl::open(outside, flags, Mode::empty())
            .with_context(|| format!("opening the root directory {}", outside.display()))?;
        Ok(Root { dir, outside: outside.to_path_buf(), report: None })
    }

    /// Opens the unpacked sosreport at `outside`. What it does not tell is an error of [`NotInReport`].
    pub fn open_report(outside: &Path) -> Result<Root> {
        let mut root = Root::open(outside)?;
        root.report = Some(Arc::new(Report::open(root.dir.try_clone()?, outside)?));
        Ok(root)
    }

    /// The report, where it is one.
    pub fn report(&self) -> Option<&Report> {
        self.report.as_deref()
    }

    /// True for the running node, false for an image and a report.
    pub fn is_live(&self) -> bool {
        self.outside == Path::new("/") && self.report.is_none()
    }

    /// True where something runs, or ran when the report was made.
    pub fn runs(&self) -> bool {
        self.is_live() || self.report.is_some()
    }

    /// Where `path` of the node is for a program that is not inside the root (for messages and helper programs).
    pub fn outside(&self, path: &Path) -> PathBuf {
        let mut outside = self.outside.clone();
        outside.push(path.strip_prefix("/").unwrap_or(path));
        outside
    }

    /// Finds what `path` leads to, the last component's symlink followed as well. `None` when there is nothing.
    pub fn find(&self, path: &Path) -> Result<Option<Handle>> {
        match self.straight(path)? {
            Some(found) if found.as_ref().is_none_or(|found| found.kind() != Kind::Symlink) => Ok(found),
            Some(_) | None => self.walk(path, true).map(Reached::end),
        }
    }

    /// The directory that holds `path`, and the name in it.
    pub fn place<'a>(&self, path: &'a Path) -> Result<(Handle, &'a OsStr)> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            bail!("{} names nothing in a directory", path.display());
        };
        let parent =
            self.find(directory)?.with_context(|| format!("{} does not exist", directory.display()))?;
        Ok((parent, name))
    }

    /// Finds `path` itself: a symlink at its end is the result, not followed.
    pub fn find_nofollow(&self, path: &Path) -> Result<Option<Handle>> {
        match self.straight(path)? {
            Some(found) => Ok(found),
            None => self.walk(path, false).map(Reached::end),
        }
    }

    /// Every directory passed on the way and the end itself, the root first: what the kernel asks about when it decides who
    /// may reach `path`. Tells how far it came when a component is missing.
    pub fn reach(&self, path: &Path) -> Result<Reached> {
        self.walk(path, true)
    }

    /// The whole content of the file at `path`, `None` when there is none.
    pub fn read(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        self.find(path)?.map(|handle| handle.read()).transpose()
    }

    /// Like [`Root::read`], as text; bytes that are not UTF-8 are an error that names the file.
    pub fn read_text(&self, path: &Path) -> Result<Option<String>> {
        let Some(bytes) = self.read(path)? else { return Ok(None) };
        String::from_utf8(bytes).map(Some).with_context(|| format!("{} is not UTF-8 text", path.display()))
    }

    /// The names in the directory at `path`, sorted; none when it does not exist.
    pub fn list(&self, path: &Path) -> Result<Vec<OsString>> {
        match self.find(path)? {
            Some(handle) if handle.kind() == Kind::Directory => handle.names(),
            Some(_) | None => Ok(Vec::new()),
        }
    }

    /// The files of these directories with this extension, by name; one in an earlier directory hides its namesakes in
    /// later ones.
    pub fn in_force(
        &self,
        directories: impl IntoIterator<Item = impl AsRef<Path>>,
        extension: &str,
    ) -> Result<BTreeMap<OsString, PathBuf>> {
        let mut files = BTreeMap::new();
        for directory in directories {
            for name in self.list(directory.as_ref())? {
                if Path::new(&name).extension().is_some_and(|found| found == extension) {
                    files.entry(name).or_insert_with_key(|name| directory.as_ref().join(name));
                }
            }
        }
        Ok(files)
    }

    /// What is at the end of a path on which there is no symlink before its last component, or that there is nothing;
    /// `None` where it has to be walked: a symlink, or a kernel or a container's filter without `openat2`.
    fn straight(&self, path: &Path) -> Result<Option<Option<Handle>>> {
        check(path)?;
        if self.report.is_some() {
            return Ok(None);
        }
        let clean: PathBuf = if is_plain(path) { path.to_path_buf() } else { path.components().collect() };
        let below = clean.as_os_str().as_bytes().strip_prefix(b"/").filter(|below| !below.is_empty());
        let below = OsStr::from_bytes(below.unwrap_or(b"."));
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        match fcntl::openat2(&self.dir, below, how) {
            Ok(fd) => Handle::new(fd, clean).map(|found| Some(Some(found))),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(Some(None)),
            // The walk tells better what is wrong.
            Err(_) => Ok(None),
        }
    }

    fn top(&self) -> Result<Handle> {
        let path = PathBuf::from("/");
        match &self.report {
            None => Handle::new(self.dir.as_fd().try_clone_to_owned()?, path),
            Some(report) => report.lookup(&path)?.context("a report without a root"),
        }
    }

    fn walk(&self, path: &Path, follow_last: bool) -> Result<Reached> {
        check(path)?;
        let mut todo = components(path);
        let mut chain = vec![self.top()?];
        let mut left = Vec::new();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                if chain.len() > 1 {
                    left.extend(chain.pop());
                }
                continue;
            }
            let Some(parent) = chain.last() else { bail!("{}: walked out of the root", path.display()) };
            let Some(entry) = parent.entry(&name)? else {
                let missing = Some(parent.path().join(&name));
                return Ok(Reached { passed: with_left(chain, left), missing });
            };
            if entry.kind() != Kind::Symlink || (todo.is_empty() && !follow_last) {
                chain.push(entry);
                continue;
            }
            links += 1;
            if links > MAX_SYMLINKS {
                bail!("{}: too many symlinks", path.display());
            }
            trusted_link(parent, &entry)?;
            let target = entry.target()?;
            if target.is_absolute() {
                left.extend(chain.drain(1..));
            }
            todo.extend(components(&target));
        }
        Ok(Reached { passed: with_left(chain, left), missing: None })
    }
}

/// How far a path leads.
#[derive(Debug)]
pub struct Reached {
    /// Every directory in which a name was looked up, the root first (with `/var` for `/var/run -> /run`: the kernel asks
    /// for the right to search it as well), and the end itself when it is there.
    pub passed: Vec<Handle>,
    /// The first component that is not there, symlinks before it resolved.
    pub missing: Option<PathBuf>,
}

impl Reached {
    /// The end itself, when it is there.
    pub fn end(mut self) -> Option<Handle> {
        if self.missing.is_some() { None } else { self.passed.pop() }
    }
}

/// Puts the directories that a symlink led away from behind the root, so that an entry stays next to its parent.
fn with_left(mut chain: Vec<Handle>, left: Vec<Handle>) -> Vec<Handle> {
    let mut at = 1.min(chain.len() - 1);
    for handle in left {
        if chain.iter().all(|known| known.id() != handle.id()) {
            chain.insert(at, handle);
            at += 1;
        }
    }
    chain
}

/// A link may be followed when nobody but root (or whoever runs us, in tests) can have put it there.
fn trusted_link(parent: &Handle, link: &Handle) -> Result<()> {
    // In a report a link leads from name to name, and only what the node itself would not follow is not followed.
    if link.report().is_some() && (!link.has_owner() || !parent.has_owner()) {
        return Ok(());
    }
    let ours = |uid: u32| uid == 0 || uid == nix::unistd::geteuid().as_raw();
    let why = if !ours(parent.uid()) || !ours(link.uid()) {
        "a symlink that root did not create"
    } else if parent.mode() & 0o022 != 0 {
        "a symlink in a directory that others may write"
    } else {
        return Ok(());
    };
    Err(UnsafePath { path: link.path().to_path_buf(), why: why.to_string() }.into())
}

/// Absolute and clean?
fn check(path: &Path) -> Result<()> {
    if !path.is_absolute() {
        bail!("{}: not an absolute path", path.display());
    }
    if path.as_os_str().as_bytes().contains(&0) {
        bail!("{}: a path with a NUL byte", path.display());
    }
    if names(path).any(|name| name == b"..") {
        bail!("{}: a path with '..'", path.display());
    }
    Ok(())
}

/// What is between the slashes.
fn names(path: &Path) -> impl Iterator<Item = &[u8]> {
    path.as_os_str().as_bytes().split(|byte| *byte == b'/')
}

/// Written as its components are, so that nothing has to be taken out.
fn is_plain(path: &Path) -> bool {
    names(path).skip(1).all(|name| !name.is_empty() && name != b".")
}

/// Last first.
fn components(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_os_string()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// Opens `name` in the directory `parent`; `None` when it is not there (or `parent` is no directory).
fn open_entry(parent: &OwnedFd, name: &OsStr) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match fcntl::openat(parent, name, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}
