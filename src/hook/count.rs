// SPDX-License-Identifier: Apache-2.0
//! What one run of the hook comes to, for metrics: `hook OPERATION RESULT FIXES MICROSECONDS`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Instant;

use crate::base::counters;
use crate::rules::start::Operation;

/// One run. Whoever ends it, its own end, a panic or the watchdog, counts it once.
#[derive(Debug, Clone)]
pub struct Count(Arc<Run>);

#[derive(Debug)]
struct Run {
    operation: Operation,
    begun: Instant,
    fixes: AtomicU32,
    /// A VM without vhost-user is no business of ours.
    counts: AtomicBool,
    failed: AtomicBool,
}

impl Count {
    /// Nothing is known of the VM yet.
    pub fn begin(operation: Operation, begun: Instant) -> Count {
        let (fixes, counts, failed) = (AtomicU32::new(0), AtomicBool::new(false), AtomicBool::new(false));
        Count(Arc::new(Run { operation, begun, fixes, counts, failed }))
    }

    /// When libvirt asked.
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// It has a vhost-user device.
    pub fn concerns(&self) {
        self.0.counts.store(true, Relaxed);
    }

    /// Something was fixed for it.
    pub fn fixed(&self) {
        self.0.fixes.fetch_add(1, Relaxed);
    }

    /// The check could not be carried out.
    pub fn failed(&self) {
        self.concerns();
        self.0.failed.store(true, Relaxed);
    }

    /// The end.
    pub fn end(&self, refused: bool) {
        let run = &self.0;
        if !run.counts.swap(false, Relaxed) {
            return;
        }
        let result = match (refused, run.failed.load(Relaxed)) {
            (true, _) => "refused",
            (false, true) => "unchecked",
            (false, false) => "passed",
        };
        let (fixes, took) = (run.fixes.load(Relaxed), run.begun.elapsed().as_micros());
        counters::add(&format!("hook {} {result} {fixes} {took}", run.operation.name()));
    }
}
