// SPDX-License-Identifier: Apache-2.0
//! An allocation that fails ends in `abort`, and libvirt takes a hook that a signal ended for a refusal. So the signal
//! ends this process with the code that was chosen before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use nix::libc::SIGABRT;
use signal_hook::flag::register_conditional_shutdown;

/// What an abort ends with: success, until it is told otherwise.
#[derive(Debug)]
pub struct Abort {
    fails: Arc<AtomicBool>,
}

impl Abort {
    /// Takes the signal over.
    pub fn guard(failure: i32) -> Result<Abort> {
        let fails = Arc::new(AtomicBool::new(false));
        let always = Arc::new(AtomicBool::new(true));
        let register = |code, condition| register_conditional_shutdown(SIGABRT, code, condition);
        // In this order: the first whose condition holds ends the process.
        register(failure, Arc::clone(&fails)).and_then(|_| register(0, always)).context("guarding aborts")?;
        Ok(Abort { fails })
    }

    /// From now on an abort is a failure.
    pub fn fail(&self) {
        self.fails.store(true, Ordering::Release);
    }
}
