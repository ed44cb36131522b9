// SPDX-License-Identifier: Apache-2.0
//! Runs a program with a limit of time.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Its output; its first line of complaint as the error when it fails. In the C locale and UTC, whatever ours are.
pub(super) fn run(program: &Path, arguments: &[&str], limit: Duration) -> Result<String> {
    let what = format!("running {} {}", program.display(), arguments.join(" "));
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .env("SYSTEMD_PAGER", "")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| what.clone())?;
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(limit) else {
        // It is ours and not waited for yet, so the number is still its own.
        kill(pid, Signal::SIGKILL).ok();
        bail!("{what}: not done after {} s", limit.as_secs());
    };
    let output = output.with_context(|| what.clone())?;
    if output.status.success() {
        return String::from_utf8(output.stdout).context(what);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let line = complaint.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    bail!("{what}: {line} ({})", output.status)
}
