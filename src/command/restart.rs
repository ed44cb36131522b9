// SPDX-License-Identifier: Apache-2.0
//! The dataplane's restart as a transaction: it runs with the new settings and VMs are connected again, or it runs with the
//! previous ones. After a kill, the next `apply`, `revert` or boot restores the previous settings.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow, bail};
use nix::libc::{SIGHUP, SIGINT, SIGTERM};

use super::blast;
use super::reconnect::{self, Peer};
use crate::accord::{DataplaneAccord, is_drop_in};
use crate::base::lock::Lock;
use crate::base::paths;
use crate::base::progress::{self, Progress};
use crate::base::root::Root;
use crate::dataplane::ovs::remains;
use crate::dataplane::ovs::sockets::port_sockets;
use crate::dataplane::ovs::vswitchd::{VSWITCHD, Vswitchd};
use crate::facts::accounts::Accounts;
use crate::items::{Change, Held, preflight};
use crate::journal::{Entry, Journal};
use crate::node::live::Live;
use crate::report;
use crate::rules::Finding;
use crate::sockets::grant::give_new;
use crate::sockets::stale;
use crate::survey::{Options, Survey};
use crate::systemd::systemctl::Systemctl;
use crate::systemd::{Act, ServiceManager};

/// How long the previous settings may take to work: longer, because nothing else can be restored.
const BACK_LIMIT: Duration = Duration::from_secs(120);

/// A dataplane that is going to be restarted. Once stopped, it is started again whatever happens.
#[derive(Debug)]
pub struct Outage<'a> {
    root: &'a Root,
    manager: &'a dyn ServiceManager,
    survey: &'a Survey,
    pub dataplane: &'a DataplaneAccord,
    live: &'a Live,
    limit: Duration,
    peers: Vec<Peer>,
    stopped: bool,
}

impl<'a> Outage<'a> {
    /// None where no dataplane can be restarted.
    fn of(root: &'a Root, manager: &'a dyn ServiceManager, survey: &'a Survey) -> Option<Outage<'a>> {
        let (dataplane, live) = (survey.accord.dataplane.as_ref()?, survey.live.as_ref()?);
        let limit = survey.config.restart_deadline;
        Some(Outage { root, manager, survey, dataplane, live, limit, peers: Vec::new(), stopped: false })
    }

    /// Checks what can be checked while the dataplane still runs: its units, its user, and whether `changes` can be written and
    /// restored.
    ///
    /// # Errors
    /// It must not be stopped.
    pub fn prepare(
        root: &'a Root,
        manager: &'a dyn ServiceManager,
        survey: &'a Survey,
        changes: &[Change],
    ) -> Result<Option<Outage<'a>>> {
        let Some(mut outage) = Outage::of(root, manager, survey) else { return Ok(None) };
        outage.try_all(changes).context("the switch was not stopped")?;
        outage.peers =
            reconnect::connected(root, (outage.live, &survey.config.socket_directory), outage.limit)?;
        Ok(Some(outage))
    }

    /// Prints which VMs it cuts off; returns the lines.
    pub fn announce(&self, json: bool) -> Vec<String> {
        let lines = blast::lost_network(self.live);
        if !json {
            report::out(&lines.iter().map(|line| format!("{}\n", report::clean(line))).collect::<String>());
        }
        lines
    }

    fn try_all(&self, changes: &[Change]) -> Result<()> {
        for name in self.dataplane.units() {
            let unit = self.manager.unit(name)?.with_context(|| format!("there is no unit {name}"))?;
            if unit.load_state != "loaded" {
                bail!("{name} could not be started again: systemd says that it is {}", unit.load_state);
            }
        }
        let entries = self.survey.journal.entries.iter().filter(|entry| is_started_with(&entry.change));
        let changes: Vec<Change> =
            changes.iter().chain(entries.map(|entry| &entry.change)).cloned().collect();
        preflight::check(self.root, &changes)
    }

    /// Stops the dataplane, does `work` while it is down, and starts it. `running` is what it was started with. Returns true
    /// if it runs and all VMs that were connected are again, false if the previous settings were restored; and what failed.
    ///
    /// # Errors
    /// The journal could not be written; the dataplane was not stopped.
    pub fn run(
        mut self,
        running: Vec<Entry>,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<(bool, Vec<String>)> {
        Journal::read(self.root)?.restart_begins(self.root, running).context("the switch was not stopped")?;
        // A terminal may be lost with the network.
        let told = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&told))?;
        }
        self.stopped = true;
        let done = self.stop(self.manager).and_then(|()| work());
        let done = done.and_then(|()| self.start(self.manager, self.limit)).and_then(|()| self.wait());
        self.stopped = false;
        Ok(match done {
            Ok(()) => {
                let noted = note_end(self.root)
                    .context("the switch was restarted and works, but that could not be noted");
                (true, noted.err().map(|error| format!("{error:#}")).into_iter().collect())
            }
            Err(why) => (false, self.put_back(&why)),
        })
    }

    /// Restores the previous settings and starts the dataplane. Returns why, and what failed.
    fn put_back(&mut self, why: &Error) -> Vec<String> {
        self.stopped = false;
        let mut lines = vec![format!("the switch was put back as it was: {why:#}")];
        let mut note = |what: Result<()>| lines.extend(what.err().map(|error| format!("{error:#}")));
        // The bus may be what failed.
        note(self.stop(self.manager).or_else(|_| self.stop(&Systemctl)));
        for failed in go_back(self.root) {
            note(Err(failed));
        }
        note(self.manager.reload().or_else(|_| Systemctl.reload()));
        remains::clear(self.root);
        let limit = self.limit.max(BACK_LIMIT);
        match self.start(self.manager, limit).or_else(|_| self.start(&Systemctl, limit)) {
            Ok(()) => {
                note(give_new(self.root, &self.survey.accord));
                note(self.wait().context("after that, too"));
                note(note_end(self.root));
            }
            Err(error) => lines.push(format!("THE SWITCH DOES NOT RUN: {error:#}")),
        }
        lines
    }

    /// Stopping the unit that stands for the switch stops the others too, but does not wait for them. The database's socket
    /// goes first: whoever connects to it would start the database again. A unit that does not end in time is killed, as systemd itself would do it later.
    fn stop(&self, manager: &dyn ServiceManager) -> Result<()> {
        let deadline = Instant::now() + self.limit;
        let _progress = Progress::show(move || format!("stopping the switch, {}", progress::left(deadline)));
        for unit in self.dataplane.units() {
            if let Err(error) = manager.act(Act::Stop(self.limit), unit) {
                manager
                    .act(Act::Kill, unit)
                    .and_then(|()| manager.act(Act::Stop(self.limit), unit))
                    .with_context(|| format!("{error:#}"))?;
            }
        }
        self.clear();
        Ok(())
    }

    fn start(&self, manager: &dyn ServiceManager, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let _progress = Progress::show(move || format!("starting the switch, {}", progress::left(deadline)));
        for unit in self.dataplane.units() {
            // Fails where nothing is known of the unit: its start says so.
            let _ = manager.act(Act::Forgive, unit);
        }
        for unit in self.dataplane.units() {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
            manager.act(Act::Start(left), unit).map_err(|error| self.named(manager, error))?;
        }
        match Vswitchd::read(self.root) {
            Vswitchd::NotRunning => {
                bail!("{} was started, and {VSWITCHD} does not run", self.dataplane.switch_unit)
            }
            Vswitchd::Running(_) | Vswitchd::Unknown(_) => Ok(()),
        }
    }

    /// The unit that caused a failed start. The database is the last of the units, and all others need it.
    fn named(&self, manager: &dyn ServiceManager, error: Error) -> Error {
        let runs =
            |name: &str| manager.unit(name).is_ok_and(|unit| unit.is_some_and(|unit| unit.is_active()));
        match self.dataplane.units().skip(1).filter(|name| !runs(name)).last() {
            Some(unit) => error.context(format!("{unit} does not run (journalctl -u {unit})")),
            None => error,
        }
    }

    fn wait(&self) -> Result<()> {
        reconnect::wait(self.root, (self.live, &self.survey.config.socket_directory), &self.peers, self.limit)
    }

    /// Removes sockets and pid files of a killed dataplane, which stop the next start.
    fn clear(&self) {
        let sockets = self.live.switch.known().map(|switch| port_sockets(self.root, switch));
        let removed =
            sockets.unwrap_or_default().into_iter().map(|socket| stale::remove(self.root, &socket).map(drop));
        for error in removed.chain([remains::remove_pid_files(self.root)]).filter_map(Result::err) {
            tracing::warn!("{}", report::log_line(&format!("{error:#}")));
        }
    }

    fn runs(&self) -> Result<bool> {
        for name in self.dataplane.units() {
            if !self.manager.unit(name)?.is_some_and(|unit| unit.is_active()) {
                return Ok(false);
            }
        }
        Ok(!matches!(Vswitchd::read(self.root), Vswitchd::NotRunning))
    }
}

impl Drop for Outage<'_> {
    fn drop(&mut self) {
        if self.stopped {
            self.put_back(&anyhow!("this program failed")).iter().for_each(|line| report::complain(line));
        }
    }
}

fn note_end(root: &Root) -> Result<()> {
    Journal::read(root)?.restart_ended(root)
}

/// Does the dataplane read this when it starts? Other changes need no restart.
pub fn is_started_with(change: &Change) -> bool {
    match change {
        Change::File(Held { item: file, .. }) => {
            let of_other = |unit: &str| unit.ends_with(".mount") || is_drop_in(&file.path);
            file.path == Path::new(paths::DATAPLANE_ENVIRONMENT)
                || file.unit.as_ref().is_some_and(|unit| !of_other(unit))
        }
        Change::Owner(owner) => owner.item.is_state(),
        Change::LogOwner(_) | Change::Patch(_) => true,
        _ => false,
    }
}

/// What is restored with the dataplane's settings; that includes the file that its entries read.
pub fn entries_of(journal: &Journal) -> Vec<Entry> {
    let is_agreed =
        |change: &Change| matches!(change, Change::File(file) if file.item.path == Path::new(paths::AGREED));
    let items = journal.entries.iter();
    items.filter(|entry| is_started_with(&entry.change) || is_agreed(&entry.change)).cloned().collect()
}

/// Does the dataplane wait for its restart?
pub fn awaits(survey: &Survey, findings: &[Finding]) -> bool {
    let switch = survey.accord.dataplane.as_ref().map(|dataplane| &dataplane.switch_unit);
    switch.is_some() && findings.iter().any(|finding| finding.restart.as_ref() == switch)
}

/// Restores what the dataplane was started with before; returns what failed, and why.
pub fn go_back(root: &Root) -> Vec<Error> {
    let mut journal = match Journal::read(root) {
        Ok(journal) => journal,
        Err(error) => return vec![error],
    };
    let running = journal.running.clone().unwrap_or_default();
    let was = |change: &Change| running.iter().any(|entry| entry.change.target() == change.target());
    let new = |entry: &&Entry| is_started_with(&entry.change) && !was(&entry.change);
    let new: Vec<Entry> = journal.entries.iter().rev().filter(new).cloned().collect();
    let mut failed = Vec::new();
    for entry in new {
        let target = entry.change.target();
        let undone = entry.change.undo(root).and_then(|_| journal.forget(root, &target));
        failed.extend(undone.with_context(|| format!("putting back {target}")).err());
    }
    for entry in running {
        let made = make(root, &entry.change).and_then(|()| journal.put_back(root, &entry));
        failed.extend(made.with_context(|| format!("putting back {}", entry.change.target())).err());
    }
    failed
}

/// Restores one entry, unless it is as before already: on a filesystem that became read-only nothing was changed.
fn make(root: &Root, change: &Change) -> Result<()> {
    let now = change.item().observe(root, &Accounts::read(root)?)?;
    if now.holds() { Ok(()) } else { change.make(root) }
}

/// How `apply` and `revert` begin. Ends a killed restart: restores the dataplane's settings, and starts it if it does not run.
pub fn begin(
    lock: &mut Lock,
    root: &Root,
    manager: &dyn ServiceManager,
    restarts: bool,
) -> Result<Vec<String>> {
    let mut journal = Journal::read(root)?;
    if restarts || journal.restarting {
        lock.restarts();
    }
    if !journal.restarting {
        return Ok(Vec::new());
    }
    let survey = Survey::take(root, manager, Options::default())?;
    match Outage::of(root, manager, &survey) {
        Some(mut outage) if !outage.runs()? => {
            Ok(outage.put_back(&anyhow!("an earlier run was killed while it was stopped")))
        }
        Some(_) => journal.restart_ended(root).map(|()| Vec::new()),
        None => Ok(Vec::new()),
    }
}

/// Services that were started with settings that are reverted now.
pub fn touched_services(survey: &Survey, journal: &Journal) -> Vec<String> {
    let identity = ["EnvironmentFile=", "UMask=", "Group=", "RuntimeDirectory="];
    let changes_identity = |change: &Change| match change {
        Change::File(Held { item: file, .. }) => {
            let environment = file.path == Path::new(paths::DATAPLANE_ENVIRONMENT);
            let says = |key: &&str| file.content.lines().any(|line| line.starts_with(key));
            let drop_in = file.unit.is_some() && identity.iter().any(says);
            environment || drop_in
        }
        Change::Patch(_) | Change::Renumber(_) => true,
        _ => false,
    };
    let changes = || journal.entries.iter().map(|entry| &entry.change);
    let running = survey.live.as_ref();
    let mut units = Vec::new();
    if let Some(dataplane) = &survey.accord.dataplane
        && (journal.restarting
            || running.is_some_and(|live| live.vswitchd().is_some()) && changes().any(changes_identity))
    {
        units.push(dataplane.switch_unit.clone());
    }
    if let Some(qemu) = &survey.accord.qemu
        && running.is_some_and(|live| live.libvirt.is_some())
        && changes().any(|change| matches!(change, Change::Setting(_)))
    {
        units.extend(qemu.daemon_unit.clone());
    }
    units
}
