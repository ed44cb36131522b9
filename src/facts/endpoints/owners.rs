// SPDX-License-Identifier: Apache-2.0
//! Which process holds a socket: the links in `/proc/PID/fd` say `socket:[INODE]` (proc(5)).

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::{OFlag, readlinkat};

use super::links::Owner;
use crate::root::Root;

/// Who should hold what.
#[derive(Debug)]
pub struct Expected<'a> {
    /// The process.
    pub pid: u32,
    /// Its name.
    pub name: &'a str,
    /// The sockets that are its own when all is well.
    pub inodes: HashSet<u64>,
}

/// Finds the holders: first those who should be, of whose descriptors no more are read than it takes, then, where some
/// are left, among all.
pub fn find(root: &Root, wanted: HashSet<u64>, expected: Vec<Expected<'_>>) -> HashMap<u64, Owner> {
    let mut search = Search { root, wanted, found: HashMap::new() };
    for Expected { pid, name, inodes } in expected {
        search.take(pid, Some(inodes), || Some(name.to_string()));
    }
    if search.wanted.is_empty() {
        return search.found;
    }
    for entry in root.list(Path::new("/proc")).unwrap_or_default() {
        let Some(pid) = entry.to_str().and_then(|name| name.parse().ok()) else { continue };
        search.take(pid, None, || name(root, pid));
    }
    search.found
}

struct Search<'a> {
    root: &'a Root,
    wanted: HashSet<u64>,
    found: HashMap<u64, Owner>,
}

impl Search<'_> {
    /// Takes the wanted sockets that this process holds, until it has all of `own`. One that ends meanwhile holds none.
    fn take(&mut self, pid: u32, mut own: Option<HashSet<u64>>, name: impl Fn() -> Option<String>) {
        let is_done = |own: &Option<HashSet<u64>>| own.as_ref().is_some_and(HashSet::is_empty);
        if self.wanted.is_empty() || is_done(&own) {
            return;
        }
        let directory = self.root.find(&PathBuf::from(format!("/proc/{pid}/fd"))).ok().flatten();
        let Some(directory) = directory else { return };
        let Ok(fd) = directory.reopen(OFlag::O_RDONLY | OFlag::O_DIRECTORY) else { return };
        let Ok(mut entries) = Dir::from_fd(fd) else { return };
        for entry in entries.iter().flatten() {
            let Ok(target) = readlinkat(directory.fd(), entry.file_name()) else { continue };
            let Some(inode) = target.to_str().and_then(inode) else { continue };
            if self.wanted.remove(&inode) {
                self.found.insert(inode, Owner { pid, name: name().unwrap_or_default() });
                own.as_mut().map(|own| own.remove(&inode));
                if is_done(&own) {
                    return;
                }
            }
        }
    }
}

fn inode(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn name(root: &Root, pid: u32) -> Option<String> {
    let comm = root.read(&PathBuf::from(format!("/proc/{pid}/comm"))).ok()??;
    Some(String::from_utf8_lossy(comm.trim_ascii_end()).into_owned())
}
