// SPDX-License-Identifier: Apache-2.0
//! `revert`: put back exactly what was there. It goes by the journal alone: a changed configuration is no hindrance.

use anyhow::{Result, bail};
use serde::Serialize;

use super::restart::{self, Ended, Outage, touched_services};
use super::{Outcome, apply, convert, would_revert};
use crate::base::lock::Lock;
use crate::base::root::Root;
use crate::cli::RevertArgs;
use crate::dataplane::ovs::remains;
use crate::facts::processes;
use crate::items::{Change, NotAFile, Undone};
use crate::journal::{Entry, Journal};
use crate::report;
use crate::sockets::{declared, grant};
use crate::survey::{Options, Survey};
use crate::systemd::{self, Act, ServiceManager};
use crate::write::Refused;

#[derive(Debug, Serialize)]
struct Line {
    target: String,
    outcome: Undone,
}

#[derive(Debug, Default, Serialize)]
struct Output {
    version: u32,
    undone: Vec<Line>,
    failed: Vec<String>,
    restarted: Vec<String>,
    waiting: Vec<String>,
}

pub fn run(args: &RevertArgs) -> Result<Outcome> {
    let root = super::open_root(&args.output.root, true)?;
    let manager = systemd::connect(&root)?;
    if args.dry_run {
        return would_revert::run(&root, manager.as_ref(), args.output.json);
    }
    let lock = Lock::take(&root)?;
    under(lock, &root, manager.as_ref(), args)
}

/// The same for one who has the lock.
pub fn under(
    mut lock: Lock,
    root: &Root,
    manager: &dyn ServiceManager,
    args: &RevertArgs,
) -> Result<Outcome> {
    if args.restart || Journal::read(root)?.restarting {
        lock.restarts();
    }
    let mut output = Output { version: 1, failed: restart::finish(root, manager)?, ..Output::default() };
    let mut journal = Journal::read(root)?;
    // Who waits for a restart is known only while the accord still stands.
    let survey = Survey::take(root, manager, Options::default()).ok();
    let mut units = survey.as_ref().map(|survey| touched_services(survey, &journal)).unwrap_or_default();
    if let Some(survey) = &survey {
        may_go_on(survey, &units, args)?;
    }
    // It would grant what is withdrawn.
    if journal.entries.iter().any(|entry| apply::is_watch(&entry.change)) {
        apply::stop_watching(root, manager);
    }
    let mut outage = None;
    if let Some(survey) = &survey {
        // What a killed run stopped is started, whatever is asked for.
        let switch = survey.accord.dataplane.as_ref().map(|dataplane| &dataplane.switch_unit);
        let restarts = units.iter().any(|unit| Some(unit) == switch) && (args.restart || journal.restarting);
        let changes: Vec<Change> = journal.entries.iter().map(|entry| entry.change.clone()).collect();
        outage = if restarts { Outage::prepare(root, manager, survey, &changes)? } else { None };
    }
    if let Some(survey) = survey.as_ref().filter(|_| !journal.is_empty()) {
        withdraw_grants(root, survey)?;
        withdraw_declared(root, manager, survey)?;
    }
    let renumberings = journal.entries.iter().filter(|entry| matches!(entry.change, Change::Renumber(_)));
    let renumberings: Vec<Entry> = renumberings.cloned().collect();
    // VMs and ports are turned back while switch and libvirt can still be talked to.
    // The service that watches would be started with the switch.
    let is_early =
        |entry: &Entry| matches!(entry.change, Change::Conversion(_)) || apply::is_watch(&entry.change);
    take_back(root, &mut journal, &mut output, is_early)?;
    if let Some(outage) = outage {
        if !restart_switch(root, manager, outage, args, &mut output)? {
            return end(lock, args, &output);
        }
        units.retain(|unit| !output.restarted.contains(unit));
        journal = Journal::read(root)?;
    }
    take_back(root, &mut journal, &mut output, |entry| !is_early(entry))?;
    // A revert that was killed before this left nothing to undo.
    let overdue = survey.as_ref().is_some_and(Survey::reload_overdue);
    if root.is_live() && (overdue || !output.undone.is_empty()) {
        manager.reload()?;
        remains::clear(root);
    }
    finish(manager, args, units, &mut output);
    if !output.restarted.is_empty() {
        // Files that processes with the number of the accord made before they were restarted.
        renumberings.iter().try_for_each(|entry| entry.change.undo(root).map(drop))?;
    }
    end(lock, args, &output)
}

fn end(lock: Lock, args: &RevertArgs, output: &Output) -> Result<Outcome> {
    tell(args.output.json, output)?;
    lock.release()?;
    let left = output.undone.iter().any(|line| matches!(line.outcome, Undone::Left(_) | Undone::InUse(_)));
    Ok(if !output.failed.is_empty() {
        Outcome::Waiting
    } else if left {
        Outcome::Advice
    } else {
        Outcome::Fine
    })
}

/// Takes back what the dataplane is started with, between its stop and its start: with the identity it was started with, it
/// can remove its own sockets and pid files, and the next one does not find them in its way. False: all of it is as it was.
fn restart_switch(
    root: &Root,
    manager: &dyn ServiceManager,
    outage: Outage<'_>,
    args: &RevertArgs,
    output: &mut Output,
) -> Result<bool> {
    let unit = outage.announce(args.output.json);
    let mut journal = Journal::read(root)?;
    let is_meant = |entry: &Entry| {
        restart::is_started_with(&entry.change) || matches!(entry.change, Change::Renumber(_))
    };
    let running = journal.entries.iter().filter(|entry| is_meant(entry)).cloned().collect();
    let mut undone = Output::default();
    let ended = outage.run(running, || {
        journal = Journal::read(root)?;
        take_back(root, &mut journal, &mut undone, is_meant)?;
        if let Some(failed) = undone.failed.first() {
            bail!("{failed}");
        }
        manager.reload()?;
        remains::clear(root);
        Ok(())
    })?;
    match ended {
        Ended::Well((), unnoted) => {
            output.failed.extend(unnoted);
            output.undone.append(&mut undone.undone);
            output.restarted.push(unit);
            Ok(true)
        }
        Ended::PutBack(lines) => {
            output.failed.extend(lines);
            Ok(false)
        }
    }
}

/// Fails before anything is done where only a restart would do.
fn may_go_on(survey: &Survey, units: &[String], args: &RevertArgs) -> Result<()> {
    let (Some(dataplane), Some(live)) = (&survey.accord.dataplane, &survey.live) else { return Ok(()) };
    if args.restart || !units.contains(&dataplane.switch_unit) {
        return Ok(());
    }
    let confined = live.vswitchd().is_some_and(|process| !process.identity().has_dac_override());
    if confined && dataplane.is_switched() {
        bail!(
            "the dataplane runs as {} since an earlier apply, and must be stopped to undo that; nothing was changed (run 'vhost-accord revert --restart')",
            dataplane.user
        );
    }
    Ok(())
}

/// The last change first. What cannot be undone does not keep the rest from it, and stays in the journal.
fn take_back(
    root: &Root,
    journal: &mut Journal,
    output: &mut Output,
    which: impl Fn(&Entry) -> bool,
) -> Result<()> {
    if journal.entries.is_empty() {
        // What an apply left that was killed before it had written its first line.
        return journal.save(root);
    }
    let entries: Vec<Entry> = journal.entries.iter().rev().filter(|entry| which(entry)).cloned().collect();
    let mut in_use = Vec::new();
    for entry in entries {
        let target = entry.change.target();
        if let Change::Group(group) = &entry.change
            && in_use.contains(&group.item.gid)
        {
            let outcome =
                Undone::InUse("it is the group of a user or directory that is still there".to_string());
            output.undone.push(Line { target: target.0.clone(), outcome });
            continue;
        }
        // A file that could not be put back may name it: libvirt does not start with a group that is gone.
        let account = matches!(entry.change, Change::Group(_) | Change::User(_) | Change::Member(_));
        if account && !output.failed.is_empty() {
            output.failed.push(format!("{target}: kept until the rest is restored"));
            continue;
        }
        journal.take_back(root, &target)?;
        match undo(root, &entry) {
            Ok(outcome @ Undone::InUse(_)) => {
                match &entry.change {
                    Change::User(user) => in_use.push(user.item.gid),
                    // Without a name, the next group may get its number, and with it what the directory has.
                    Change::Owner(owner) => in_use.extend(owner.item.gid),
                    _ => {}
                }
                output.undone.push(Line { target: target.0.clone(), outcome });
            }
            Ok(outcome) => {
                tracing::info!(VA_TARGET = %target, "reverted {target}");
                output.undone.push(Line { target: target.0.clone(), outcome });
                journal.forget(root, &target)?;
            }
            Err(error) => output.failed.push(format!("{target}: {error:#}")),
        }
    }
    Ok(())
}

fn undo(root: &Root, entry: &Entry) -> Result<Undone> {
    let undone = match entry.change.undo(root) {
        // Someone put something else in the place of a file of ours, which is theirs. Where qemu.conf is no file, what it
        // says may come back: that is not left.
        Err(why)
            if !matches!(entry.change, Change::Setting(_))
                && (why.is::<NotAFile>() || why.is::<Refused>()) =>
        {
            Undone::Left(format!("{why:#}"))
        }
        undone => undone?,
    };
    if let Some(Change::Conversion(stopped)) = &entry.pending {
        convert::start_again(&stopped.item)?;
    }
    Ok(undone)
}

fn withdraw_grants(root: &Root, survey: &Survey) -> Result<()> {
    let Some(live) = &survey.live else { return Ok(()) };
    let Some(status) = live.vswitchd().map(|process| &process.status) else { return Ok(()) };
    let (gid, Some(umask)) = (status.gid.effective, status.umask) else { return Ok(()) };
    grant::make_all(root, &grant::withdraw(&survey.accord, &live.sockets, gid, umask)).map(drop)
}

/// Sockets of declared dataplanes that run.
fn withdraw_declared(root: &Root, manager: &dyn ServiceManager, survey: &Survey) -> Result<()> {
    for given in &survey.accord.declared {
        let pid = manager.unit(&given.unit)?.and_then(|unit| unit.main_pid);
        let Some(process) = pid.and_then(|pid| processes::by_pid(root, pid)) else { continue };
        grant::make_all(root, &declared::withdraw(root, given, &process)?)?;
    }
    Ok(())
}

fn finish(manager: &dyn ServiceManager, args: &RevertArgs, units: Vec<String>, output: &mut Output) {
    if output.undone.is_empty() {
        return;
    }
    for unit in units {
        match args.restart.then(|| manager.act(Act::Restart, &unit)) {
            None => output.waiting.push(unit),
            Some(Ok(())) => output.restarted.push(unit),
            Some(Err(error)) => output.failed.push(format!("{error:#}")),
        }
    }
}

fn tell(json: bool, output: &Output) -> Result<()> {
    if json {
        return report::json(output);
    }
    let mut text = String::new();
    for line in &output.undone {
        let outcome = match &line.outcome {
            Undone::Restored => "restored".to_string(),
            Undone::RestoredOver(what) => format!("restored; it had changed since: {what}"),
            Undone::AlreadyBack => "was already as before".to_string(),
            Undone::Left(why) => format!("left: {why}"),
            Undone::InUse(why) => format!("in use: {why}; run revert again when it is free"),
        };
        text.push_str(&format!("{}: {outcome}\n", line.target));
    }
    text.extend(output.failed.iter().map(|line| format!("failed: {line}\n")));
    text.extend(output.restarted.iter().map(|unit| format!("restarted {unit}\n")));
    text.extend(output.waiting.iter().map(|unit| format!("pending restart: systemctl restart {unit}\n")));
    if output.undone.is_empty() && output.failed.is_empty() {
        text.push_str("Nothing to revert.\n");
    }
    report::out(&report::clean(&text));
    Ok(())
}
