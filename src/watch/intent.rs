// SPDX-License-Identifier: Apache-2.0
//! What is meant: OVSDB's ports, by a session that is begun again whenever it ends.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::base::root::Root;
use crate::base::text::log_line;
use crate::dataplane::ovs::database;
use crate::dataplane::ovs::ovsdb::{Changed, Monitor, OVSDB_LIMIT, VhostPort};
use crate::dataplane::ovs::sockets::Switch;

/// Between the first two attempts; twice that after each, as OVS's own clients do (lib/reconnect.c).
const FIRST: Duration = Duration::from_secs(1);
/// At most.
const LAST: Duration = Duration::from_secs(8);

/// The session, and what it has told.
#[derive(Debug)]
pub struct Intent {
    monitor: Option<Monitor>,
    /// As told last; none before the first answer.
    pub switch: Option<Switch>,
    next: Instant,
    pause: Duration,
}

impl Intent {
    /// No session yet.
    pub fn new(now: Instant) -> Intent {
        Intent { monitor: None, switch: None, next: now, pause: FIRST }
    }

    /// Is there a session?
    pub fn is_known(&self) -> bool {
        self.monitor.is_some()
    }

    /// What to wait for.
    pub fn stream(&self) -> Option<BorrowedFd<'_>> {
        self.monitor.as_ref().map(|monitor| monitor.as_fd())
    }

    /// When the next attempt is due, where there is no session.
    pub fn next(&self) -> Option<Instant> {
        self.monitor.is_none().then_some(self.next)
    }

    /// The database may have come: no waiting for the next attempt.
    pub fn hurry(&mut self, now: Instant) {
        (self.next, self.pause) = (now, FIRST);
    }

    /// Begins a session if there is none and an attempt is due. True: it has begun.
    pub fn connect(&mut self, root: &Root, now: Instant) -> bool {
        if self.monitor.is_some() || now < self.next {
            return false;
        }
        let begin = || -> Result<(Monitor, Switch)> {
            let monitor = Monitor::begin(database::connect(root, OVSDB_LIMIT)?)?;
            let switch = switch_of(&monitor)?;
            Ok((monitor, switch))
        };
        match begin() {
            Ok((monitor, switch)) => {
                tracing::info!("connected to the switch's database: {} vhost-user ports", switch.ports.len());
                (self.monitor, self.switch, self.pause) = (Some(monitor), Some(switch), FIRST);
                true
            }
            Err(error) => {
                tracing::debug!("{}", log_line(&format!("{error:#}")));
                self.next = Instant::now() + self.pause;
                self.pause = LAST.min(2 * self.pause);
                false
            }
        }
    }

    /// Takes what the session has to tell; a session that has ended is forgotten, and what it told is kept.
    pub fn read(&mut self, now: Instant) -> Changed {
        let Some(monitor) = &mut self.monitor else { return Changed::default() };
        let told = monitor.read().and_then(|mut changed| {
            let known = self.switch.as_mut();
            match known.filter(|switch| !changed.others && are_new(switch, &changed.ports)) {
                // However many there are.
                Some(switch) => switch.ports.extend(changed.ports.iter().cloned()),
                None if changed.is_empty() => {}
                None => {
                    self.switch = Some(switch_of(monitor)?);
                    changed.others = true;
                }
            }
            Ok(changed)
        });
        told.unwrap_or_else(|error| {
            self.ended(&error, now);
            Changed { others: true, ..Changed::default() }
        })
    }

    /// Asks whether the server lives.
    pub fn ask_for_life(&mut self, now: Instant) {
        if let Some(Err(error)) = self.monitor.as_mut().map(Monitor::ask_for_life) {
            self.ended(&error, now);
        }
    }

    fn ended(&mut self, error: &anyhow::Error, now: Instant) {
        tracing::warn!("{}", log_line(&format!("{error:#}; connecting again")));
        self.monitor = None;
        self.next = now + self.pause;
    }
}

/// None of them was told before, nor twice.
fn are_new(switch: &Switch, ports: &[VhostPort]) -> bool {
    let names: BTreeSet<&str> = ports.iter().map(|port| port.name.as_str()).collect();
    names.len() == ports.len() && switch.ports.iter().all(|known| !names.contains(known.name.as_str()))
}

fn switch_of(monitor: &Monitor) -> Result<Switch> {
    let (config, ports) = monitor.switch()?;
    Ok(Switch { config, ports })
}
