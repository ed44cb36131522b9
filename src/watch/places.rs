// SPDX-License-Identifier: Apache-2.0
//! Watches directories and files with inotify(7). An event only says where to look.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use crate::base::root::{Kind, Root};
use crate::base::text::log_line;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    At(PathBuf),
    /// A watched directory was removed or created, or the kernel lost events (`IN_Q_OVERFLOW`): look at everything.
    All,
}

#[derive(Debug)]
pub struct Places {
    inotify: Inotify,
    paths: BTreeMap<WatchDescriptor, PathBuf>,
    /// Paths that do not exist; a parent directory is watched for them.
    missing: BTreeSet<PathBuf>,
    /// How often the kernel lost events.
    pub overflows: u64,
    told: bool,
}

impl Places {
    pub fn new() -> Result<Places> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK);
        let inotify = inotify.context("watching files (inotify_init1)")?;
        Ok(Places { inotify, paths: BTreeMap::new(), missing: BTreeSet::new(), overflows: 0, told: false })
    }

    /// Watches these paths: a directory with its entries, or the directory of a file, or a parent of what does not exist. What
    /// exceeds the kernel's limit is seen at the next rescan.
    pub fn watch(&mut self, root: &Root, wanted: &BTreeSet<PathBuf>) {
        let before = std::mem::take(&mut self.paths);
        self.missing.clear();
        for path in wanted {
            if let Err(error) = self.add(root, path)
                && !std::mem::replace(&mut self.told, true)
            {
                let why = format!("{}: {error:#}; looked at once a minute instead", path.display());
                tracing::warn!("{}", log_line(&why));
            }
        }
        for gone in before.keys().filter(|descriptor| !self.paths.contains_key(descriptor)) {
            // The kernel has removed the watch of what no longer exists.
            let _ = self.inotify.rm_watch(*gone);
        }
    }

    fn add(&mut self, root: &Root, path: &Path) -> Result<()> {
        let mut at = path;
        loop {
            if let Some(found) = root.find(at)?
                && found.kind() == Kind::Directory
            {
                let descriptor = self.inotify.add_watch(&found.proc_path(), mask())?;
                self.paths.insert(descriptor, at.to_path_buf());
                return Ok(());
            } else if at == path && root.find_nofollow(at)?.is_none() {
                self.missing.insert(path.to_path_buf());
            }
            let Some(above) = at.parent() else { return Ok(()) };
            at = above;
        }
    }

    /// What happened since the last call, at most so much as the kernel tells at once.
    pub fn read(&mut self) -> Result<Vec<Event>> {
        let events = match self.inotify.read_events() {
            Ok(events) => events,
            Err(Errno::EAGAIN | Errno::EINTR) => Vec::new(),
            Err(errno) => return Err(errno).context("reading what inotify tells"),
        };
        Ok(events.iter().filter_map(|event| self.event(event)).collect())
    }

    fn event(&mut self, event: &InotifyEvent) -> Option<Event> {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            self.overflows += 1;
            return Some(Event::All);
        }
        // One that was removed before it was read.
        let path = self.paths.get(&event.wd)?;
        let gone = AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_UNMOUNT
            | AddWatchFlags::IN_IGNORED;
        if event.mask.intersects(gone) {
            return Some(Event::All);
        }
        let Some(name) = &event.name else { return Some(Event::At(path.clone())) };
        let path = path.join(name);
        if self.missing.iter().any(|missing| missing.starts_with(&path)) {
            return Some(Event::All);
        }
        Some(Event::At(path))
    }
}

impl AsFd for Places {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

fn mask() -> AddWatchFlags {
    AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MOVE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_ATTRIB
        | AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_ONLYDIR
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_comes_later_and_what_is_replaced_is_told() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::open(tree.path()).unwrap();
        fs::create_dir(tree.path().join("run")).unwrap();
        let sockets = PathBuf::from("/run/a/sockets");
        let wanted = BTreeSet::from([sockets.clone(), PathBuf::from("/run/file")]);
        let mut places = Places::new().unwrap();
        places.watch(&root, &wanted);
        fs::write(tree.path().join("run/other"), "").unwrap();
        assert!(!places.read().unwrap().contains(&Event::All));
        fs::create_dir_all(tree.path().join("run/a/sockets")).unwrap();
        assert!(places.read().unwrap().contains(&Event::All));
        places.watch(&root, &wanted);
        fs::write(tree.path().join("run/a/sockets/one"), "").unwrap();
        assert!(places.read().unwrap().contains(&Event::At(sockets.join("one"))));
        fs::rename(tree.path().join("run/a/sockets"), tree.path().join("moved")).unwrap();
        assert!(places.read().unwrap().contains(&Event::All));
        places.watch(&root, &wanted);
        fs::write(tree.path().join("moved/two"), "").unwrap();
        assert!(
            places.read().unwrap().iter().all(|event| *event == Event::All),
            "the moved one is no more ours"
        );
    }
}
