// SPDX-License-Identifier: Apache-2.0
//! What must agree, rule by rule: pure functions of accord and facts, one stable id each.

mod accounts;
pub mod endpoints;
mod hook;
mod hugepages;
mod limits;
mod paths;
pub mod peer;
mod presence;
mod processes;
mod qemu_conf;
mod reach;
mod security;
mod sockets;
mod switch;
mod units;
mod watch;

use serde::Serialize;

use crate::accord::Accord;
use crate::base::shell;
use crate::facts::accounts::Accounts;
use crate::facts::surroundings::Surroundings;
use crate::fixes;
use crate::items::Change;
use crate::node::live::Live;
use crate::profile::Profile;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// It works; it could be better, or waits for a restart.
    Advice,
    /// A VM will not start, hang or have no network, or a guest can reach what it must not.
    Broken,
}

impl Level {
    /// As it is written in JSON, metrics and documents.
    pub fn name(self) -> &'static str {
        match self {
            Level::Advice => "advice",
            Level::Broken => "broken",
        }
    }
}

/// One rule.
pub struct Rule {
    /// Its stable id.
    pub id: &'static str,
    /// How much a finding of it matters.
    pub level: Level,
    /// Why it matters, in a line.
    pub cause: &'static str,
    /// Finds what breaks it.
    pub check: fn(&Case<'_>) -> Vec<Evidence>,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rule").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Everything rules may look at.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What should hold.
    pub accord: &'a Accord,
    /// The node by looking.
    pub profile: &'a Profile,
    /// The accord's items with what is there.
    pub observed: &'a [Change],
    /// What runs; none in an image.
    pub live: Option<&'a Live>,
    /// What else has a say.
    pub surroundings: &'a Surroundings,
    /// Names for numbers.
    pub names: &'a Accounts,
}

impl Case<'_> {
    /// Nobody knows whom QEMU runs as: no libvirt on this node, and no numbers of one in a container.
    fn lacks_libvirt(&self) -> bool {
        self.profile.hypervisor.is_none() && self.accord.qemu.is_none()
    }
}

/// What was seen, and what fixes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// What it is about: a path, a unit, a process, a VM.
    pub subject: String,
    /// What was seen instead of what was expected.
    pub seen: String,
    /// The command that fixes it.
    pub fix: String,
    /// The unit whose restart is what it waits for.
    pub restart: Option<String>,
}

impl Evidence {
    /// Something that `apply` fixes.
    fn applies(subject: impl Into<String>, seen: impl Into<String>) -> Evidence {
        Evidence::fixed_by(subject, seen, fixes::APPLY)
    }

    fn fixed_by(subject: impl Into<String>, seen: impl Into<String>, fix: impl Into<String>) -> Evidence {
        Evidence { subject: subject.into(), seen: seen.into(), fix: fix.into(), restart: None }
    }

    /// Something that a restart of `unit` fixes.
    fn waits(subject: impl Into<String>, seen: impl Into<String>, unit: &str) -> Evidence {
        let fix = format!("systemctl restart {}", shell::quote(unit));
        Evidence { subject: subject.into(), seen: seen.into(), fix, restart: Some(unit.to_string()) }
    }
}

/// A rule that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule.
    pub id: &'static str,
    /// How much it matters.
    pub level: Level,
    /// What it is about.
    pub subject: String,
    /// What was seen.
    pub seen: String,
    /// Why it matters.
    pub cause: &'static str,
    /// The command that fixes it.
    pub fix: String,
    /// The unit whose restart it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
}

/// Every family with its rules. A new rule is a line in its family's list; a new family a file and a line here.
pub const FAMILIES: [(&str, &[Rule]); 16] = [
    ("presence", presence::RULES),
    ("accounts", accounts::RULES),
    ("paths", paths::RULES),
    ("units", units::RULES),
    ("qemu-conf", qemu_conf::RULES),
    ("processes", processes::RULES),
    ("sockets", sockets::RULES),
    ("endpoints", endpoints::RULES),
    ("reach", reach::RULES),
    ("hook", hook::RULES),
    ("watch", watch::RULES),
    ("switch", switch::RULES),
    ("hugepages", hugepages::RULES),
    ("limits", limits::RULES),
    ("security", security::RULES),
    ("peer", peer::RULES),
];

/// Every rule there is.
pub fn catalogue() -> impl Iterator<Item = &'static Rule> {
    FAMILIES.into_iter().flat_map(|(_, rules)| rules)
}

/// Runs them all.
pub fn run(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in catalogue() {
        findings.extend((rule.check)(case).into_iter().map(|evidence| Finding {
            id: rule.id,
            level: rule.level,
            subject: evidence.subject,
            seen: evidence.seen,
            cause: rule.cause,
            fix: evidence.fix,
            restart: evidence.restart,
        }));
    }
    findings
}
