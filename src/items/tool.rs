// SPDX-License-Identifier: Apache-2.0
//! shadow's own tools change the account databases: they hold the locks other programs respect.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::shadow;
use crate::base::paths;
use crate::base::root::Root;

/// How many bytes of its error output are read.
const SAID: u64 = 64 << 10;

/// Runs `program` on the node's databases, or an image's.
pub fn accounts(root: &Root, program: &str, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(find(program));
    command.env_clear().env("PATH", paths::SEARCH).env("LC_ALL", "C");
    if !root.is_live() {
        command.arg(image_option(program)).arg(root.outside("/".as_ref()));
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let context = || format!("running {program}");
    let mut child = command.spawn().with_context(context)?;
    let mut said = Vec::new();
    // Only the exit code decides. (`Command::output` panics if it cannot read.)
    let _ = child.stderr.take().map(|stderr| stderr.take(SAID).read_to_end(&mut said));
    let status = child.wait().with_context(context)?;
    // The tool has ended, so its locks can go.
    let cleared = shadow::clear(root);
    if !status.success() {
        let said = String::from_utf8_lossy(&said).trim().replace('\n', "; ");
        // Killed, or without any message.
        let why = if said.is_empty() { status.to_string() } else { said };
        bail!("{program} {}: {why}", arguments.join(" "));
    }
    cleared
}

/// A name without a path would be looked for in the child, which tells through a pipe that `spawn` panics about where it
/// cannot be read (Rust 1.95).
fn find(program: &str) -> PathBuf {
    let mut places = paths::SEARCH.split(':').map(|directory| Path::new(directory).join(program));
    places.find(|path| path.exists()).unwrap_or_else(|| program.into())
}

/// gpasswd knows no `--prefix`, and usermod's looks for groups on the host (shadow 4.13): these two by chroot.
fn image_option(program: &str) -> &'static str {
    if matches!(program, "gpasswd" | "usermod") { "--root" } else { "--prefix" }
}
