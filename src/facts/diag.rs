// SPDX-License-Identifier: Apache-2.0
//! The kernel's Unix sockets with their peers and the files they were bound to: `sock_diag` (sock_diag(7),
//! include/uapi/linux/unix_diag.h). `/proc/net/unix` has neither, and a newline in a path forges lines in it.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::base::root::Root;
use crate::base::root::ss::Stream;

/// `SOCK_DIAG_BY_FAMILY` (include/uapi/linux/sock_diag.h).
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP` (include/uapi/linux/netlink.h).
const DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;
/// `struct unix_diag_msg`.
const MESSAGE: usize = 16;
/// `UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER`.
const SHOW: u32 = 7;
const NAME: u16 = 0;
const VFS: u16 = 1;
const PEER: u16 = 2;
/// `TCP_ESTABLISHED` and `TCP_LISTEN`, which Unix sockets use as well.
const CONNECTED: u8 = 1;
const LISTENING: u8 = 10;
/// A dump comes in pieces of at most 32 KiB.
const PIECE: usize = 64 << 10;
/// The kernel answers at once; this is for what should not happen, in seconds.
const PATIENCE: i64 = 2;

/// All stream sockets of our network namespace.
pub fn sockets(root: &Root) -> Result<Vec<Stream>> {
    if let Some(report) = root.report() {
        return Ok(report.streams()?.to_vec());
    }
    let flags = SockFlag::SOCK_CLOEXEC;
    let netlink = socket(AddressFamily::Netlink, SockType::Raw, flags, Some(SockProtocol::NetlinkSockDiag))
        .context("opening a sock_diag socket")?;
    setsockopt(&netlink, ReceiveTimeout, &TimeVal::seconds(PATIENCE))?;
    send(netlink.as_raw_fd(), &request(), MsgFlags::empty()).context("asking sock_diag")?;
    let mut found = Vec::new();
    while !receive(&netlink, &mut found).context("reading sock_diag's answer")? {}
    Ok(found)
}

/// `struct nlmsghdr` and `struct unix_diag_req`.
fn request() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + 24);
    bytes.extend(40_u32.to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(DUMP.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([nix::libc::AF_UNIX as u8, 0, 0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(SHOW.to_ne_bytes());
    bytes.extend([0xff; 8]);
    bytes
}

/// True when the answer is complete.
fn receive(netlink: &OwnedFd, found: &mut Vec<Stream>) -> Result<bool> {
    let mut piece = vec![0; PIECE];
    let length = loop {
        match recv(netlink.as_raw_fd(), &mut piece, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Err(std::io::Error::from(ErrorKind::TimedOut).into()),
            other => break other?,
        }
    };
    parse(&piece[..length], found)
}

/// Reads one piece of the answer. True when it says that it was the last.
pub fn parse(mut piece: &[u8], found: &mut Vec<Stream>) -> Result<bool> {
    while piece.len() >= HEADER {
        let length = u32_at(piece, 0)? as usize;
        let kind = u16_at(piece, 4)?;
        let Some(body) = piece.get(HEADER..length) else { bail!("a message of {length} bytes is cut off") };
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let errno =
                    Errno::from_raw(i32::from_ne_bytes(u32_at(body, 0)?.to_ne_bytes()).wrapping_neg());
                return Err(errno.into());
            }
            BY_FAMILY => found.extend(one(body)?),
            _ => {}
        }
        piece = piece.get(aligned(length)..).unwrap_or_default();
    }
    Ok(false)
}

/// `None` for what is no stream socket.
fn one(body: &[u8]) -> Result<Option<Stream>> {
    let (Some(kind), Some(state)) = (body.get(1), body.get(2)) else { bail!("a message without content") };
    if i32::from(*kind) != nix::libc::SOCK_STREAM {
        return Ok(None);
    }
    let mut socket = Stream {
        inode: u64::from(u32_at(body, 4)?),
        listening: *state == LISTENING,
        connected: *state == CONNECTED,
        peer: None,
        path: None,
        file: None,
        owner: None,
    };
    let mut rest = body.get(MESSAGE..).unwrap_or_default();
    while rest.len() >= 4 {
        let length = usize::from(u16_at(rest, 0)?);
        let Some(value) = rest.get(4..length) else { bail!("an attribute of {length} bytes is cut off") };
        match u16_at(rest, 2)? {
            NAME => socket.path = path(value),
            VFS => socket.file = Some((device(u32_at(value, 4)?), u32_at(value, 0)?)),
            PEER => socket.peer = Some(u64::from(u32_at(value, 0)?)).filter(|peer| *peer != 0),
            _ => {}
        }
        rest = rest.get(aligned(length)..).unwrap_or_default();
    }
    Ok(Some(socket))
}

/// Abstract names begin with a NUL; a path may end with one.
fn path(value: &[u8]) -> Option<PathBuf> {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    (end > 0).then(|| PathBuf::from(OsStr::from_bytes(&value[..end])))
}

/// From the kernel's own encoding of a device number (`MKDEV`, include/linux/kdev_t.h) to that of stat(2).
fn device(kernel: u32) -> u64 {
    nix::sys::stat::makedev(u64::from(kernel >> 20), u64::from(kernel & 0xf_ffff))
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4).max(4)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    let bytes = bytes.get(at..at + 2).context("a message is too short")?;
    Ok(u16::from_ne_bytes(bytes.try_into()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    let bytes = bytes.get(at..at + 4).context("a message is too short")?;
    Ok(u32::from_ne_bytes(bytes.try_into()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    use std::path::Path;

    use super::*;

    #[test]
    fn finds_a_connection_its_peer_and_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let client = UnixStream::connect(&path).unwrap();
        let (server, _) = listener.accept().unwrap();
        let number = |fd: i32| {
            let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
            let text = link.to_str().unwrap().to_string();
            text.trim_start_matches("socket:[").trim_end_matches(']').parse::<u64>().unwrap()
        };
        let file = std::fs::metadata(&path).unwrap();
        let found = sockets(&Root::open(Path::new("/")).unwrap()).unwrap();
        let of = |inode: u64| found.iter().find(|socket| socket.inode == inode).unwrap();
        let listening = of(number(listener.as_raw_fd()));
        assert!(listening.listening);
        assert_eq!(listening.path.as_deref(), Some(path.as_path()));
        assert_eq!(listening.file.unwrap().1, u32::try_from(file.ino() & 0xffff_ffff).unwrap());
        let accepted = of(number(server.as_raw_fd()));
        assert_eq!(accepted.peer, Some(number(client.as_raw_fd())));
        assert_eq!((accepted.listening, accepted.file), (false, listening.file));
        assert_eq!(of(number(client.as_raw_fd())).file, None);
    }

    #[test]
    fn a_cut_answer_is_an_error_and_nothing_else() {
        let mut found = Vec::new();
        for length in 0..64 {
            let mut bytes = vec![0xff; length];
            if length >= 4 {
                bytes[..4].copy_from_slice(&u32::try_from(length + 1).unwrap().to_ne_bytes());
            }
            assert!(length < HEADER || parse(&bytes, &mut found).is_err());
        }
        assert!(found.is_empty());
    }
}
