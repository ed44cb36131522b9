// SPDX-License-Identifier: Apache-2.0
//! A defect of ours, or a failed allocation, ends the process with SIGABRT. libvirt takes a hook that a signal ended for a
//! refusal, so the process exits with a code chosen before instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use nix::libc::SIGABRT;
use signal_hook::flag::register_conditional_shutdown;

/// The exit code of an abort: success, until [`Abort::fail`] is called.
#[derive(Debug)]
pub struct Abort {
    fails: Arc<AtomicBool>,
}

impl Abort {
    /// Handles the signal.
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

/// From now on a panic of any thread ends the process with the code that `last` returns for the panic's message.
pub fn on_panic(last: impl Fn(&str) -> i32 + Send + Sync + 'static) {
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| panic.payload().downcast_ref::<String>().cloned()).unwrap_or_default();
        let place = panic.location().map_or(String::new(), |place| format!(" ({place})"));
        std::process::exit(last(&format!("a defect of vhost-accord: {text}{place}")));
    }));
}
