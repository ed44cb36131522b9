// SPDX-License-Identifier: Apache-2.0
//! The watch service. OVSDB names a port before its socket exists, inotify tells when to look, and the state is read from the
//! kernel, through descriptors. One thread waits for all of it. An event only says where to look; what was missed is seen at
//! the next rescan: at the start, when the kernel lost events, when a directory was replaced, when OVSDB came back, on SIGHUP,
//! and each minute.

mod barrier;
mod findings;
mod granting;
mod intent;
mod pass;
mod places;
mod report;
mod tug;

pub use barrier::settle;

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use serde_json::Value;

use crate::accord::Agreed;
use crate::base::journald::{Priority, TUG_OF_WAR, log};
use crate::base::lock::Lock;
use crate::base::notify::notify;
use crate::base::paths;
use crate::base::root::Root;
use crate::base::text::log_line;
use crate::dataplane::ovs;
use crate::dataplane::ovs::ovsdb::Changed;
use crate::journal::Journal;
use barrier::Barrier;
use findings::Findings;
use granting::Granting;
use intent::Intent;
use pass::Passes;
use places::{Event, Places};
use tug::Tug;

/// How long an edited configuration may wait for its `apply` before it is reported.
const EDITED: Duration = Duration::from_secs(60);
/// Where libvirt keeps the state of running VMs: a hot-plug shows there.
const STATUS: &str = "/run/libvirt/qemu";

struct Watcher<'a> {
    root: &'a Root,
    places: Places,
    intent: Intent,
    granting: Granting,
    passes: Passes,
    findings: Findings,
    barrier: Barrier,
    tug: Tug,
    /// What belongs to the accord, as the journal file has it.
    accord: BTreeSet<PathBuf>,
    /// When the configuration was edited, and when an `apply` had run before that.
    edited: Option<(Instant, Option<i128>)>,
    fixed: u64,
    rescans: u64,
    /// What the file of counters has already.
    counted: [u64; 4],
    ended: u64,
}

/// Watches until SIGTERM.
pub fn run(root: &Root) -> Result<()> {
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    signals.thread_block().context("blocking signals")?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let signals = SignalFd::with_flags(&signals, flags).context("waiting for signals")?;
    let mut watcher = Watcher::new(root)?;
    watcher.rescan(Instant::now());
    notify("READY=1");
    loop {
        watcher.wait(&signals)?;
        let now = Instant::now();
        while let Some(signal) = signals.read_signal().context("reading a signal")? {
            if signal.ssi_signo != Signal::SIGHUP as u32 {
                notify("STOPPING=1");
                return Ok(());
            }
            watcher.tug.forget();
            watcher.rescan(now);
            watcher.passes.wanted(now);
        }
        watcher.step(now)?;
    }
}

impl<'a> Watcher<'a> {
    fn new(root: &'a Root) -> Result<Watcher<'a>> {
        let now = Instant::now();
        Ok(Watcher {
            root,
            places: Places::new()?,
            intent: Intent::new(now),
            granting: Granting::default(),
            passes: Passes::new(now),
            findings: Findings::default(),
            barrier: Barrier::open()?,
            tug: Tug::default(),
            accord: BTreeSet::new(),
            edited: None,
            fixed: 0,
            rescans: 0,
            counted: [0; 4],
            ended: 0,
        })
    }

    /// Until something happens or is due.
    fn wait(&self, signals: &SignalFd) -> Result<()> {
        let others = [self.granting.next(), self.intent.next()];
        let next = others.into_iter().flatten().fold(self.passes.next(), Instant::min);
        let left = next.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
        let mut fds = vec![signals.as_fd(), self.places.as_fd(), self.barrier.as_fd()];
        fds.extend(
            self.intent.session().map(|session| session.as_fd()).into_iter().chain(self.passes.output()),
        );
        let mut fds: Vec<PollFd<'_>> = fds.into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno).context("waiting"),
        }
    }

    fn step(&mut self, now: Instant) -> Result<()> {
        if self.intent.connect(self.root, now) {
            self.expect();
            self.rescan(now);
        }
        let changed = self.intent.read(now);
        self.ports(&changed, now);
        let events = self.places.read()?;
        let quiet = events.is_empty() && changed.is_empty();
        if events.contains(&Event::All) {
            self.rescan(now);
        } else {
            events.iter().for_each(|event| self.event(event, now));
        }
        self.granting.go_on(self.root, now, &mut self.tug);
        if self.barrier.accept(self.passes.count + 1) {
            self.passes.wanted(now);
        }
        self.look(now);
        if quiet && self.granting.next().is_none() && self.passes.is_idle(now) {
            self.barrier.settled(self.ended);
        }
        Ok(())
    }

    /// The look at the whole node: begun, and what came of it.
    fn look(&mut self, now: Instant) {
        let (count, minute) = (self.passes.count, self.passes.minute(now));
        if let Err(error) = self.passes.go_on(now, &self.tug) {
            tracing::warn!("{}", log_line(&format!("{error:#}")));
        }
        if minute {
            self.rescan(now);
        } else if self.passes.count > count {
            self.refresh();
        }
        let Some(found) = self.passes.result() else { return };
        self.ended = self.passes.count;
        match found {
            Ok(found) => self.found(&found, now),
            Err(error) => tracing::warn!("{}", log_line(&format!("{error:#}"))),
        }
        report::tell(self);
        report::count(self);
    }

    fn found(&mut self, found: &Value, now: Instant) {
        for target in found["fixed"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            self.fixed += 1;
            if self.tug.fixed(target, now) {
                tell_tug(target);
                self.passes.wanted(now);
            }
        }
        if found["busy"] == Value::Bool(true) {
            self.passes.wanted(now);
            return;
        }
        let awaits_apply = self.awaits_apply(now);
        self.findings.told(found, now, awaits_apply);
    }

    /// Was the configuration edited just now? Then an `apply` is about to follow.
    fn awaits_apply(&self, now: Instant) -> bool {
        let waits = |(at, last): (Instant, Option<i128>)| {
            now < at + EDITED && Lock::last(self.root).is_ok_and(|now| now == last)
        };
        self.edited.is_some_and(waits)
    }

    /// Looks at everything. The watches are set first, so that no event is missed. Runs at least once a minute, together with the
    /// messages to systemd and OVSDB: nothing else wakes us.
    fn rescan(&mut self, now: Instant) {
        self.rescans += 1;
        notify("WATCHDOG=1");
        self.intent.ask_for_life(now);
        self.refresh();
        self.granting.look_at_all(self.root, &mut self.tug);
    }

    /// Reads again what is watched: an `apply` may have changed it.
    fn refresh(&mut self) {
        let agreed = Agreed::trusted(self.root);
        self.granting.agreed(agreed.as_ref());
        self.accord = Journal::read(self.root).map(|journal| of_accord(&journal)).unwrap_or_default();
        self.accord.extend(agreed.into_iter().flat_map(|agreed| agreed.directories).map(|owner| owner.path));
        self.watch();
    }

    fn watch(&mut self) {
        let mut wanted = self.granting.directories();
        wanted.extend(self.accord.iter().cloned());
        wanted.extend([ovs::paths::RUN, paths::ADMIN_CONFIG, STATUS].map(PathBuf::from));
        wanted.insert(Path::new(paths::ADMIN_CONFIG).join(paths::CONFIG_NAME).with_extension("conf.d"));
        self.places.watch(self.root, &wanted);
    }

    /// Takes the settings and ports of the session; without a session, those of the last one stay.
    fn expect(&mut self) {
        if let Some(Err(error)) = self.intent.session().map(|session| self.granting.expect(session)) {
            tracing::warn!("{}", log_line(&format!("{error:#}")));
        }
    }

    fn ports(&mut self, changed: &Changed, now: Instant) {
        if changed.is_empty() {
            return;
        }
        let before = self.granting.directories();
        let paths = self.granting.change(changed);
        if changed.settings {
            self.expect();
        }
        if self.granting.directories() != before {
            self.watch();
        }
        for path in &paths {
            self.granting.look(self.root, path, &mut self.tug);
        }
        self.passes.wanted(now);
    }

    fn event(&mut self, event: &Event, now: Instant) {
        let Event::At(path) = event else { return };
        if self.granting.expects(path) {
            self.granting.look(self.root, path, &mut self.tug);
        } else if self.accord.contains(path)
            || path.starts_with(STATUS)
            || self.granting.socket_directory().is_some_and(|directory| path.starts_with(directory))
        {
            self.passes.wanted(now);
        } else if path == Path::new(ovs::paths::OVSDB_SOCKET)
            || path.extension().is_some_and(|extension| extension == "pid")
        {
            self.intent.hurry(now);
        } else if path.starts_with(paths::ADMIN_CONFIG) {
            if path.extension().is_some_and(|extension| extension == "conf") {
                self.edited = Lock::last(self.root).ok().map(|last| (now, last));
            }
            self.rescan(now);
            self.passes.wanted(now);
        }
    }
}

/// What `apply` wrote, and may be changed by others.
fn of_accord(journal: &Journal) -> BTreeSet<PathBuf> {
    journal.entries.iter().flat_map(|entry| entry.change.writes()).collect()
}

/// Logs that a change is no longer fixed.
fn tell_tug(what: &str) {
    let line = format!(
        "{what}: something else set it back three times in ten seconds; not fixed any more. Find what does it, then run 'systemctl reload {}'",
        paths::WATCH_UNIT
    );
    log(Priority::Warning, &line, &[("VA_TARGET", what), ("MESSAGE_ID", TUG_OF_WAR)]);
}
