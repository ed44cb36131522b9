// SPDX-License-Identifier: Apache-2.0
//! What the scripts of the packages call: after the installation of this package, Open vSwitch or libvirt, and before the removal
//! of this package.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use super::{Outcome, apply, revert};
use crate::base::lock::Lock;
use crate::base::root::Root;
use crate::cli::{ApplyArgs, OutputArgs, PlanArgs, RevertArgs};
use crate::journal::Journal;
use crate::report;
use crate::sockets::stale;
use crate::survey::{Options, Survey};
use crate::systemd;

/// How long to wait for another run: nobody reads a script's message and tries again. Less than the script's own limit.
const PATIENCE: Duration = Duration::from_secs(60);

/// This package, Open vSwitch or libvirt was installed. Never restarts anything.
pub fn installed() -> Result<Outcome> {
    let root = super::open_root("/".as_ref(), true)?;
    if !is_booted(&root)? {
        say(
            "systemd is not running, so nothing was applied; for an image, run 'vhost-accord apply --root DIR'",
        );
        return Ok(Outcome::Fine);
    }
    let manager = systemd::connect(&root)?;
    let survey = Survey::take(&root, manager.as_ref(), Options::default())?;
    if survey.profile.dataplane.is_none() && survey.profile.hypervisor.is_none() {
        say("neither Open vSwitch nor libvirt is installed yet: nothing to do");
        return Ok(Outcome::Fine);
    }
    if !survey.config.auto_apply {
        say("auto-apply = no: run 'vhost-accord plan', then 'vhost-accord apply'");
        return Ok(Outcome::Fine);
    }
    let args = ApplyArgs { plan: PlanArgs { output: here(), renumber: false }, restart: false };
    apply::under(Lock::wait(&root, PATIENCE)?, &root, manager.as_ref(), &args)
}

/// The package is about to be removed, so everything is reverted now.
pub fn removing() -> Result<Outcome> {
    let root = super::open_root("/".as_ref(), true)?;
    if !is_booted(&root)? {
        if !Journal::read(&root)?.is_empty() {
            bail!(
                "systemd is not running; run 'vhost-accord revert --root DIR' from outside the image first"
            );
        }
        return Ok(Outcome::Fine);
    }
    let manager = systemd::connect(&root)?;
    let lock = Lock::wait(&root, PATIENCE)?;
    sweep(&root)?;
    let args = RevertArgs { output: here(), restart: false, dry_run: false };
    match revert::under(lock, &root, manager.as_ref(), &args)? {
        Outcome::Waiting => {
            bail!(
                "not everything could be restored; fix what is printed above, then run 'vhost-accord revert' again"
            )
        }
        Outcome::Advice => {
            say(
                "what is printed above was left in place: a running VM uses it, or it was changed by hand; remove it by hand later",
            );
            Ok(Outcome::Fine)
        }
        Outcome::Fine => Ok(Outcome::Fine),
    }
}

/// Removes stale sockets of QEMU, so that the socket directory can be removed.
fn sweep(root: &Root) -> Result<()> {
    let directories = Journal::read(root)?.socket_directories();
    directories.iter().try_for_each(|directory| stale::remove_below(root, directory))
}

fn here() -> OutputArgs {
    OutputArgs { root: "/".into(), json: false }
}

fn is_booted(root: &Root) -> Result<bool> {
    Ok(root.find(Path::new("/run/systemd/system"))?.is_some())
}

fn say(line: &str) {
    report::out(&format!("vhost-accord: {line}\n"));
}
