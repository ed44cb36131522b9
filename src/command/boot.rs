// SPDX-License-Identifier: Apache-2.0
//! `service boot`: restores what an earlier `apply` set up, before dataplane and libvirt start. It sets up nothing new; that is
//! `apply`'s work.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::plan::Plan;
use super::{Outcome, apply, restart};
use crate::accord::Agreed;
use crate::base::lock::Lock;
use crate::base::paths;
use crate::base::root::Root;
use crate::base::text::log_line;
use crate::items::preflight;
use crate::items::{Change, Owner, Subject};
use crate::journal::Journal;
use crate::survey::{Options, Survey};
use crate::systemd::ServiceManager;
use crate::systemd::image::Image;
use crate::systemd::systemctl::Systemctl;

/// How long to wait for another run, because the next units need what is restored here. Half of the unit's own limit.
const PATIENCE: Duration = Duration::from_secs(10);

/// Was nothing applied here, or was it reverted?
pub fn is_stock(root: &Root) -> Result<bool> {
    Ok(Journal::read(root)?.is_empty() && Agreed::read(root)?.is_none())
}

pub fn run() -> Result<Outcome> {
    let root = super::open_root("/".as_ref(), true)?;
    if is_stock(&root)? {
        tracing::debug!("apply was never run on this node");
        return Ok(Outcome::Fine);
    }
    let Some(_lock) = Lock::wait_in_unit(&root, PATIENCE)? else { return Ok(Outcome::Fine) };
    // It may have waited for a revert.
    if is_stock(&root)? {
        return Ok(Outcome::Fine);
    }
    let went_back = put_back(&root)?;
    // systemd's bus is not available this early: units are read from their files.
    let mut survey = Survey::take(&root, &Image(&root), Options::default())?;
    let mut plan = Plan::of(&survey)?;
    let directories = Agreed::read(&root)?.map(|agreed| agreed.directories).unwrap_or_default();
    let of_image = root.find_nofollow(Path::new(paths::IMAGE_SYSUSERS))?.is_some();
    plan.changes.retain(|change| {
        is_agreed(change, &survey.journal, &directories)
            || of_image && is_renewed(change, &survey.journal, &directories)
    });
    plan.outdated.clear();
    preflight::check(&root, &plan.changes)?;
    apply::execute(&root, &mut survey, &plan)?;
    if went_back || plan.changes.iter().any(apply::concerns_systemd) {
        Systemctl.reload()?;
    }
    Ok(Outcome::Fine)
}

/// Undoes a killed restart of the dataplane, so that it starts with its previous settings. Did that change anything?
fn put_back(root: &Root) -> Result<bool> {
    let mut journal = Journal::read(root)?;
    if !journal.restarting {
        return Ok(false);
    }
    // Numbers of groups are not changed while the node boots; the next 'apply' finishes that.
    if let Some(running) = &mut journal.running {
        running.retain(|entry| !matches!(entry.change, Change::Renumber(_)));
    }
    journal.save(root)?;
    let failed = restart::go_back(root);
    for error in &failed {
        tracing::warn!("{}", log_line(&format!("{error:#}")));
    }
    if failed.is_empty() {
        Journal::read(root)?.restart_ended(root)?;
    }
    Ok(true)
}

/// Was exactly this made by an `apply`, or a directory that it found right? Numbers of groups are not changed during boot.
pub fn is_agreed(change: &Change, journal: &Journal, directories: &[Owner]) -> bool {
    match change {
        Change::Renumber(_) => false,
        // Its owner depends on who mounts it, and it is new at each boot.
        Change::Owner(owner) if owner.item.subject == Subject::Hugepages => true,
        Change::Owner(owner) if directories.contains(&owner.item) => true,
        _ => journal.entries.iter().any(|entry| entry.change.item() == change.item()),
    }
}

/// The same on a node from an image, where numbers of users may differ from those in the image. The journal may be missing,
/// because `/var` is the node's own.
fn is_renewed(change: &Change, journal: &Journal, directories: &[Owner]) -> bool {
    let is_in_journal = journal.entries.iter().any(|entry| entry.change.target() == change.target());
    match change {
        Change::Renumber(_) => false,
        Change::Owner(owner) => {
            is_in_journal || directories.iter().any(|agreed| agreed.path == owner.item.path)
        }
        Change::File(file) => is_in_journal || file.item.path == Path::new(paths::AGREED),
        _ => is_in_journal,
    }
}
