// SPDX-License-Identifier: Apache-2.0
//! The parent's hold on a child.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::order::{Answer, Order};
use super::{Signals, Who};
use crate::base::root::Root;
use crate::vhost_user::Failure;

/// One answer takes no longer; on a machine that is busy to the limit it takes a tenth of it.
const LIMIT: Duration = Duration::from_secs(5);

/// A child.
#[derive(Debug)]
pub(super) struct Party<'a> {
    pub(super) who: &'a Who,
    process: Child,
    orders: ChildStdin,
    answers: ChildStdout,
    read: Vec<u8>,
    signals: &'a Signals,
}

impl Drop for Party<'_> {
    fn drop(&mut self) {
        // It may hang: nothing is asked of it any more.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl<'a> Party<'a> {
    /// Starts a child: `program` is this one.
    pub(super) fn start(program: &Path, who: &'a Who, signals: &'a Signals) -> Result<Party<'a>> {
        let mut process = Command::new(program)
            .arg("probe-child")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let orders = process.stdin.take().context("the child has no input")?;
        let answers = process.stdout.take().context("the child has no output")?;
        Ok(Party { who, process, orders, answers, read: Vec::new(), signals })
    }

    /// The node's files as the child sees them.
    pub(super) fn root(&self) -> Result<Root> {
        match self.who.mounts_of {
            Some(_) => Root::open(Path::new(&format!("/proc/{}/root", self.process.id()))),
            None => Root::open(Path::new("/")),
        }
    }

    /// Gives an order and waits for the answer. An error is that a signal came, or a fault of ours.
    pub(super) fn ask(&mut self, order: &Order) -> Result<Answer> {
        self.order(order)?;
        self.answer()
    }

    /// Gives an order alone. A child that is gone is heard of when it is to answer.
    pub(super) fn order(&mut self, order: &Order) -> Result<()> {
        let line = serde_json::to_string(order)? + "\n";
        let _ = self.orders.write_all(line.as_bytes());
        Ok(())
    }

    /// The next answer; a child that died or hangs has failed.
    pub(super) fn answer(&mut self) -> Result<Answer> {
        let failed = |text: String| Failure::other("waiting for a child", text);
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(at) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=at).collect();
                return serde_json::from_slice(&line).context("reading a child's answer");
            }
            if !self.wait(end)? {
                return Ok(Err(failed(format!("no answer within {} s", LIMIT.as_secs()))));
            }
            let mut bytes = [0; 4096];
            let count = self.answers.read(&mut bytes).context("reading from a child")?;
            if count == 0 {
                let status = self.process.wait().context("waiting for a child")?;
                return Ok(Err(failed(format!("the child ended: {status}"))));
            }
            self.read.extend(bytes.iter().take(count));
        }
    }

    /// Waits for something to read; false when the time is over.
    fn wait(&self, end: Instant) -> Result<bool> {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let mut waited = [
                PollFd::new(self.answers.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut waited, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
                Err(Errno::EINTR) => continue,
                counted => counted.context("waiting for a child")?,
            };
            let [answer, signal] = waited.map(|one| one.any() == Some(true));
            if signal {
                bail!("interrupted; everything that it created was removed");
            }
            return Ok(answer);
        }
    }
}
