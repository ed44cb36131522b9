// SPDX-License-Identifier: Apache-2.0
//! What one run of the hook comes to, for metrics: `hook OPERATION RESULT FIXES MICROSECONDS`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Instant;

use crate::base::counters;
use crate::rules::start::Operation;

/// One run. Whoever ends it, its own end, a panic or the watchdog, counts it once.
#[derive(Debug)]
pub struct Count {
    /// When libvirt asked.
    pub operation: Operation,
    begun: Instant,
    fixes: AtomicU32,
    /// A VM without vhost-user is no business of ours.
    counts: AtomicBool,
    failed: AtomicBool,
}

impl Count {
    /// Nothing is known of the VM yet.
    pub fn begin(operation: Operation, begun: Instant) -> Arc<Count> {
        let (fixes, counts, failed) = (AtomicU32::new(0), AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Count { operation, begun, fixes, counts, failed })
    }

    /// It has a vhost-user device.
    pub fn concerns(&self) {
        self.counts.store(true, Relaxed);
    }

    /// Something was fixed for it.
    pub fn fixed(&self) {
        self.fixes.fetch_add(1, Relaxed);
    }

    /// The check could not be carried out.
    pub fn failed(&self) {
        self.concerns();
        self.failed.store(true, Relaxed);
    }

    /// The end.
    pub fn end(&self, refused: bool) {
        if !self.counts.swap(false, Relaxed) {
            return;
        }
        let result = match (refused, self.failed.load(Relaxed)) {
            (true, _) => "refused",
            (false, true) => "unchecked",
            (false, false) => "passed",
        };
        let (fixes, took) = (self.fixes.load(Relaxed), self.begun.elapsed().as_micros());
        counters::add(&format!("hook {} {result} {fixes} {took}", self.operation.name()));
    }
}
