// SPDX-License-Identifier: Apache-2.0
//! `service`: what the dataplane's units call before and after its start. Never in its way: the units ignore how it ends.
//! OVSDB has its limit; reading the accounts has none of ours, and the unit's own start timeout holds for it.

use anyhow::{Result, bail};

use super::plan::Plan;
use super::{Outcome, apply};
use crate::accord::item::{Item, Subject};
use crate::change::{grant, stale};
use crate::facts::Known;
use crate::facts::live::{port_sockets, read_switch};
use crate::lock::{Busy, Lock};
use crate::root::Root;
use crate::survey::{Options, Survey};
use crate::systemd::image::Image;

pub fn run(moment: &str) -> Result<Outcome> {
    let root = super::open_root("/".as_ref(), true)?;
    match moment {
        "dataplane-pre" => before_dataplane(&root)?,
        "vswitchd-pre" => before_vswitchd(&root)?,
        "vswitchd-post" => after_vswitchd(&root)?,
        other => bail!("service {other}: expected dataplane-pre, vswitchd-pre or vswitchd-post"),
    }
    Ok(Outcome::Fine)
}

/// A dataplane with a new identity is about to start, and the old one has stopped: what waited for that is done. An `apply`
/// that restarts it does the same by itself and holds the lock.
fn before_dataplane(root: &Root) -> Result<()> {
    let _lock = match Lock::take(root) {
        Err(error) if error.is::<Busy>() => return Ok(()),
        taken => taken?,
    };
    let mut survey = Survey::take(root, &Image::new(root), Options::default())?;
    let mut plan = Plan::of(&survey)?;
    let state = |item: &Item| match item {
        Item::Owner(owner) => matches!(owner.subject, Subject::DataplaneState | Subject::RunDirectory),
        _ => false,
    };
    plan.changes.retain(|change| state(&change.item));
    plan.outdated.retain(|entry| state(&entry.change.item));
    apply::execute(root, &mut survey, &plan).map(drop)
}

/// A `dpdkvhostuser` socket that a killed ovs-vswitchd left keeps the next one from binding: DPDK never removes one
/// (lib/vhost/socket.c). Only what OVSDB names and nobody listens on goes.
fn before_vswitchd(root: &Root) -> Result<()> {
    let switch = match read_switch(root) {
        Known::Known(switch) => switch,
        Known::Unknown(why) => bail!("{why}; stale sockets are left"),
    };
    for socket in port_sockets(root, &switch.ports)? {
        if stale::remove(root, &socket)? {
            tracing::info!(VA_SOCKET = %socket.path.display(), "removed the stale socket {}", socket.path.display());
        }
    }
    Ok(())
}

/// Sockets are new after each start of ovs-vswitchd.
fn after_vswitchd(root: &Root) -> Result<()> {
    // systemd is busy with this very job: units are read from their files.
    let survey = Survey::take(root, &Image::new(root), Options::default())?;
    let Some(live) = &survey.live else { return Ok(()) };
    if let Known::Unknown(why) = &live.switch {
        bail!("{why}; sockets are left as they are");
    }
    for grant in grant::plan(&survey.accord, &live.sockets) {
        if grant::make(root, &grant)? {
            tracing::info!(VA_SOCKET = %grant.path.display(), "gave {} to group {}", grant.path.display(), grant.gid);
        }
    }
    Ok(())
}
