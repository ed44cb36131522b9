// SPDX-License-Identifier: Apache-2.0
//! A look at the whole node, in a child (`watch --once`): while it takes its time, sockets are granted.

use std::io::{ErrorKind, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serde_json::Value;

use super::tug::Tug;

/// How long after what gave rise to it: more may follow.
const SOON: Duration = Duration::from_millis(300);
/// From the begin of one to that of the next, at least; where one takes long, four times as long as it took, so that changes
/// without end take a quarter of a processor. At most: four fixes within ten seconds are a tug of war.
const APART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));
/// Without any reason.
const ANYWAY: Duration = Duration::from_secs(60);
/// No node takes longer.
const LIMIT: Duration = Duration::from_secs(60);
/// All that it may say.
const MAX_SAID: usize = 64 << 20;

/// The child that looks, and when the next one does.
#[derive(Debug)]
pub struct Passes {
    due: Instant,
    anyway: Instant,
    begun: Instant,
    took: Duration,
    running: Option<Running>,
    pub count: u64,
}

#[derive(Debug)]
struct Running {
    child: Child,
    output: ChildStdout,
    said: Vec<u8>,
}

impl Passes {
    /// The first is due at once.
    pub fn new(now: Instant) -> Passes {
        let (anyway, took) = (now + ANYWAY, Duration::ZERO);
        Passes { due: now, anyway, begun: now, took, running: None, count: 0 }
    }

    /// Something happened: a look is due soon.
    pub fn wanted(&mut self, now: Instant) {
        let apart = (4 * self.took).clamp(APART.0, APART.1);
        self.due = self.due.min((now + SOON).max(self.begun + apart));
    }

    /// None runs, and none is asked for but the next minute's.
    pub fn is_idle(&self, now: Instant) -> bool {
        self.running.is_none() && self.due > now + 2 * APART.0
    }

    /// When something is to be done.
    pub fn next(&self) -> Instant {
        self.anyway.min(if self.running.is_some() { self.begun + LIMIT } else { self.due })
    }

    pub fn output(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|running| running.output.as_fd())
    }

    /// Is another minute over? One that ends while a look is due without any reason is: they wake us together.
    pub fn minute(&mut self, now: Instant) -> bool {
        let without_reason = self.due == self.begun + ANYWAY && self.running.is_none();
        let over = now >= self.anyway || without_reason && now >= self.due;
        if over {
            self.anyway = now + ANYWAY;
        }
        over
    }

    /// Begins one if it is due, and ends one that takes too long.
    pub fn go_on(&mut self, now: Instant, tug: &Tug) -> Result<()> {
        if let Some(running) = &mut self.running {
            if now >= self.begun + LIMIT {
                // The kernel may not let it go at once.
                self.begun = now;
                running.child.kill().context("stopping a look at the node")?;
            }
            return Ok(());
        }
        if now < self.due {
            return Ok(());
        }
        (self.begun, self.due, self.count) = (now, now + ANYWAY, self.count + 1);
        // Itself, whatever has become of its file: an upgrade replaces that.
        let mut command = Command::new("/proc/self/exe");
        command.args(["watch", "--once", "--json"]).stdin(Stdio::null()).stdout(Stdio::piped());
        for target in tug.left() {
            command.arg("--leave").arg(target);
        }
        let mut child = command.spawn().context("starting a look at the node")?;
        let output = child.stdout.take().context("a child without output")?;
        fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("reading without waiting")?;
        self.running = Some(Running { child, output, said: Vec::new() });
        Ok(())
    }

    /// What it found, once it has ended.
    pub fn result(&mut self) -> Option<Result<Value>> {
        let running = self.running.as_mut()?;
        let mut buffer = [0; 16 << 10];
        let ended = loop {
            match running.output.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(length) if running.said.len() + length > MAX_SAID => {
                    break Err(ErrorKind::OutOfMemory.into());
                }
                Ok(length) => running.said.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.took = self.begun.elapsed();
        self.running.take().map(|running| finish(running, ended))
    }
}

fn finish(mut running: Running, ended: std::io::Result<()>) -> Result<Value> {
    if ended.is_err() {
        running.child.kill()?;
    }
    let status = running.child.wait().context("waiting for a look at the node")?;
    ended.context("reading what a look at the node found")?;
    match serde_json::from_slice(&running.said) {
        Ok(found) => Ok(found),
        Err(_) => bail!("the look at the node failed ({status})"),
    }
}
