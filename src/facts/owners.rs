// SPDX-License-Identifier: Apache-2.0
//! Which process holds a socket: the links in `/proc/PID/fd` say `socket:[INODE]` (proc(5)).

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::{OFlag, readlinkat};
use serde::Serialize;

use crate::base::root::Root;
use crate::base::root::ss::Stream;

/// A process that holds a socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Owner {
    /// Its number.
    pub pid: u32,
    /// Its name (`comm`).
    pub name: String,
}

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

/// How many threads read descriptors: each is a system call, and a full node has tens of thousands. No more than this, for
/// the node has other work.
const READERS: usize = 2;

/// Finds the holders: first those who should be, of whose descriptors no more are read than it takes, then, where some
/// are left, among all.
pub fn find(root: &Root, mut wanted: HashSet<u64>, expected: &[Expected<'_>]) -> HashMap<u64, Owner> {
    if let Some(report) = root.report() {
        let streams = report.streams().unwrap_or_default().iter();
        let owner = |stream: &Stream| {
            let (pid, name) = stream.owner.clone().filter(|_| wanted.contains(&stream.inode))?;
            Some((stream.inode, Owner { pid, name }))
        };
        return streams.filter_map(owner).collect();
    }
    let mut found = HashMap::new();
    for (inode, owner) in among(root, &wanted, expected) {
        wanted.remove(&inode);
        // The first of those who share a socket.
        found.entry(inode).or_insert(owner);
    }
    if wanted.is_empty() {
        return found;
    }
    for entry in root.list(Path::new("/proc")).unwrap_or_default() {
        let Some(pid) = entry.to_str().and_then(|name| name.parse().ok()) else { continue };
        let held = held(root, pid, &wanted, None);
        let name = if held.is_empty() { String::new() } else { name(root, pid).unwrap_or_default() };
        for inode in held {
            wanted.remove(&inode);
            found.insert(inode, Owner { pid, name: name.clone() });
        }
        if wanted.is_empty() {
            break;
        }
    }
    found
}

/// What those who should hold sockets do hold, in their order.
fn among(root: &Root, wanted: &HashSet<u64>, expected: &[Expected<'_>]) -> Vec<(u64, Owner)> {
    let of_part = |part: &[Expected<'_>]| {
        let holder = |process: &Expected<'_>| {
            let owner = Owner { pid: process.pid, name: process.name.to_string() };
            let held = held(root, process.pid, wanted, Some(&process.inodes));
            held.into_iter().map(move |inode| (inode, owner.clone())).collect::<Vec<_>>()
        };
        part.iter().flat_map(holder).collect::<Vec<_>>()
    };
    let size = expected.len().div_ceil(READERS).max(1);
    std::thread::scope(|scope| {
        let readers: Vec<_> = expected.chunks(size).map(|part| scope.spawn(move || of_part(part))).collect();
        let found = readers.into_iter().map(|reader| reader.join());
        found.flat_map(|found| found.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// The wanted sockets that this process holds; it is left when all of `own` are found. One that ends meanwhile holds none.
pub fn held(root: &Root, pid: u32, wanted: &HashSet<u64>, own: Option<&HashSet<u64>>) -> HashSet<u64> {
    if let Some(report) = root.report() {
        let is_its = |stream: &&Stream| stream.owner.as_ref().is_some_and(|owner| owner.0 == pid);
        let streams = report.streams().unwrap_or_default().iter().filter(is_its);
        return streams.map(|stream| stream.inode).filter(|inode| wanted.contains(inode)).collect();
    }
    let mut found = HashSet::new();
    let mut left = own.map(HashSet::len);
    if left == Some(0) {
        return found;
    }
    let directory = root.find(&PathBuf::from(format!("/proc/{pid}/fd"))).ok().flatten();
    let Some(directory) = directory else { return found };
    let Ok(fd) = directory.reopen(OFlag::O_RDONLY | OFlag::O_DIRECTORY) else { return found };
    let Ok(mut entries) = Dir::from_fd(fd) else { return found };
    for entry in entries.iter().flatten() {
        let Ok(target) = readlinkat(directory.fd(), entry.file_name()) else { continue };
        let inode = target.to_str().and_then(inode).filter(|inode| wanted.contains(inode));
        // A process can have a socket twice.
        let Some(inode) = inode.filter(|inode| found.insert(*inode)) else { continue };
        if own.is_some_and(|own| own.contains(&inode)) {
            left = left.map(|left| left - 1);
        }
        if left == Some(0) {
            break;
        }
    }
    found
}

fn inode(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn name(root: &Root, pid: u32) -> Option<String> {
    let comm = root.read(&PathBuf::from(format!("/proc/{pid}/comm"))).ok()??;
    Some(String::from_utf8_lossy(comm.trim_ascii_end()).into_owned())
}
