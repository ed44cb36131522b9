// SPDX-License-Identifier: Apache-2.0
//! Unix domain sockets: whether anyone answers behind a socket file.

use std::io;
use std::path::Path;

use anyhow::Result;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use serde::{Deserialize, Serialize};

use crate::base::root::ss::Stream;
use crate::base::root::{Handle, Kind, Report, Root};

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
    let id = (handle.id().0, handle.inode()?);
    let is_behind = |stream: &Stream| !stream.connected && stream.is_at(id, handle.path());
    Ok(if report.streams()?.iter().any(is_behind) { Liveness::Listening } else { Liveness::Stale })
}

fn knock(handle: &Handle) -> Result<(), Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let own = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    connect(std::os::fd::AsRawFd::as_raw_fd(&own), &UnixAddr::new(&handle.proc_path())?)
}
