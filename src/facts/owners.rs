// SPDX-License-Identifier: Apache-2.0
//! Which process holds a socket: the links in `/proc/PID/fd` say `socket:[INODE]` (proc(5)).

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use rustix::fs::{RawDir, readlinkat_raw};
use serde::Serialize;

use crate::base::parts::in_parts;
use crate::base::root::Root;
use crate::base::root::ss::Stream;
use crate::facts::processes;

/// A process that holds a socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Owner {
    /// Its number.
    pub pid: u32,
    /// Its name (`comm`; of a longer one the program's).
    pub name: String,
    /// The unit that it is in. Only of one that was not expected: neither the VM's QEMU nor the switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

impl Owner {
    /// The process with this number; none when it ended.
    pub fn of(root: &Root, pid: u32) -> Option<Owner> {
        let comm = match root.report() {
            Some(_) => processes::by_pid(root, pid)?.status.name,
            None => String::from_utf8_lossy(file(root, pid, "comm")?.trim_ascii_end()).into_owned(),
        };
        let name = whole_name(root, pid, &comm).unwrap_or(comm);
        Some(Owner { pid, name, unit: unit(root, pid) })
    }

    /// In words.
    pub fn text(&self) -> String {
        match &self.unit {
            Some(unit) => format!("{} (pid {}, {unit})", self.name, self.pid),
            None => format!("{} (pid {})", self.name, self.pid),
        }
    }
}

/// What a report has no copy of does not make its answer less sure: it is only a name.
fn file(root: &Root, pid: u32, name: &str) -> Option<Vec<u8>> {
    let path = format!("/proc/{pid}/{name}");
    match root.report() {
        Some(report) => report.copy_of(&path).map(String::into_bytes),
        None => root.read(Path::new(&path)).ok()?,
    }
}

/// The kernel cuts a name at 15 bytes; the first argument has it all.
fn whole_name(root: &Root, pid: u32, comm: &str) -> Option<String> {
    let arguments = file(root, pid, "cmdline")?;
    let first = arguments.split(|byte| *byte == 0).next()?;
    let program = Path::new(std::str::from_utf8(first).ok()?).file_name()?.to_str()?;
    (comm.len() == 15 && program.starts_with(comm)).then(|| program.to_string())
}

/// By its control group (cgroups(7)), whose path has the unit's name.
fn unit(root: &Root, pid: u32) -> Option<String> {
    let text = String::from_utf8(file(root, pid, "cgroup")?).ok()?;
    let is_unit = |part: &&str| part.ends_with(".service") || part.ends_with(".scope");
    text.lines().find_map(|line| line.rsplit('/').find(is_unit)).map(str::to_string)
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

/// Finds the holders: first those who should be, of whose descriptors no more are read than it takes, then, where some
/// are left, among all.
pub fn find(root: &Root, mut wanted: HashSet<u64>, expected: &[Expected<'_>]) -> HashMap<u64, Owner> {
    if let Some(report) = root.report() {
        let streams = report.streams().unwrap_or_default().iter();
        let owner = |stream: &Stream| {
            let (pid, name) = stream.owner.clone().filter(|_| wanted.contains(&stream.inode))?;
            let is_expected = expected.iter().any(|one| one.pid == pid);
            Some((stream.inode, Owner { pid, name, unit: if is_expected { None } else { unit(root, pid) } }))
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
    for pid in processes::pids(root).into_iter().flatten() {
        let held = held(root, pid, &wanted, None);
        let owner = if held.is_empty() { None } else { Owner::of(root, pid) };
        for (inode, owner) in held.into_iter().zip(owner.iter().cycle()) {
            wanted.remove(&inode);
            found.insert(inode, owner.clone());
        }
        if wanted.is_empty() {
            break;
        }
    }
    found
}

/// What those who should hold sockets do hold, in their order. Each descriptor is a system call, and a full node has tens of
/// thousands.
fn among(root: &Root, wanted: &HashSet<u64>, expected: &[Expected<'_>]) -> Vec<(u64, Owner)> {
    let of_part = |part: &[Expected<'_>]| {
        let holder = |process: &Expected<'_>| {
            let owner = Owner { pid: process.pid, name: process.name.to_string(), unit: None };
            let held = held(root, process.pid, wanted, Some(&process.inodes));
            held.into_iter().map(move |inode| (inode, owner.clone())).collect::<Vec<_>>()
        };
        part.iter().flat_map(holder).collect::<Vec<_>>()
    };
    in_parts(expected, of_part).into_iter().flatten().collect()
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
    let (mut room, mut target) = ([MaybeUninit::uninit(); 8192], [0; LONGEST]);
    let mut entries = RawDir::new(fd, &mut room);
    while let Some(Ok(entry)) = entries.next() {
        // One that is longer, or `..`, is no socket.
        let length = readlinkat_raw(directory.fd(), entry.file_name(), &mut target[..]);
        let Some(target) = length.ok().and_then(|length| target.get(..length)) else { continue };
        let inode = inode(target).filter(|inode| wanted.contains(inode));
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

/// `socket:[18446744073709551615]` is the longest name of a socket.
const LONGEST: usize = 32;

fn inode(target: &[u8]) -> Option<u64> {
    str::from_utf8(target).ok()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Whose arguments name a path are no back ends: QEMU, which may be an earlier one of the same VM, the tools of the switch,
/// and shells.
const NO_BACK_ENDS: [&str; 7] = ["qemu-system", "qemu-kvm", "ovs-", "ovsdb-", "sh", "bash", "dash"];

/// The processes whose arguments have one of these paths as the value of an option, as back ends are told their sockets:
/// `--socket-path=PATH`, `--socket-path PATH`, `net_vhost0,iface=PATH,client=1`.
pub fn named(root: &Root, paths: &HashSet<&Path>) -> HashMap<PathBuf, Owner> {
    let mut found = HashMap::new();
    if paths.is_empty() || root.report().is_some() || !root.runs() {
        return found;
    }
    for pid in processes::pids(root).into_iter().flatten() {
        let Some(arguments) = file(root, pid, "cmdline") else { continue };
        for path in options(&arguments).filter_map(|value| paths.get(value)) {
            let owner = Owner::of(root, pid).filter(|owner| is_back_end(&owner.name));
            owner.map(|owner| found.entry(path.to_path_buf()).or_insert(owner));
        }
    }
    found
}

fn is_back_end(name: &str) -> bool {
    let is = |other: &str| name == other || (other.contains('-') && name.starts_with(other));
    !NO_BACK_ENDS.into_iter().any(is)
}

/// The values of all options: what is behind `=` in a word, up to a comma, and a word behind one that begins with `--`.
fn options(arguments: &[u8]) -> impl Iterator<Item = &Path> {
    let words = || arguments.split(|byte| *byte == 0);
    let parts = words().flat_map(|word| word.split(|byte| *byte == b','));
    let values = parts.flat_map(|part| {
        let ends = part.iter().enumerate().filter(|(_, byte)| **byte == b'=');
        ends.map(|(at, _)| &part[at + 1..])
    });
    let following = words().zip(words().skip(1)).filter(|(word, _)| word.starts_with(b"--"));
    values.chain(following.map(|(_, next)| next)).map(|value| Path::new(OsStr::from_bytes(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_back_end_is_told_its_socket_by_an_option() {
        let has = |arguments: &str| {
            options(arguments.replace(' ', "\0").as_bytes()).any(|value| value == Path::new("/run/x/s0"))
        };
        for yes in [
            "dpdk-testpmd --vdev net_vhost0,iface=/run/x/s0,client=1 -- -i",
            "virtiofsd --socket-path=/run/x/s0 -o source=/srv",
            "vhost-device-rng --socket-path /run/x/s0",
        ] {
            assert!(has(yes), "{yes}");
        }
        for no in [
            "vim /run/x/s0",
            "a --path=/run/x/s01",
            "a --path=/srv/run/x/s0",
            "rm -f /run/x/s0",
            "--x /run/x",
            "",
        ] {
            assert!(!has(no), "{no}");
        }
        for (name, back_end) in [
            ("qemu-system-x86_64", false),
            ("qemu-storage-daemon", true),
            ("sh", false),
            ("shd", true),
            ("ovs-vsctl", false),
        ] {
            assert_eq!(is_back_end(name), back_end, "{name}");
        }
    }
}
