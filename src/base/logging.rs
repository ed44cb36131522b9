// SPDX-License-Identifier: Apache-2.0
//! Where events go: to the journal, with their fields, when systemd or libvirt runs us. People get standard error.

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The first run of a process decides; journald that is not there is no error.
pub fn start() {
    let by_systemd = std::env::var_os("INVOCATION_ID").is_some();
    if let Some(layer) = tracing_journald::layer().ok().filter(|_| by_systemd || !people_watch()) {
        let layer = layer.with_field_prefix(None).with_syslog_identifier("vhost-accord".to_string());
        let _ = tracing_subscriber::registry().with(LevelFilter::INFO).with(layer).try_init();
    }
}

fn people_watch() -> bool {
    use std::io::IsTerminal as _;
    std::io::stderr().is_terminal()
}
