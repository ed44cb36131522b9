// SPDX-License-Identifier: Apache-2.0
//! Which process holds a socket: the links in `/proc/PID/fd` say `socket:[INODE]` (proc(5)).

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::{OFlag, readlinkat};

use super::links::Owner;
use crate::root::Root;

/// Finds the holders: first among those expected to be, then, where some are left, among all.
pub fn find(root: &Root, mut wanted: HashSet<u64>, expected: &[(u32, &str)]) -> HashMap<u64, Owner> {
    let mut found = HashMap::new();
    for (pid, name) in expected {
        if wanted.is_empty() {
            return found;
        }
        take(root, *pid, &mut wanted, &mut found, || Some((*name).to_string()));
    }
    if wanted.is_empty() {
        return found;
    }
    let known: HashSet<u32> = expected.iter().map(|(pid, _)| *pid).collect();
    for entry in root.list(Path::new("/proc")).unwrap_or_default() {
        let Some(pid) = entry.to_str().and_then(|name| name.parse().ok()) else { continue };
        if !known.contains(&pid) {
            take(root, pid, &mut wanted, &mut found, || name(root, pid));
        }
        if wanted.is_empty() {
            break;
        }
    }
    found
}

/// Takes the wanted sockets that this process holds. One that ends meanwhile holds none.
fn take(
    root: &Root,
    pid: u32,
    wanted: &mut HashSet<u64>,
    found: &mut HashMap<u64, Owner>,
    name: impl Fn() -> Option<String>,
) {
    let directory = root.find(&PathBuf::from(format!("/proc/{pid}/fd"))).ok().flatten();
    let Some(directory) = directory else { return };
    let Ok(fd) = directory.reopen(OFlag::O_RDONLY | OFlag::O_DIRECTORY) else { return };
    let Ok(mut entries) = Dir::from_fd(fd) else { return };
    for entry in entries.iter().flatten() {
        let Ok(target) = readlinkat(directory.fd(), entry.file_name()) else { continue };
        let Some(inode) = target.to_str().and_then(inode) else { continue };
        if wanted.remove(&inode) {
            let name = name().unwrap_or_default();
            found.insert(inode, Owner { pid, name });
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
