// SPDX-License-Identifier: Apache-2.0
//! The ports that the hook has converted. At the end of the hook, by itself or by an error, a panic or the watchdog, they are
//! restored, unless libvirt has the converted domain already.
//!
//! If a signal kills the hook, a port stays converted, and libvirt refuses the VM: nobody uses the port, and the next VM on it
//! is converted.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::base::journald::{Priority, log};
use crate::base::root::Root;
use crate::dataplane::ovs::port::{self, PortState};

/// Time to restore one port; the watchdog waits as long for the ledger.
const PATIENCE: Duration = Duration::from_millis(400);
const PAUSE: Duration = Duration::from_millis(5);

/// Shared with the watchdog.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Turned>>);

#[derive(Debug, Default)]
struct Turned {
    phase: Phase,
    ports: Vec<(PortState, PortState)>,
}

/// How far the conversion is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Ports may be converted.
    #[default]
    Turning,
    /// libvirt may have part of the domain.
    Printing,
    /// libvirt has all of it.
    Done,
    /// The ports were restored; no more are converted.
    PutBack,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Turned> {
        // The list is complete even after a panic: each port is added when it is converted.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Converts a port. The ledger is locked meanwhile, so that nobody restores a port before it is in the list.
    pub fn turn(&self, root: &Root, before: &PortState, after: &PortState, deadline: Instant) -> Result<()> {
        let mut turned = self.lock();
        if turned.phase != Phase::Turning {
            bail!("too late: the deadline has passed");
        }
        port::turn(root, before, after, deadline)?;
        turned.ports.push((before.clone(), after.clone()));
        Ok(())
    }

    /// `false`: the ports were restored already.
    pub fn begin_to_print(&self) -> bool {
        let mut turned = self.lock();
        let may = turned.phase == Phase::Turning;
        if may {
            turned.phase = Phase::Printing;
        }
        may
    }

    /// libvirt has the domain.
    ///
    /// # Errors
    /// The watchdog restored the ports meanwhile.
    pub fn finish(&self) -> Result<()> {
        let mut turned = self.lock();
        if turned.phase != Phase::Printing {
            bail!("too late: the deadline has passed");
        }
        turned.phase = Phase::Done;
        Ok(())
    }

    /// Restores the ports, unless libvirt has the domain.
    pub fn put_back(&self) {
        undo(&mut self.lock());
    }

    /// The same for the watchdog, even if another thread hangs. Returns how far the conversion was.
    pub fn end(&self) -> Phase {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut turned = match self.0.try_lock() {
                Ok(turned) => turned,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) if Instant::now() < end => {
                    std::thread::sleep(PAUSE);
                    continue;
                }
                Err(TryLockError::WouldBlock) => {
                    let line = "a port may be converted although its VM is not; fix: vhost-accord check";
                    log(Priority::Error, line, &[("VA_FINDING", "conversion-failed")]);
                    return Phase::Turning;
                }
            };
            let phase = turned.phase;
            undo(&mut turned);
            return phase;
        }
    }
}

fn undo(turned: &mut Turned) {
    if turned.phase == Phase::Done {
        return;
    }
    turned.phase = Phase::PutBack;
    for (before, after) in std::mem::take(&mut turned.ports).iter().rev() {
        let undone =
            Root::open(Path::new("/")).and_then(|root| port::put_back(&root, before, after, PATIENCE));
        let (priority, line) = match undone {
            Ok(_) => (Priority::Notice, format!("restored port {}: {}", before.name, port::describe(before))),
            Err(error) => {
                let line =
                    format!("port {} was not restored: {error:#}; fix: vhost-accord check", before.name);
                (Priority::Error, line)
            }
        };
        log(priority, &line, &[("VA_FINDING", "conversion-undone")]);
    }
}

/// At the end of the hook's own work, however it ends.
#[derive(Debug)]
pub struct PutBack(pub Ledger);

impl Drop for PutBack {
    fn drop(&mut self) {
        self.0.put_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_of_hook_and_watchdog_has_the_last_word() {
        let late = Ledger::default();
        assert_eq!(late.end(), Phase::Turning);
        assert!(!late.begin_to_print(), "the watchdog was faster");

        let in_between = Ledger::default();
        assert!(in_between.begin_to_print());
        assert_eq!(in_between.end(), Phase::Printing);
        assert!(in_between.finish().is_err(), "what was printed does not count");

        let in_time = Ledger::default();
        assert!(in_time.begin_to_print());
        in_time.finish().unwrap();
        in_time.put_back();
        assert_eq!(in_time.end(), Phase::Done);
    }

    #[test]
    fn nothing_is_turned_any_more_once_it_was_put_back_and_a_held_ledger_is_not_waited_for() {
        let root = Root::open(Path::new("/")).unwrap();
        let state = PortState {
            name: "x".to_string(),
            kind: crate::config::PortType::Dpdkvhostuser,
            server_path: None,
        };
        let ledger = Ledger::default();
        ledger.put_back();
        let error = ledger.turn(&root, &state, &state, Instant::now()).unwrap_err();
        assert_eq!(error.to_string(), "too late: the deadline has passed");
        let other = Ledger::default();
        let _held = other.lock();
        assert_eq!(other.end(), Phase::Turning);
    }
}
