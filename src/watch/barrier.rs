// SPDX-License-Identifier: Apache-2.0
//! `watch --settle`: connects to a socket and is told when nothing is pending any more.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::base::paths::WATCH_SOCKET;

const SETTLED: &[u8] = b"settled\n";
/// The most clients at once.
const MAX_WAITING: usize = 64;

/// The socket, and its clients with the look at the node that each waits for.
#[derive(Debug)]
pub struct Barrier {
    listener: UnixListener,
    waiting: Vec<(UnixStream, u64)>,
}

impl Barrier {
    /// Opens it. Only root may connect: nobody else can write to what root creates in `/run`.
    ///
    /// # Errors
    /// Another watch service runs.
    pub fn open() -> Result<Barrier> {
        let path = Path::new(WATCH_SOCKET);
        if UnixStream::connect(path).is_ok() {
            bail!("another 'vhost-accord watch' is running ({WATCH_SOCKET})");
        }
        // A killed service left its socket.
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).with_context(|| format!("creating {WATCH_SOCKET}"))?;
        listener.set_nonblocking(true)?;
        Ok(Barrier { listener, waiting: Vec::new() })
    }

    /// Accepts new clients. `look` is the number of the first look at the node that begins after that. True if there are any.
    pub fn accept(&mut self, look: u64) -> bool {
        let before = self.waiting.len();
        while let Ok((stream, _)) = self.listener.accept() {
            if self.waiting.len() < MAX_WAITING && stream.set_nonblocking(true).is_ok() {
                self.waiting.push((stream, look));
            }
        }
        self.waiting.len() > before
    }

    /// Nothing is pending, and so many looks have ended.
    pub fn settled(&mut self, looks: u64) {
        for (mut stream, _) in self.waiting.extract_if(.., |(_, look)| *look <= looks) {
            // Ignored: a client may have stopped waiting.
            let _ = stream.write_all(SETTLED);
        }
    }
}

impl Drop for Barrier {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(WATCH_SOCKET);
    }
}

impl AsFd for Barrier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// Waits until the watch service has nothing pending, as long as `limit`.
pub fn settle(limit: Duration) -> Result<()> {
    let mut stream = UnixStream::connect(WATCH_SOCKET)
        .context("vhost-accord-watch.service is not running (systemctl status vhost-accord-watch)")?;
    stream.set_read_timeout(Some(limit))?;
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) if said == SETTLED => Ok(()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            bail!("something is still pending after {} s", limit.as_secs())
        }
        Ok(_) | Err(_) => bail!("vhost-accord-watch.service stopped meanwhile"),
    }
}
