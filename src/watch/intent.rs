// SPDX-License-Identifier: Apache-2.0
//! What is expected: OVSDB's ports, from a session that is begun again whenever it ends.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::base::root::Root;
use crate::base::text::log_line;
use crate::dataplane::ovs::database;
use crate::dataplane::ovs::ovsdb::{Changed, Monitor, OVSDB_LIMIT};

/// Time between the first two attempts; doubled after each, as OVS's own clients do (lib/reconnect.c).
const FIRST: Duration = Duration::from_secs(1);
/// The most time between two attempts. When a server starts, inotify tells.
const LAST: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Intent {
    monitor: Option<Monitor>,
    next: Instant,
    pause: Duration,
}

impl Intent {
    pub fn new(now: Instant) -> Intent {
        Intent { monitor: None, next: now, pause: FIRST }
    }

    /// What was told so far, while there is a session.
    pub fn session(&self) -> Option<&Monitor> {
        self.monitor.as_ref()
    }

    /// When the next attempt is due, where there is no session.
    pub fn next(&self) -> Option<Instant> {
        self.monitor.is_none().then_some(self.next)
    }

    /// The database may have started: the next attempt is due now.
    pub fn hurry(&mut self, now: Instant) {
        (self.next, self.pause) = (now, FIRST);
    }

    /// Begins a session if there is none and an attempt is due. True if it began.
    pub fn connect(&mut self, root: &Root, now: Instant) -> bool {
        if self.monitor.is_some() || now < self.next {
            return false;
        }
        let begin = || -> Result<Monitor> {
            let monitor = Monitor::begin(database::connect(root, OVSDB_LIMIT)?)?;
            monitor.config()?;
            Ok(monitor)
        };
        match begin() {
            Ok(monitor) => {
                tracing::info!(
                    "connected to the switch's database: {} vhost-user ports",
                    monitor.ports().count()
                );
                (self.monitor, self.pause) = (Some(monitor), FIRST);
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

    /// Reads the messages of the session.
    pub fn read(&mut self, now: Instant) -> Changed {
        let told = self.monitor.as_mut().map_or_else(|| Ok(Changed::default()), Monitor::read);
        told.unwrap_or_else(|error| {
            self.ended(&error, now);
            Changed { settings: true, ..Changed::default() }
        })
    }

    pub fn ask_for_life(&mut self, now: Instant) {
        if let Some(Err(error)) = self.monitor.as_mut().map(|monitor| monitor.ask_for_life(now)) {
            self.ended(&error, now);
        }
    }

    fn ended(&mut self, error: &anyhow::Error, now: Instant) {
        tracing::warn!("{}", log_line(&format!("{error:#}; connecting again")));
        self.monitor = None;
        self.next = now + self.pause;
    }
}
