// SPDX-License-Identifier: Apache-2.0
//! Unix domain sockets: the kernel's list of them, and whether anyone answers behind a socket file.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use serde::{Deserialize, Serialize};

use crate::base::root::ss::Stream;
use crate::base::root::{Handle, Kind, Report, Root};

/// `__SO_ACCEPTCON`, the bit of a listening socket in the column `Flags` (include/linux/net.h).
const ACCEPTS_CONNECTIONS: u32 = 1 << 16;

/// What kind of socket it is, the column `Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SocketType {
    /// What vhost-user speaks over.
    Stream,
    /// Datagrams.
    Datagram,
    /// Sequenced packets.
    Packets,
}

/// One line of `/proc/net/unix`. A path that holds a newline can forge lines: what acts must ask [`liveness`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnixSocket {
    /// The socket's inode in sockfs (as in `/proc/PID/fd`), not that of the socket file.
    pub inode: u64,
    /// The path it was bound to, as its owner spelled it; `None` for unbound and abstract ones.
    pub path: Option<PathBuf>,
    /// It listens for connections.
    pub listening: bool,
    /// It is connected.
    pub connected: bool,
    /// What kind it is; `None` for one that we do not know.
    pub kind: Option<SocketType>,
}

/// Who is behind a socket file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Liveness {
    /// A process holds this very socket file's socket and takes connections (or is about to: bound, not listening yet).
    Listening,
    /// Nobody holds it: whoever made it is gone. Proven by the kernel, for whatever namespace the owner was in.
    Stale,
    /// There is nothing at the path.
    Missing,
    /// There is something else at the path.
    NotASocket,
    /// It could not be found out: why.
    Unknown(String),
}

/// Reads the text of `/proc/net/unix`. Lines that are none (the rest of a path with a newline) are left out.
pub fn parse(text: &[u8]) -> Vec<UnixSocket> {
    text.split(|byte| *byte == b'\n').skip(1).filter_map(parse_line).collect()
}

/// `Num RefCount Protocol Flags Type St Inode Path`, columns padded with blanks.
fn parse_line(line: &[u8]) -> Option<UnixSocket> {
    let mut rest = line;
    let mut column = || {
        rest = rest.trim_ascii_start();
        let (word, tail) = rest.split_at(rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len()));
        rest = tail;
        std::str::from_utf8(word).ok()
    };
    let number = column()?;
    let (_references, _protocol, flags, kind, state, inode) =
        (column()?, column()?, column()?, column()?, column()?, column()?);
    if !number.ends_with(':') {
        return None;
    }
    let path = rest.strip_prefix(b" ").filter(|path| !path.is_empty() && path[0] != b'@');
    Some(UnixSocket {
        inode: inode.parse().ok()?,
        path: path.map(|path| PathBuf::from(OsStr::from_bytes(path))),
        listening: u32::from_str_radix(flags, 16).ok()? & ACCEPTS_CONNECTIONS != 0,
        connected: state == "03",
        kind: match kind {
            "0001" => Some(SocketType::Stream),
            "0002" => Some(SocketType::Datagram),
            "0005" => Some(SocketType::Packets),
            _ => None,
        },
    })
}

/// The kernel's list: the sockets of our network namespace only.
pub fn list(root: &Root) -> Result<Vec<UnixSocket>> {
    let path = Path::new("/proc/net/unix");
    // `/proc/net` is a link to `self/net`, and that one lies in a directory of our own process.
    let text = root
        .read(Path::new("/proc/self/net/unix"))?
        .with_context(|| format!("{} is missing", path.display()))?;
    Ok(parse(&text))
}

/// The listening stream sockets that were bound to `path`, whichever way it is spelled (`/var/run`, `/run`).
pub fn listeners_at<'a>(root: &Root, sockets: &'a [UnixSocket], path: &Path) -> Result<Vec<&'a UnixSocket>> {
    let wanted = place(root, path)?;
    let mut found = Vec::new();
    for socket in sockets.iter().filter(|socket| socket.listening && socket.kind == Some(SocketType::Stream))
    {
        let Some(bound) = socket.path.as_deref() else { continue };
        // Only a same-named one is worth looking up. Who bound it chose the path: if it cannot be resolved, it is another.
        let same = bound == path
            || (bound.file_name() == path.file_name() && place(root, bound).ok() == Some(wanted.clone()));
        if same {
            found.push(socket);
        }
    }
    Ok(found)
}

/// A path with its directory resolved, its last component left alone. `None` when the directory does not exist.
fn place(root: &Root, path: &Path) -> Result<Option<PathBuf>> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    Ok(root.find(parent)?.map(|dir| dir.path().join(name)))
}

/// Whether somebody takes connections behind the socket file at `path`, without making one.
pub fn liveness(root: &Root, path: &Path) -> Liveness {
    match root.find_nofollow(path) {
        Ok(Some(handle)) => liveness_of(&handle),
        Ok(None) => Liveness::Missing,
        Err(error) => Liveness::Unknown(format!("{error:#}")),
    }
}

/// As [`liveness`], for a socket file that is already held: nothing that happens to its name changes the answer.
///
/// The kernel is asked to connect a *datagram* socket to it. It looks the peer up by the file's inode, answers
/// `ECONNREFUSED` when there is none and `EPROTOTYPE` when there is one of another type (`unix_find_bsd`,
/// net/unix/af_unix.c), and never queues a connection: the peer notices nothing.
pub fn liveness_of(handle: &Handle) -> Liveness {
    if handle.kind() != Kind::Socket {
        return Liveness::NotASocket;
    }
    if let Some(report) = handle.report() {
        return liveness_told(report, handle).unwrap_or_else(|error| Liveness::Unknown(format!("{error:#}")));
    }
    match knock(handle) {
        Err(Errno::EPROTOTYPE) => Liveness::Listening,
        Err(Errno::ECONNREFUSED) => Liveness::Stale,
        Ok(()) => Liveness::Unknown("a datagram socket answers, not a stream socket".to_string()),
        Err(errno) => Liveness::Unknown(io::Error::from(errno).to_string()),
    }
}

/// By what `ss` said of all sockets: only the file's inode tells its own from one that was there before.
fn liveness_told(report: &Report, handle: &Handle) -> Result<Liveness> {
    let streams = report.streams()?;
    let inode = handle.inode()?;
    let name = handle.path().file_name();
    let is_behind = |stream: &&Stream| {
        let same_name = stream.path.as_deref().and_then(Path::file_name) == name;
        !stream.connected
            && same_name
            && stream.file.is_some_and(|(_, cut)| u64::from(cut) == inode & u64::from(u32::MAX))
    };
    Ok(if streams.iter().any(|stream| is_behind(&stream)) { Liveness::Listening } else { Liveness::Stale })
}

fn knock(handle: &Handle) -> Result<(), Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let own = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    connect(std::os::fd::AsRawFd::as_raw_fd(&own), &UnixAddr::new(&handle.proc_path())?)
}
