// SPDX-License-Identifier: Apache-2.0
//! Runs plan, apply and revert in a temporary node: namespaces of its own, files of its own in memory, this program's own
//! dataplane, and a stand-in for QEMU, or QEMU itself if it is installed. Nothing outside is changed, and nothing is left: when
//! the node's first process ends, the node is gone.

mod guest;
mod node;
mod story;

pub use guest::become_qemu;
pub use story::tell;

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;

/// Runs the demo.
pub fn run() -> Result<()> {
    if !geteuid().is_root() {
        bail!("must run as root (sudo vhost-accord demo): it creates a temporary node with users of its own");
    }
    let apart = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    unshare(apart).context("making namespaces for the node (a container may forbid it)")?;
    let status = Command::new("/proc/self/exe").arg("demo-node").status().context("starting the node")?;
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(_), _) => bail!("the demo did not go as it should; see above"),
        (None, signal) => bail!("the node was killed (signal {})", signal.unwrap_or_default()),
    }
}
