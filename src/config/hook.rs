// SPDX-License-Identifier: Apache-2.0
//! What the check at a VM's start does with what it finds.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::value::{one_of, seconds, words};
use super::{PortType, Raw};
use crate::base::named::named;

/// Let the VM start, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It does not start.
    Refuse,
    /// It starts, and the journal has a warning.
    Warn,
}

named! {
    /// What a check at a VM's start is about.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Family {
        /// Where the sockets are.
        Paths = "paths",
        /// The other end, in OVSDB.
        Ports = "ports",
        /// Who may reach them.
        Sockets = "sockets",
        /// Shared, on huge pages that are there.
        Memory = "memory",
    }
}

const FAMILIES: [Family; 4] = [Family::Paths, Family::Ports, Family::Sockets, Family::Memory];

/// The keys `on-problem`, `on-error`, `hook-deadline` and `service-deadline`, and `incoming` of `[convert]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookConfig {
    on_problem: Action,
    families: BTreeMap<Family, Action>,
    /// The check itself failed.
    pub on_error: Action,
    /// For one call of the hook.
    pub deadline: Duration,
    /// For one entry in the dataplane's units.
    pub service_deadline: Duration,
    /// The type of port that VMs go over to which are migrated to this node or restored; `None`: they keep theirs.
    pub incoming: Option<PortType>,
}

impl Default for HookConfig {
    fn default() -> HookConfig {
        HookConfig {
            on_problem: Action::Refuse,
            families: BTreeMap::new(),
            on_error: Action::Warn,
            deadline: Duration::from_secs(2),
            service_deadline: Duration::from_secs(10),
            incoming: None,
        }
    }
}

impl HookConfig {
    pub(super) fn parse(raw: &Raw, modes: &[PortType]) -> Result<HookConfig> {
        let (on_problem, families) = raw.parse("on-problem", problems)?;
        let on_error = raw.parse("on-error", one_of(ACTIONS))?;
        let deadline = raw.parse("hook-deadline", seconds(DEADLINES))?;
        let service_deadline = raw.parse("service-deadline", seconds(DEADLINES))?;
        let incoming = raw.parse("incoming", |text| incoming(text, modes))?;
        Ok(HookConfig { on_problem, families, on_error, deadline, service_deadline, incoming })
    }

    /// What to do about a problem of this family.
    pub fn on_problem(&self, family: Family) -> Action {
        self.families.get(&family).copied().unwrap_or(self.on_problem)
    }
}

const ACTIONS: [(&str, Action); 2] = [("refuse", Action::Refuse), ("warn", Action::Warn)];

fn problems(text: &str) -> Result<(Action, BTreeMap<Family, Action>), String> {
    let expected = || "refuse or warn, then FAMILY=refuse or FAMILY=warn (paths, ports, sockets, memory)";
    let action = |text: &str| one_of(ACTIONS)(text).map_err(|_| expected());
    let mut general = Action::Refuse;
    let mut families = BTreeMap::new();
    for word in words(text) {
        let Some((family, what)) = word.split_once('=') else {
            general = action(word)?;
            continue;
        };
        let family = FAMILIES.into_iter().find(|known| known.name() == family).ok_or_else(expected)?;
        families.insert(family, action(what)?);
    }
    Ok((general, families))
}

/// A type that is not to work here is none to go over to.
fn incoming(text: &str, modes: &[PortType]) -> Result<Option<PortType>, String> {
    let [client, server] = PortType::ALL.map(|kind| (kind.as_str(), Some(kind)));
    match one_of([("keep", None), client, server])(text)? {
        Some(kind) if !modes.contains(&kind) => Err(format!("one of modes, and {kind} is none of them")),
        incoming => Ok(incoming),
    }
}

/// Less is no time for a database to answer in; more is a start that hangs.
const DEADLINES: RangeInclusive<f64> = 0.1..=30.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_its_own_say() {
        let (general, families) = problems("refuse memory=warn").unwrap();
        assert_eq!((general, families[&Family::Memory]), (Action::Refuse, Action::Warn));
        let (general, families) = problems("ports=refuse, warn").unwrap();
        assert_eq!((general, families[&Family::Ports]), (Action::Warn, Action::Refuse));
        for wrong in ["no", "memory", "memories=warn", "memory=off"] {
            assert!(problems(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_deadline_is_bounded() {
        let parse = seconds(DEADLINES);
        assert_eq!(parse("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "31", "-1", "NaN", "inf", "2s"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
