// SPDX-License-Identifier: Apache-2.0
//! What systemd shows of the service (`STATUS=`), and metrics for node_exporter.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::Value;

use super::Watcher;
use crate::base::notify::notify;
use crate::base::text::log_line;
use crate::config::Config;
use crate::write;

/// In words, to systemd.
pub fn tell(watcher: &Watcher<'_>) {
    let count = |number: usize, noun: &str| {
        if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
    };
    let database = if watcher.intent.is_known() { "connected" } else { "not connected" };
    notify(&format!(
        "STATUS={}, {} granted, {}, {} fixed, database {database}",
        count(watcher.granting.count(), "port"),
        watcher.granting.given,
        count(watcher.findings.count(), "finding"),
        watcher.fixed,
    ));
}

/// Metrics into the file that is configured; what the look found is in them as `check --prometheus` has it.
pub fn write(watcher: &Watcher<'_>, found: &Value) {
    if let Err(error) = try_write(watcher, found) {
        tracing::warn!("{}", log_line(&format!("metrics: {error:#}")));
    }
}

fn try_write(watcher: &Watcher<'_>, found: &Value) -> Result<()> {
    let Some(path) = Config::read(watcher.root)?.watch.metrics else { return Ok(()) };
    let mut text = found["metrics"].as_str().unwrap_or_default().to_string();
    let counters = [
        ("grants", "Sockets given to QEMU or the dataplane.", watcher.granting.given),
        ("fixes", "Changes by others that were fixed.", watcher.fixed),
        ("rescans", "Looks at all sockets.", watcher.rescans),
        ("overflows", "How often the kernel lost events.", watcher.places.overflows),
    ];
    for (name, help, value) in counters {
        let name = format!("vhost_accord_watch_{name}_total");
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
    }
    let (parent, name) = watcher.root.place(&path)?;
    write::replace_file(&parent, name, text.as_bytes(), &write::FileMeta::plain(0, 0, 0o644))
}
