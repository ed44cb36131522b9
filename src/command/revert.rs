// SPDX-License-Identifier: Apache-2.0
//! `revert`: put back exactly what was there. It goes by the journal alone: a changed configuration is no hindrance.

use anyhow::{Result, anyhow, bail};
use serde::Serialize;

use super::restart::{self, Outage, touched_services};
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
    let failed = restart::begin(&mut lock, root, manager, args.restart)?;
    let output = Output { failed, ..Output::default() };
    let mut run = Run { root, manager, args, output };
    run.all()?;
    let output = run.output;
    report::tell(args.output.json, &output, || text(&output))?;
    lock.release()?;
    let left = output.undone.iter().any(|line| matches!(line.outcome, Undone::Left(_) | Undone::InUse(_)));
    Ok(match (output.failed.is_empty(), left) {
        (false, _) => Outcome::Waiting,
        (true, true) => Outcome::Advice,
        (true, false) => Outcome::Fine,
    })
}

/// One run of it.
struct Run<'a> {
    root: &'a Root,
    manager: &'a dyn ServiceManager,
    args: &'a RevertArgs,
    output: Output,
}

impl<'a> Run<'a> {
    fn all(&mut self) -> Result<()> {
        let (root, manager) = (self.root, self.manager);
        let journal = Journal::read(root)?;
        // Who waits for a restart is known only while the accord still stands.
        let survey = Survey::take(root, manager, Options::default()).ok();
        let survey = survey.as_ref();
        let mut units = survey.map(|survey| touched_services(survey, &journal)).unwrap_or_default();
        if let Some(survey) = survey {
            self.may_go_on(survey, &units)?;
        }
        // It would grant what is withdrawn.
        if journal.entries.iter().any(|entry| apply::is_watch(&entry.change)) {
            apply::stop_watching(root, manager);
        }
        let outage = survey.map(|survey| self.outage(survey, &journal, &units)).transpose()?.flatten();
        if let Some(survey) = survey.filter(|_| !journal.is_empty()) {
            withdraw_grants(root, survey)?;
            withdraw_declared(root, manager, survey)?;
        }
        // VMs and ports are turned back while switch and libvirt can still be talked to.
        // The service that watches would be started with the switch.
        let is_early =
            |entry: &Entry| matches!(entry.change, Change::Conversion(_)) || apply::is_watch(&entry.change);
        self.take_back(is_early)?;
        if let Some(outage) = outage {
            if !self.restart_switch(outage)? {
                return Ok(());
            }
            units.retain(|unit| !self.output.restarted.contains(unit));
        }
        self.take_back(|entry| !is_early(entry))?;
        // A revert that was killed before this left nothing to undo.
        let overdue = survey.is_some_and(Survey::reload_overdue);
        if root.is_live() && (overdue || !self.output.undone.is_empty()) {
            manager.reload()?;
            remains::clear(root);
        }
        self.restart(units);
        if !self.output.restarted.is_empty() {
            // Files that processes with the number of the accord made before they were restarted.
            let mut entries = journal.entries.iter().filter(|entry| is_renumbering(entry));
            entries.try_for_each(|entry| entry.change.undo(root).map(drop))?;
        }
        Ok(())
    }

    /// Fails before anything is done where only a restart would do.
    fn may_go_on(&self, survey: &Survey, units: &[String]) -> Result<()> {
        let (Some(dataplane), Some(live)) = (&survey.accord.dataplane, &survey.live) else { return Ok(()) };
        if self.args.restart || !units.contains(&dataplane.switch_unit) {
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

    /// The switch's restart, where it is to be. What a killed run stopped is started, whatever is asked for.
    fn outage(&self, survey: &'a Survey, journal: &Journal, units: &[String]) -> Result<Option<Outage<'a>>> {
        let switch = survey.accord.dataplane.as_ref().map(|dataplane| &dataplane.switch_unit);
        if !(self.args.restart || journal.restarting) || !units.iter().any(|unit| Some(unit) == switch) {
            return Ok(None);
        }
        let changes: Vec<Change> = journal.entries.iter().map(|entry| entry.change.clone()).collect();
        Outage::prepare(self.root, self.manager, survey, &changes)
    }

    /// Takes back what the dataplane is started with, between its stop and its start: with the identity it was started with,
    /// it can remove its own sockets and pid files, and the next one does not find them in its way. False: all of it is as it
    /// was.
    fn restart_switch(&mut self, outage: Outage<'_>) -> Result<bool> {
        outage.announce(self.args.output.json);
        let unit = outage.dataplane.switch_unit.clone();
        let is_meant = |entry: &Entry| restart::is_started_with(&entry.change) || is_renumbering(entry);
        let running = Journal::read(self.root)?.entries.into_iter().filter(is_meant).collect();
        let earlier = std::mem::take(&mut self.output);
        let (is_new, failed) = outage.run(running, || {
            self.take_back(is_meant)?;
            if let Some(failed) = self.output.failed.first() {
                bail!("{failed}");
            }
            self.manager.reload()?;
            remains::clear(self.root);
            Ok(())
        })?;
        let Output { undone, .. } = std::mem::replace(&mut self.output, earlier);
        self.output.failed.extend(failed);
        if is_new {
            self.output.undone.extend(undone);
            self.output.restarted.push(unit);
        }
        Ok(is_new)
    }

    /// The last change first. What cannot be undone does not keep the rest from it, and stays in the journal.
    fn take_back(&mut self, which: impl Fn(&Entry) -> bool) -> Result<()> {
        let mut journal = Journal::read(self.root)?;
        if journal.entries.is_empty() {
            // What an apply left that was killed before it had written its first line.
            return journal.save(self.root);
        }
        let entries: Vec<Entry> =
            journal.entries.iter().rev().filter(|entry| which(entry)).cloned().collect();
        let mut in_use = Vec::new();
        for entry in entries {
            let target = entry.change.target();
            let undone = match &entry.change {
                Change::Group(group) if in_use.contains(&group.item.gid) => Ok(Undone::InUse(
                    "it is the group of a user or directory that is still there".to_string(),
                )),
                // A file that could not be put back may name it: libvirt does not start with a group that is gone.
                Change::Group(_) | Change::User(_) | Change::Member(_) if !self.output.failed.is_empty() => {
                    Err(anyhow!("kept until the rest is restored"))
                }
                _ => {
                    journal.take_back(self.root, &target)?;
                    undo(self.root, &entry)
                }
            };
            match (&undone, &entry.change) {
                (Ok(Undone::InUse(_)), Change::User(user)) => in_use.push(user.item.gid),
                // Without a name, the next group may get its number, and with it what the directory has.
                (Ok(Undone::InUse(_)), Change::Owner(owner)) => in_use.extend(owner.item.gid),
                (Ok(Undone::InUse(_)) | Err(_), _) => {}
                (Ok(_), _) => {
                    tracing::info!(VA_TARGET = %target, "reverted {target}");
                    journal.forget(self.root, &target)?;
                }
            }
            match undone {
                Ok(outcome) => self.output.undone.push(Line { target: target.0, outcome }),
                Err(error) => self.output.failed.push(format!("{target}: {error:#}")),
            }
        }
        Ok(())
    }

    fn restart(&mut self, units: Vec<String>) {
        let output = &mut self.output;
        for unit in units.into_iter().filter(|_| !output.undone.is_empty()) {
            match self.args.restart.then(|| self.manager.act(Act::Restart, &unit)) {
                None => output.waiting.push(unit),
                Some(Ok(())) => output.restarted.push(unit),
                Some(Err(error)) => output.failed.push(format!("{error:#}")),
            }
        }
    }
}

fn is_renumbering(entry: &Entry) -> bool {
    matches!(entry.change, Change::Renumber(_))
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

fn text(output: &Output) -> String {
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
    report::clean(&text)
}
