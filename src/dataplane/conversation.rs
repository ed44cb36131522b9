// SPDX-License-Identifier: Apache-2.0
//! A conversation over a Unix socket that ends in time, whoever is at the other end.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use serde::de::DeserializeOwned;
use serde_json::Deserializer;

use crate::base::root::{Kind, Root};

/// How long to wait before another attempt while the server's queue of connections is full.
const RETRY: Duration = Duration::from_millis(5);
/// How much of a message is received at once: what a hook asks for is answered in less.
const PIECE: usize = 8 << 10;

/// A stream that fails when its time or its bytes are used up.
#[derive(Debug)]
pub struct Bounded {
    stream: UnixStream,
    deadline: Instant,
    allowance: usize,
    most: usize,
    /// Of messages, what was received, and how much of it was taken.
    received: Vec<u8>,
    taken: usize,
}

impl Bounded {
    /// Connects to the socket at `path`. `limit` is for the whole conversation, from now on; `most` is how many bytes may be
    /// received in it.
    pub fn connect(root: &Root, path: &Path, limit: Duration, most: usize) -> Result<Bounded> {
        let context = || format!("connecting to {}", path.display());
        let handle = root.find(path)?.with_context(|| format!("{} does not exist", path.display()))?;
        if handle.kind() != Kind::Socket {
            bail!("{} is not a socket", path.display());
        }
        let deadline = Instant::now() + limit;
        let socket = dial(&handle.proc_path(), deadline).with_context(context)?;
        Bounded::over(UnixStream::from(socket), deadline, most).with_context(context)
    }

    /// Over a stream that is connected already.
    pub fn over(stream: UnixStream, deadline: Instant, most: usize) -> Result<Bounded> {
        stream.set_nonblocking(false)?;
        Ok(Bounded { stream, deadline, allowance: most, most, received: Vec::new(), taken: 0 })
    }

    /// The stream without its bounds, and what came behind the last whole message.
    pub fn into_parts(self) -> (UnixStream, Vec<u8>) {
        (self.stream, self.received[self.taken..].to_vec())
    }

    /// The next JSON-RPC message, an object, however the stream cuts it up. serde_json bounds the depth.
    pub fn message<T: DeserializeOwned>(&mut self) -> Result<T> {
        loop {
            let mut messages = Deserializer::from_slice(&self.received[self.taken..]).into_iter();
            match messages.next() {
                Some(Ok(message)) => {
                    self.taken += messages.byte_offset();
                    return Ok(message);
                }
                Some(Err(error)) if !error.is_eof() => return Err(error.into()),
                _ => self.receive()?,
            }
        }
    }

    /// Receives until a message may be whole: a long one is not read anew with each piece of it.
    fn receive(&mut self) -> Result<()> {
        self.received.drain(..std::mem::take(&mut self.taken));
        let is_first = self.received.is_empty();
        let mut buffer = [0; PIECE];
        loop {
            let length = self.read(&mut buffer)?;
            let piece = &buffer[..length];
            if piece.is_empty() {
                bail!("the connection was closed");
            }
            self.received.extend_from_slice(piece);
            if is_first || piece.trim_ascii_end().ends_with(b"}") {
                return Ok(());
            }
        }
    }

    fn time_left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(out_of_time()) } else { Ok(left) }
    }
}

/// Connects without blocking: a server that does not accept has a full queue after a while, and a plain connect would
/// wait there for ever.
fn dial(path: &Path, deadline: Instant) -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let address = UnixAddr::new(path)?;
    loop {
        match connect(socket.as_raw_fd(), &address) {
            Ok(()) => return Ok(socket),
            Err(Errno::EAGAIN) if Instant::now() + RETRY < deadline => std::thread::sleep(RETRY),
            Err(Errno::EAGAIN) => bail!("the server does not accept the connection"),
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn out_of_time() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

/// A socket whose time is up reports `EAGAIN`.
fn name_timeout(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { out_of_time() } else { error }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.time_left()?))?;
        let length = self.stream.read(buffer).map_err(name_timeout)?;
        let most = self.most >> 20;
        let too_much = || io::Error::other(format!("more than {most} MiB"));
        self.allowance = self.allowance.checked_sub(length).ok_or_else(too_much)?;
        Ok(length)
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.time_left()?))?;
        self.stream.write(bytes).map_err(name_timeout)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
