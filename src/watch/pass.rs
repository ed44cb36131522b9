// SPDX-License-Identifier: Apache-2.0
//! A look at the whole node, in a child process (`watch --once`), so that sockets are granted meanwhile.

use std::io::{ErrorKind, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serde_json::Value;

use super::tug::Tug;

/// How long after an event a look begins: more events may follow.
const SOON: Duration = Duration::from_millis(300);
/// The least and the most time between the begins of two looks. In between it is four times as long as a look takes, so that
/// endless changes use a quarter of a processor. The most allows four fixes within ten seconds, which end a tug of war.
const APART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));
/// Time between looks without an event.
const ANYWAY: Duration = Duration::from_secs(60);
/// The most time for a look.
const LIMIT: Duration = Duration::from_secs(60);
/// The most output of a look.
const MAX_SAID: usize = 64 << 20;

/// The child that looks, and when the next look is due.
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

    /// No look runs, and none is due except the one of the next minute.
    pub fn is_idle(&self, now: Instant) -> bool {
        self.running.is_none() && self.due > now + 2 * APART.0
    }

    /// When the next action is due.
    pub fn next(&self) -> Instant {
        self.anyway.min(if self.running.is_some() { self.begun + LIMIT } else { self.due })
    }

    pub fn output(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|running| running.output.as_fd())
    }

    /// Is another minute over? A look without an event counts as one, so that both wake us together.
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
                // The child may not end at once: wait as long again.
                self.begun = now;
                running.child.kill().context("stopping a look at the node")?;
            }
            return Ok(());
        }
        if now < self.due {
            return Ok(());
        }
        (self.begun, self.due, self.count) = (now, now + ANYWAY, self.count + 1);
        // This program, even if an upgrade replaced its file.
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
