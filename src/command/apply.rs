// SPDX-License-Identifier: Apache-2.0
//! `apply`: make it so.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::plan::{Plan, Step, steps_text};
use super::restart::{self, Outage};
use super::{Outcome, blast};
use crate::accord::is_watch_link;
use crate::base::lock::Lock;
use crate::base::paths;
use crate::base::root::Root;
use crate::cli::ApplyArgs;
use crate::dataplane::ovs::remains;
use crate::items::Group;
use crate::items::{Change, Undone, preflight, progress_of_search};
use crate::journal::{Entry, Journal};
use crate::report::{self, Style};
use crate::rules::{Finding, Level};
use crate::sockets::grant;
use crate::survey::{Options, Survey};
use crate::systemd::{self, Act, ServiceManager};

/// How long the service that watches may take to start or stop.
const WATCH_LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug, Default, Serialize)]
struct Output {
    steps: Vec<Step>,
    notes: Vec<String>,
    restarted: Vec<String>,
    lost_network: Vec<String>,
    failed: Vec<String>,
    waiting: Vec<Finding>,
    findings: Vec<Finding>,
}

pub fn run(args: &ApplyArgs) -> Result<Outcome> {
    let root = super::open_root(&args.plan.output.root, true)?;
    let manager = systemd::connect(&root)?;
    let lock = Lock::take(&root)?;
    under(lock, &root, manager.as_ref(), args)
}

/// The same for one who has the lock.
pub fn under(mut lock: Lock, root: &Root, manager: &dyn ServiceManager, args: &ApplyArgs) -> Result<Outcome> {
    let failed = restart::begin(&mut lock, root, manager, args.restart)?;
    let json = args.plan.output.json;
    let output = Output { failed, ..Output::default() };
    let mut run = Run { root, manager, json, output };
    let mut survey = run.converge(args.plan.renumber)?;
    if args.restart {
        survey = run.restart(survey)?;
    }
    let mut output = run.output;
    let findings = survey.findings();
    let mut journal = Journal::read(root)?;
    if !restart::awaits(&survey, &findings) && !journal.restarting {
        journal.restart_ended(root)?;
    }
    lock.release()?;
    let (waiting, findings): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.restart.is_some());
    let broken = findings.iter().any(|finding| finding.level == Level::Broken);
    (output.waiting, output.findings) = (waiting, findings);
    report::tell(json, &output, || closing(&survey, &output))?;
    Ok(if broken || !output.failed.is_empty() { Outcome::Waiting } else { Outcome::Fine })
}

/// One run of it.
struct Run<'a> {
    root: &'a Root,
    manager: &'a dyn ServiceManager,
    json: bool,
    output: Output,
}

impl Run<'_> {
    /// Makes everything hold that needs no restart, and looks again.
    fn converge(&mut self, renumber: bool) -> Result<Survey> {
        resume(self.root)?;
        let progress = renumber.then(|| progress_of_search("searching for files of the group"));
        let mut survey = Survey::take(self.root, self.manager, Options { renumber, ..Options::default() })?;
        drop(progress);
        let known = survey.journal.running.is_some() && restart::awaits(&survey, &survey.findings());
        if self.root.is_live() && !known {
            // What is written now may wait for a restart that fails.
            survey.journal.running = Some(restart::entries_of(&survey.journal));
        }
        self.round(survey)
    }

    fn look(&self) -> Result<Survey> {
        Survey::take(self.root, self.manager, Options::default())
    }

    /// One plan, made; the survey after it.
    fn round(&mut self, mut survey: Survey) -> Result<Survey> {
        let plan = Plan::of(&survey)?;
        if plan.is_empty() {
            return catch_up(self.root, self.manager, survey);
        }
        preflight::check(self.root, &plan.changes)?;
        let steps = plan.steps(&survey);
        if !self.json {
            report::out(&steps_text(&steps));
        }
        self.output.steps.extend(steps);
        self.output.notes.extend(execute(self.root, &mut survey, &plan)?);
        let outdated = || plan.outdated.iter().map(|entry| &entry.change);
        if self.root.is_live() && plan.changes.iter().chain(outdated()).any(concerns_systemd) {
            self.manager.reload()?;
        }
        if outdated().any(is_watch) {
            stop_watching(self.root, self.manager);
        }
        grant::make_all(self.root, &plan.grants)?;
        // Afterwards the group has its number: what was asked for once is not asked for again.
        catch_up(self.root, self.manager, self.look()?)
    }

    /// Restarts what findings wait for, the dataplane first, and looks again.
    fn restart(&mut self, survey: Survey) -> Result<Survey> {
        let mut units: Vec<String> =
            survey.findings().into_iter().filter_map(|finding| finding.restart).collect();
        let switch = survey.accord.dataplane.as_ref().map(|dataplane| dataplane.switch_unit.clone());
        units.sort_by_key(|unit| Some(unit) != switch.as_ref());
        units.dedup();
        if units.is_empty() {
            return Ok(survey);
        }
        for unit in units {
            if !self.json {
                report::out(&format!("restarting {unit}\n"));
            }
            if Some(&unit) == switch.as_ref() {
                let (is_new, failed) = self.hand_over(&survey)?;
                self.output.failed.extend(failed);
                if !is_new {
                    return self.look();
                }
            } else if let Err(error) = self.manager.act(Act::Restart, &unit) {
                self.output.failed.push(format!("{error:#}"));
                continue;
            }
            self.output.restarted.push(unit);
        }
        // What the old processes made to their end.
        resume(self.root)?;
        // Sockets that the restarted dataplane made anew.
        let survey = self.look()?;
        self.round(survey)
    }

    /// Restarts the dataplane; what its new identity must own changes hands while nobody runs.
    fn hand_over(&mut self, survey: &Survey) -> Result<(bool, Vec<String>)> {
        let due: Vec<Change> = survey.observed.iter().filter(|change| !change.holds()).cloned().collect();
        let Some(outage) = Outage::prepare(self.root, self.manager, survey, &due)? else {
            return Ok((true, Vec::new()));
        };
        self.output.lost_network = outage.announce(self.json);
        let journal = &survey.journal;
        let running = journal.running.clone().unwrap_or_else(|| restart::entries_of(journal));
        outage.run(running, || {
            let survey = self.look()?;
            if survey.accord.dataplane.as_ref().is_some_and(|dataplane| dataplane.uid == 0) {
                remains::clear(self.root);
            }
            self.round(survey).map(drop)
        })
    }
}

/// Does systemd have to read it?
pub fn concerns_systemd(change: &Change) -> bool {
    matches!(change, Change::File(_) | Change::Patch(_)) || is_watch(change)
}

/// Is it what enables the service that watches?
pub fn is_watch(change: &Change) -> bool {
    matches!(change, Change::Link(link) if is_watch_link(&link.item))
}

/// The service that watches is to be off. It does no harm if it is not: without the accord's file it grants nothing.
pub fn stop_watching(root: &Root, manager: &dyn ServiceManager) {
    let stop = || manager.act(Act::Stop(WATCH_LIMIT), paths::WATCH_UNIT);
    if let Some(Err(error)) = root.is_live().then(stop) {
        tracing::warn!("{}", report::log_line(&format!("{error:#}")));
    }
}

/// Lets systemd and libvirt read what is on disk. Asked of them, not concluded from what was changed: an apply that was
/// killed after its last change leaves nothing to change, and daemons that know none of it.
pub fn catch_up(root: &Root, manager: &dyn ServiceManager, survey: Survey) -> Result<Survey> {
    let findings = survey.findings();
    let waits = |id: &str| findings.iter().any(|finding| finding.id == id);
    let (waits_for_hook, waits_for_watch) = (waits("hook-not-picked-up"), waits("watch-not-running"));
    if !survey.reload_overdue() && !waits_for_hook && !waits_for_watch {
        return Ok(survey);
    }
    if survey.reload_overdue() {
        manager.reload()?;
    }
    if waits_for_hook {
        pick_up_hook(root, manager, &survey)?;
    }
    if waits_for_watch && root.is_live() && manager.act(Act::Start(WATCH_LIMIT), paths::WATCH_UNIT).is_err() {
        // The finding stays, and says how it is started.
        tracing::warn!("{} did not start", paths::WATCH_UNIT);
    }
    Survey::take(root, manager, Options::default())
}

/// What an interrupted run left beside its targets goes. A renumbering that was interrupted, or whose old number
/// processes still have, shows nowhere but in the journal: it is finished before anything is looked at.
fn resume(root: &Root) -> Result<()> {
    let mut journal = Journal::read(root)?;
    journal.clear(root)?;
    for Entry { change, .. } in &journal.entries {
        change
            .resume(root)
            .with_context(|| format!("clearing up after an earlier run: {}", change.target()))?;
    }
    let renumbering = |change: &&Change| matches!(change, Change::Renumber(_));
    let pending = journal.entries.iter().filter_map(|entry| entry.pending.as_ref()).filter(renumbering);
    let pending: Vec<_> = pending.cloned().collect();
    for change in pending {
        change.make(root).with_context(|| format!("finishing: {}", change.target()))?;
        if !change.lingers(root)? {
            journal.made(root, &change.target())?;
        }
    }
    Ok(())
}

/// Journals and makes each change, takes back what is no longer asked for; notes what could not be.
pub fn execute(root: &Root, survey: &mut Survey, plan: &Plan) -> Result<Vec<String>> {
    let group = &survey.accord.group;
    let journal = &mut survey.journal;
    journal.group = Some(Group { name: group.name.clone(), gid: group.gid });
    journal.sections.clone_from(&survey.profile.declared);
    for change in &plan.changes {
        let target = change.target();
        let context =
            || format!("{target}; the changes before it are in the journal: run apply again, or revert");
        journal.begin(root, change).with_context(context)?;
        change.make(root).with_context(context)?;
        if !change.lingers(root)? {
            journal.made(root, &target)?;
        }
        tracing::info!(VA_TARGET = %target, "changed {target}");
    }
    let mut notes = Vec::new();
    for entry in &plan.outdated {
        let target = entry.change.target();
        journal.take_back(root, &target)?;
        match entry.change.undo(root).with_context(|| format!("undoing {target}"))? {
            Undone::InUse(why) => {
                notes.push(format!("{target}: in use: {why}"));
                continue;
            }
            Undone::Left(why) => notes.push(format!("{target}: left as it is: {why}")),
            Undone::RestoredOver(what) => {
                notes.push(format!("{target}: restored; it had changed since: {what}"))
            }
            Undone::Restored | Undone::AlreadyBack => {}
        }
        journal.forget(root, &target)?;
    }
    Ok(notes)
}

/// libvirt finds its first hook when it starts or reloads; a reload disturbs no VM.
fn pick_up_hook(root: &Root, manager: &dyn ServiceManager, survey: &Survey) -> Result<()> {
    let Some(hypervisor) = survey.profile.hypervisor.as_ref().filter(|_| root.is_live()) else {
        return Ok(());
    };
    match manager.unit(&hypervisor.daemon_unit)? {
        Some(unit) if unit.is_active() => manager.act(Act::Reload, &unit.name),
        Some(_) | None => Ok(()),
    }
}

fn closing(survey: &Survey, output: &Output) -> String {
    let mut text = String::new();
    for note in &output.notes {
        text.push_str(&format!("{}\n", report::clean(note)));
    }
    text.push_str(&blast::waiting_text(survey, &output.waiting));
    if !output.failed.is_empty() {
        let line =
            |line: &String| report::colour(Style::Bad, &format!("failed: {}\n", report::one_line(line)));
        text.extend(output.failed.iter().map(line));
        let made = report::count(output.steps.len(), "change");
        return text
            + &format!("{made} made; fix what failed, then run 'vhost-accord apply --restart' again.\n");
    }
    for finding in &output.findings {
        text.push_str(&super::check::finding_text(finding));
    }
    let done = match output.steps.len() {
        0 => "Nothing to change".to_string(),
        count => format!("{} made", report::count(count, "change")),
    };
    let rest = match output.waiting.is_empty() {
        false => "; run 'vhost-accord apply --restart' to apply what is pending",
        true if output.steps.is_empty() && !output.restarted.is_empty() => "; restarted",
        true => "",
    };
    text + &format!("{done}{rest}.\n")
}
