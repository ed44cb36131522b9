// SPDX-License-Identifier: Apache-2.0
//! Unix sockets as `ss -xapne` prints them (iproute2, misc/ss.c): who holds them, their peers and the files they are bound to.

use std::path::{Path, PathBuf};

/// One stream socket, as `ss` or the kernel tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Its inode in sockfs, as in `/proc/PID/fd`.
    pub inode: u64,
    /// It listens.
    pub listening: bool,
    /// It is connected.
    pub connected: bool,
    /// The inode of the other end.
    pub peer: Option<u64>,
    /// The path it was bound to, as its owner spelled it. A connection has its listener's.
    pub path: Option<PathBuf>,
    /// Device and inode of the socket file, the inode cut to 32 bits.
    pub file: Option<(u64, u32)>,
    /// A process that holds it: pid and name. The kernel does not tell.
    pub owner: Option<(u32, String)>,
}

impl Stream {
    /// Is it bound to the socket file of this device and inode, whose path is given? An overlay may report another device
    /// for its files than its sockets have, and a report none.
    pub fn is_at(&self, (device, inode): (u64, u64), path: &Path) -> bool {
        let same_name = self.path.as_deref().and_then(Path::file_name) == path.file_name();
        self.file.is_some_and(|(of, cut)| {
            u64::from(cut) == inode & u64::from(u32::MAX) && (same_name || of == device)
        })
    }
}

/// Reads the whole output. Lines that are none of a stream socket are left out.
pub fn parse(text: &str) -> Vec<Stream> {
    text.lines().filter_map(line).collect()
}

/// `u_str LISTEN 0 1 /run/x 12 * 0 users:(("qemu",pid=7,fd=3)) <-> ino:5 dev:0/48 peers:`
fn line(line: &str) -> Option<Stream> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (kind, state, rest) = (words.first()?, words.get(1)?, words.get(4..)?);
    if *kind != "u_str" {
        return None;
    }
    // A path may hold blanks and look like any column: the last place that can be the inodes is behind it.
    let number = |word: &&str| word.parse::<u64>().ok();
    let (at, inode, peer) = (0..rest.len()).rev().find_map(|at| {
        let (inode, peer) = (number(rest.get(at)?)?, number(rest.get(at + 2)?)?);
        (rest[at + 1] == "*").then_some((at, inode, peer))
    })?;
    let behind = &rest[at + 3..];
    let value = |key: &str| behind.iter().find_map(|word| word.strip_prefix(key));
    let device = value("dev:").and_then(|text| {
        let (major, minor) = text.split_once('/')?;
        Some(nix::sys::stat::makedev(major.parse().ok()?, minor.parse().ok()?))
    });
    let file = device.zip(value("ino:").and_then(|text| text.parse::<u64>().ok()));
    let path = rest[..at].join(" ");
    Some(Stream {
        inode,
        listening: *state == "LISTEN",
        connected: *state == "ESTAB",
        peer: Some(peer).filter(|peer| *peer != 0),
        path: path.starts_with('/').then(|| PathBuf::from(path)),
        file: file.map(|(device, inode)| (device, (inode & u64::from(u32::MAX)) as u32)),
        owner: line.rsplit_once(" users:((\"").and_then(|(_, text)| owner(text)),
    })
}

/// `qemu",pid=7,fd=3))`
fn owner(text: &str) -> Option<(u32, String)> {
    let (name, rest) = text.split_once("\",pid=")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((digits.parse().ok()?, name.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_and_the_file_are_read() {
        let text = "Netid State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n\
            u_str ESTAB  0 0 /var/run/openvswitch/vh c0 73028 * 73026 users:((\"ovs-vswitchd\",pid=1217,fd=17)) <-> ino:222 dev:0/48\n\
            u_dgr ESTAB  0 0 * 71875 * 39619 users:((\"x\",pid=1280,fd=7)) <->\n\
            u_str LISTEN 0 1 /run/x 12 * 0 users:((\"a\",pid=7,fd=3),(\"b\",pid=8,fd=3)) <-> ino:5 dev:0/48 peers:\n\
            u_str ESTAB  0 0 * 73026 * 73028 users:((\"qemu-system-x86\",pid=9,fd=11)) <->\nu_str\n";
        let found = parse(text);
        assert_eq!(found.len(), 3);
        let device = nix::sys::stat::makedev(0, 48);
        assert_eq!(found[0].path, Some(PathBuf::from("/var/run/openvswitch/vh c0")));
        assert_eq!((found[0].inode, found[0].peer, found[0].file), (73028, Some(73026), Some((device, 222))));
        assert_eq!((found[1].listening, found[1].peer), (true, None));
        assert_eq!(found[1].owner, Some((7, "a".to_string())));
        assert_eq!((&found[2].path, found[2].connected), (&None, true));
    }
}
