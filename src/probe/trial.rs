// SPDX-License-Identifier: Apache-2.0
//! One port type and one pair of identities: what is tried, and how it went.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use serde::Serialize;

use super::{Side, Step, Who};
use crate::config::PortType;

/// What is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// The port type.
    pub kind: PortType,
    /// ovs-vswitchd.
    pub dataplane: Who,
    /// QEMU.
    pub qemu: Who,
    /// Where the socket is made.
    pub directory: PathBuf,
    /// Its name.
    pub name: String,
    /// The group that a socket of the dataplane is given to; none where nobody gives it.
    pub grant: Option<u32>,
    /// Where the guest's memory is made.
    pub huge: Option<Huge>,
    /// Sockets of this type that ports have now.
    pub live: Vec<PathBuf>,
}

/// A mount of hugetlbfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Huge {
    /// Where it is.
    pub mount: PathBuf,
    /// The size of its pages in bytes.
    pub page_size: u64,
    /// A page is free.
    pub free: bool,
}

/// A step that worked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Which.
    pub step: Step,
    /// What was done.
    pub what: String,
}

/// The step that did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// Which.
    pub step: Step,
    /// Whose call it was.
    pub side: Side,
    /// As whom.
    pub who: String,
    /// The error's name, as `EACCES`.
    pub errno: Option<String>,
    /// In words.
    pub error: String,
    /// To what.
    pub path: Option<PathBuf>,
    /// The component of it that says no, by the kernel's rule of access.
    pub component: Option<String>,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.side.name(), self.error)
    }
}

impl std::error::Error for Failed {}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The steps that worked.
    pub done: Vec<Done>,
    /// The one that did not; none: all worked.
    pub failed: Option<Failed>,
    /// It worked with ordinary pages, since no huge page was free.
    pub ordinary_pages: bool,
}

/// SIGTERM, SIGINT and SIGHUP, held back so that nothing is left behind.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Holds them back from now on; before any thread is started.
    pub fn hold() -> Result<Signals> {
        let set: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
        set.thread_block().context("holding signals back")?;
        Ok(Signals(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC).context("listening for signals")?))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
