// SPDX-License-Identifier: Apache-2.0
//! What a trial makes, so that it goes again however the trial ends.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::base::root::{Kind, Root};
use crate::facts::sockets::{Liveness, liveness_of};
use crate::write;

/// What everything that a trial makes begins with; our process id follows.
pub const NAME: &str = "vhost-accord-probe-";

/// Something with a name.
#[derive(Debug)]
enum Trace {
    File(PathBuf),
    Directory(PathBuf),
}

/// All of it, in one view of the files.
#[derive(Debug)]
pub(super) struct Traces {
    root: Root,
    left: Vec<Trace>,
}

impl Drop for Traces {
    fn drop(&mut self) {
        while let Some(trace) = self.left.pop() {
            if let Err(error) = self.remove(&trace) {
                tracing::warn!("{}", crate::base::text::log_line(&format!("{error:#}")));
            }
        }
    }
}

impl Traces {
    pub(super) fn new(root: Root) -> Traces {
        Traces { root, left: Vec::new() }
    }

    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// A socket that a child is about to make. What is there already is somebody else's, and stays.
    pub(super) fn file(&mut self, path: PathBuf) -> Result<()> {
        if self.root.find_nofollow(&path)?.is_none() {
            self.left.push(Trace::File(path));
        }
        Ok(())
    }

    /// What libvirt makes for each VM: a directory of its own below the mount. What is above it is libvirt's, and goes
    /// again only if it was not there.
    pub(super) fn memory_directory(
        &mut self,
        mount: &Path,
        name: &str,
        uid: u32,
        gid: u32,
    ) -> Result<PathBuf> {
        let mut path = mount.to_path_buf();
        for part in ["libvirt", "qemu"] {
            let there = self.root.find(&path.join(part))?.is_some();
            if !there {
                self.left.push(Trace::Directory(path.join(part)));
                self.create(&path, part, (0, 0, 0o755))?;
            }
            path.push(part);
        }
        self.left.push(Trace::Directory(path.join(name)));
        self.create(&path, name, (uid, gid, 0o700))?;
        let file = path.join(name).join("memory");
        self.left.push(Trace::File(file.clone()));
        Ok(file)
    }

    fn create(&self, parent: &Path, name: &str, (uid, gid, mode): (u32, u32, u32)) -> Result<()> {
        let parent = self.root.find(parent)?.with_context(|| format!("{} is missing", parent.display()))?;
        write::create_directory(&parent, OsStr::new(name), uid, gid, mode).map(drop)
    }

    fn remove(&self, trace: &Trace) -> Result<()> {
        let (Trace::File(path) | Trace::Directory(path)) = trace;
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let Some(parent) = self.root.find(above)? else { return Ok(()) };
        let Some(found) = parent.entry(name)? else { return Ok(()) };
        match trace {
            Trace::File(_) => write::remove_file(&parent, name, found.id()).map(drop),
            Trace::Directory(_) => write::remove_empty_directory(&parent, name).map(drop),
        }
    }
}

/// Removes what an earlier trial left that was killed outright (SIGKILL): by its name, when its process is gone and nobody
/// listens.
pub fn sweep(root: &Root, directories: &[PathBuf]) -> Result<()> {
    for directory in directories {
        let Some(parent) = root.find(directory)?.filter(|found| found.kind() == Kind::Directory) else {
            continue;
        };
        for name in parent.names()?.into_iter().filter(is_orphaned) {
            let Some(found) = parent.entry(&name)? else { continue };
            match found.kind() {
                Kind::Socket if liveness_of(&found) == Liveness::Stale => {
                    write::remove_file(&parent, &name, found.id())?;
                }
                Kind::Directory if found.names()?.is_empty() => {
                    write::remove_empty_directory(&parent, &name)?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn is_orphaned(name: &OsString) -> bool {
    let pid = name.to_str().and_then(|name| name.strip_prefix(NAME)?.parse::<u32>().ok());
    pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}
