// SPDX-License-Identifier: Apache-2.0
//! The status of the service for systemd (`STATUS=`), and its counters for metrics.

use super::Watcher;
use crate::base::counters;
use crate::base::notify::notify;
use crate::report;

pub fn tell(watcher: &Watcher<'_>) {
    let database = if watcher.intent.session().is_some() { "connected" } else { "not connected" };
    notify(&format!(
        "STATUS={}, {} granted, {}, {} fixed, database {database}",
        report::count(watcher.granting.count(), "port"),
        watcher.granting.given,
        report::count(watcher.findings.count(), "finding"),
        watcher.fixed,
    ));
}

/// Appends to the counters what was done since the last call.
pub fn count(watcher: &mut Watcher<'_>) {
    let now = [
        ("grants", watcher.granting.given),
        ("fixes", watcher.fixed),
        ("rescans", watcher.rescans),
        ("overflows", watcher.places.overflows),
    ];
    for ((name, value), counted) in now.into_iter().zip(&mut watcher.counted) {
        if value > *counted {
            counters::add(&format!("watch {name} {}", value - *counted));
        }
        *counted = value;
    }
}
