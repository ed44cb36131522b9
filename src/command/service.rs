// SPDX-License-Identifier: Apache-2.0
//! `service`: what the dataplane's units call before and after its start. It works with the file that `apply` wrote, as the hook
//! does: no name service, no child. Only a pending change of owners needs a look at the whole node. It has a deadline, because
//! systemd waits for it; unless `on-error = refuse`, the units ignore its exit code.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::plan::Plan;
use super::{Outcome, apply, boot};
use crate::accord::Agreed;
use crate::base::journald::{CHECK_FAILED, Priority, log};
use crate::base::lock::Lock;
use crate::base::privileges;
use crate::base::root::Root;
use crate::base::watchdog::Watchdog;
use crate::config::{Config, HookConfig};
use crate::dataplane::PortSocket;
use crate::dataplane::ovs::sockets::{Switch, port_sockets, read_switch};
use crate::facts::Known;
use crate::facts::accounts::Accounts;
use crate::facts::sockets::Liveness;
use crate::items::{Change, Kind as _};
use crate::journal::Journal;
use crate::report::log_line;
use crate::sockets::grant::{self, Giving, Grant};
use crate::sockets::{declared, stale};
use crate::survey::{Options, Survey};
use crate::systemd::image::Image;

/// Half of its time is for the database, the rest for the work after that.
type Entry = fn(&Root, Duration, &str) -> Result<()>;

/// `name` is that of a declared dataplane.
pub fn run(moment: &str, name: Option<&str>) -> Result<Outcome> {
    let begun = Instant::now();
    privileges::give_up();
    let (moment, entry): (&'static str, Entry) = match moment {
        "dataplane-pre" => ("dataplane-pre", |root, limit, _| before_dataplane(root, limit)),
        "vswitchd-pre" => ("vswitchd-pre", |root, limit, _| before_vswitchd(root, limit)),
        "vswitchd-post" => ("vswitchd-post", |root, limit, _| after_vswitchd(root, limit)),
        "declared-post" => ("declared-post", after_declared),
        other => {
            bail!("service {other}: expected dataplane-pre, vswitchd-pre, vswitchd-post or declared-post")
        }
    };
    let root = super::open_root("/".as_ref(), true)?;
    let config = {
        let _watchdog = watch(moment, begun, HookConfig::default().service_deadline)?;
        Config::read(&root).map(|config| config.hook).unwrap_or_else(|error| {
            tracing::warn!("{}", log_line(&format!("{error:#}; service {moment} uses its defaults")));
            HookConfig::default()
        })
    };
    let _watchdog = watch(moment, begun, config.service_deadline)?;
    entry(&root, config.service_deadline, name.unwrap_or_default())?;
    Ok(Outcome::Fine)
}

fn watch(name: &'static str, begun: Instant, limit: Duration) -> Result<Watchdog> {
    Watchdog::start(begun + limit, move || {
        let what =
            format!("check-failed: service {name}: took longer than {:.1} s; stopped", limit.as_secs_f64());
        log(
            Priority::Warning,
            &what,
            &[("VA_FINDING", "check-failed"), ("VA_ENTRY", name), ("MESSAGE_ID", CHECK_FAILED)],
        );
        end_children();
        1
    })
}

/// Ends a name service that hangs, so that it does not stay in the dataplane's unit.
fn end_children() {
    let Ok(root) = Root::open(Path::new("/")) else { return };
    let tasks = Path::new("/proc").join(std::process::id().to_string()).join("task");
    for task in root.list(&tasks).unwrap_or_default() {
        let children = root.read_text(&tasks.join(task).join("children")).ok().flatten().unwrap_or_default();
        for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// A dataplane with a new identity is about to start, and the old one has stopped: makes the changes that waited for that. An
/// `apply` that restarts it makes them itself, and has the lock.
fn before_dataplane(root: &Root, limit: Duration) -> Result<()> {
    if let Some(agreed) = Agreed::trusted(root)
        && is_handed_over(root, &agreed)?
    {
        return Ok(());
    }
    // The other half is for the look at the node.
    let Some(_lock) = Lock::wait_in_unit(root, limit / 2)? else { return Ok(()) };
    // It may have waited for a revert.
    if boot::is_stock(root)? {
        return Ok(());
    }
    let mut survey = Survey::take(root, &Image(root), Options::default())?;
    let mut plan = Plan::of(&survey)?;
    plan.changes.retain(is_state);
    plan.outdated.retain(|entry| is_state(&entry.change));
    apply::execute(root, &mut survey, &plan).map(drop)
}

fn is_state(change: &Change) -> bool {
    matches!(change, Change::Owner(owner) if owner.item.is_state())
}

/// Does everything belong to the dataplane already? So it is at each start except the first.
fn is_handed_over(root: &Root, agreed: &Agreed) -> Result<bool> {
    let Some(wanted) = &agreed.state else { return Ok(false) };
    let names = Accounts::read_files(root)?;
    for owner in wanted {
        if !owner.holds(&owner.observe(root, &names)?) {
            return Ok(false);
        }
    }
    let entries = Journal::read(root)?.entries;
    let is_wanted = |change: &Change| wanted.iter().any(|owner| owner.target() == change.target());
    Ok(entries.iter().all(|entry| !is_state(&entry.change) || is_wanted(&entry.change)))
}

/// A `dpdkvhostuser` socket that a killed ovs-vswitchd left keeps the next one from binding: DPDK never removes one
/// (lib/vhost/socket.c). Removes only sockets that OVSDB names and that have no listener.
fn before_vswitchd(root: &Root, limit: Duration) -> Result<()> {
    let switch = ask(root, limit / 2, "stale sockets are not removed")?;
    for socket in looked_at(root, &switch) {
        if stale::remove(root, &socket)? {
            let path = log_line(&socket.path.display().to_string());
            tracing::info!(VA_SOCKET = %path, "removed the stale socket {path}");
        }
    }
    Ok(())
}

/// Asks OVSDB for the switch; the error says what is not done without it.
fn ask(root: &Root, limit: Duration, without: &str) -> Result<Switch> {
    match read_switch(root, limit) {
        Known::Known(switch) => Ok(switch),
        Known::Unknown(why) => bail!("{why}; {without}"),
    }
}

/// What is at the sockets' paths. A path that cannot be read is logged and left out.
pub fn looked_at(root: &Root, switch: &Switch) -> Vec<PortSocket> {
    let sockets = port_sockets(root, switch);
    for socket in &sockets {
        if let Liveness::Unknown(why) = &socket.liveness {
            tracing::warn!("{}", log_line(&format!("port {}: {why}; not changed", socket.port)));
        }
    }
    sockets
}

/// Grants sockets: they are new after each start of ovs-vswitchd.
fn after_vswitchd(root: &Root, limit: Duration) -> Result<()> {
    let giving = match Agreed::trusted(root) {
        Some(agreed) => Giving::agreed(&agreed),
        // systemd is busy with this job, so units are read from their files.
        None => Giving::of(&Survey::take(root, &Image(root), Options::default())?.accord),
    };
    let switch = ask(root, limit / 2, "sockets are not changed")?;
    give(root, &grant::plan(&giving, &looked_at(root, &switch)))
}

fn give(root: &Root, grants: &[Grant]) -> Result<()> {
    for grant in grant::make_all(root, grants)? {
        let path = log_line(&grant.path.display().to_string());
        tracing::info!(VA_SOCKET = %path, "gave {path} to group {}", grant.gid);
    }
    Ok(())
}

/// How long to wait for a program that creates its sockets only after systemd considers it started.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);
/// Some set a group or mode of their own after they listen, as virtiofsd does for `--socket-group` (1.13.2, src/main.rs).
const AFTERWARDS: Duration = Duration::from_millis(200);

/// Grants the sockets of a declared dataplane that was started.
fn after_declared(root: &Root, limit: Duration, name: &str) -> Result<()> {
    let agreed = Agreed::trusted(root).map(|agreed| agreed.declared).unwrap_or_default();
    let Some(given) = agreed.iter().find(|given| given.name == name) else { return Ok(()) };
    let deadline = Instant::now() + PATIENCE.min(limit / 2);
    while !declared::is_served(root, given)? && Instant::now() < deadline {
        std::thread::sleep(PAUSE);
    }
    give(root, &declared::plan(root, given)?)?;
    std::thread::sleep(AFTERWARDS);
    give(root, &declared::plan(root, given)?)
}
