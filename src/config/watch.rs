// SPDX-License-Identifier: Apache-2.0
//! The section `[watch]`: what the service `vhost-accord-watch` does.

use anyhow::Result;

use super::Raw;
use super::value::one_of;

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
    /// `enabled`; `None`: where there is use for it.
    pub enabled: Option<bool>,
    /// `drift`.
    pub drift: Drift,
}

impl WatchConfig {
    pub(super) fn parse(raw: &Raw) -> Result<WatchConfig> {
        let enabled = one_of([("auto", None), ("yes", Some(true)), ("no", Some(false))]);
        let drift = one_of([("fix", Drift::Fix), ("report", Drift::Report)]);
        Ok(WatchConfig { enabled: raw.parse("enabled", enabled)?, drift: raw.parse("drift", drift)? })
    }

    /// Is the service to run where `dpdkvhostuser` sockets are granted, or not?
    pub fn wanted(&self, grants: bool) -> bool {
        self.enabled.unwrap_or(grants || self.drift == Drift::Fix)
    }
}
