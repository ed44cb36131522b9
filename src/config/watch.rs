// SPDX-License-Identifier: Apache-2.0
//! The section `[watch]`: what the service `vhost-accord-watch` does.

use anyhow::Result;

use super::Raw;

/// Whether `apply` enables the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchEnabled {
    /// Where there is use for it.
    Auto,
    /// Always.
    Yes,
    /// Never.
    No,
}

/// What becomes of a setting that `apply` made and somebody else changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drift {
    /// It is restored.
    Fix,
    /// It is reported.
    Report,
}

/// The section `[watch]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchConfig {
    /// `enabled`.
    pub enabled: WatchEnabled,
    /// `drift`.
    pub drift: Drift,
}

impl WatchConfig {
    pub(super) fn parse(raw: &Raw) -> Result<WatchConfig> {
        Ok(WatchConfig { enabled: raw.parse("enabled", enabled)?, drift: raw.parse("drift", drift)? })
    }

    /// Is the service to run where `dpdkvhostuser` sockets are granted, or not?
    pub fn wanted(&self, grants: bool) -> bool {
        match self.enabled {
            WatchEnabled::Auto => grants || self.drift == Drift::Fix,
            WatchEnabled::Yes => true,
            WatchEnabled::No => false,
        }
    }
}

fn enabled(text: &str) -> Result<WatchEnabled, String> {
    match text {
        "auto" => Ok(WatchEnabled::Auto),
        "yes" => Ok(WatchEnabled::Yes),
        "no" => Ok(WatchEnabled::No),
        _ => Err("auto, yes or no".into()),
    }
}

fn drift(text: &str) -> Result<Drift, String> {
    match text {
        "fix" => Ok(Drift::Fix),
        "report" => Ok(Drift::Report),
        _ => Err("fix or report".into()),
    }
}
