// SPDX-License-Identifier: Apache-2.0
//! shadow's own tools change the account databases: they hold the locks other programs respect.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::root::Root;

/// Runs `program` on the node's databases, or an image's (`--prefix`).
pub fn accounts(root: &Root, program: &str, arguments: &[&str]) -> Result<()> {
    run(root, program, "--prefix", arguments)
}

/// gpasswd knows no `--prefix`, but `--root` (a chroot).
pub fn membership(root: &Root, arguments: &[&str]) -> Result<()> {
    run(root, "gpasswd", "--root", arguments)
}

fn run(root: &Root, program: &str, image_option: &str, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
    if !root.is_live() {
        command.arg(image_option).arg(root.outside("/".as_ref()));
    }
    let output = command.args(arguments).output().with_context(|| format!("running {program}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}", arguments.join(" "), why.trim().replace('\n', "; "));
    }
    Ok(())
}
