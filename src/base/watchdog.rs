// SPDX-License-Identifier: Apache-2.0
//! Ends the process when its time is up, wherever it hangs: libvirt has no timeout for a hook, and while a hook hangs, even
//! `virsh list` hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The watchdog thread needs none of the usual 2 MiB.
const STACK: usize = 128 << 10;

/// Runs until the process ends, or it is told that the work is done.
#[derive(Debug)]
pub struct Watchdog {
    done: Arc<AtomicBool>,
}

impl Watchdog {
    /// Calls `late` at the deadline and ends the process with the code it gives, within [`Watchdog::GRACE`].
    pub fn start(deadline: Instant, late: impl FnOnce() -> i32 + Send + 'static) -> Result<Watchdog> {
        let done = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&done);
        let watch = move || {
            std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
            if !watched.load(Ordering::Acquire) {
                std::process::exit(late());
            }
        };
        std::thread::Builder::new().stack_size(STACK).spawn(watch).context("starting the watchdog")?;
        Ok(Watchdog { done })
    }

    /// Work that must end before the watchdog ends it gets this much less time.
    pub const GRACE: Duration = Duration::from_millis(150);
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
    }
}
