// SPDX-License-Identifier: Apache-2.0
//! What must agree, rule by rule: pure functions of what was found, one stable id each. The hook asks those that a VM's
//! start depends on, `check` asks all. A rule has its page beside it, and [`catalogue`] is all of them.

pub mod catalogue;
pub mod start;

use std::path::Path;

use serde::Serialize;

use crate::accord::Accord;
use crate::base::named::named;
use crate::base::shell;
use crate::config::Family;
use crate::facts::accounts::Accounts;
use crate::facts::surroundings::Surroundings;
use crate::fixes;
use crate::items::Change;
use crate::node::endpoints::Endpoints;
use crate::node::endpoints::Socket;
use crate::node::live::Live;
use crate::profile::Profile;
use endpoints::Meeting;
use peer::{Compared, Nodes};
use start::StartCase;

named! {
    /// How much it matters.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Level {
        /// It works; it could be better, or waits for a restart.
        Advice = "advice",
        /// A VM will not start, hang or have no network, or a guest can reach what it must not.
        Broken = "broken",
    }
}

/// One rule, and its page.
#[derive(Debug, Serialize)]
pub struct Rule {
    /// Its stable id.
    pub id: &'static str,
    /// How much a finding of it matters.
    pub level: Level,
    /// Why it matters, in a line.
    pub cause: &'static str,
    /// The same of a VM before its start, where that is said in other words as long as nothing has happened.
    #[serde(skip)]
    pub ahead: Option<&'static str>,
    /// When it can be asked. Empty: it is a step of a longer judgement, which tells of it by its id ([`finding`]).
    #[serde(skip)]
    pub asks: &'static [Ask],
    /// What happens to the VM or the node, a command that shows it by hand, what fixes it in general, and where the fact is
    /// from: program, version, file. A line each: whoever starts the hook pays for each text of a table.
    #[serde(skip)]
    pub page: &'static str,
}

/// The one text, if there is one.
const fn first(texts: &[&'static str]) -> Option<&'static str> {
    if let [text] = texts { Some(text) } else { None }
}

/// The rules of a family: how much each matters, its id, when it is asked, and its page.
macro_rules! rules {
    ($(
        $level:ident $id:literal [$($when:ident $(<$family:ident>)? ($check:expr)),*]
        cause: $cause:literal,
        $(ahead: $ahead:literal,)?
        effect: $effect:literal,
        see: $see:literal,
        fix: $fix:literal,
        source: $source:literal,
    )+) => {
        /// The rules.
        pub const RULES: &[$crate::rules::Rule] = &[$($crate::rules::Rule {
            id: $id,
            level: $crate::rules::Level::$level,
            cause: $cause,
            ahead: $crate::rules::first(&[$($ahead)?]),
            asks: &[$($crate::rules::Ask::$when($($crate::config::Family::$family,)? $check)),*],
            page: concat!($effect, "\n", $see, "\n", $fix, "\n", $source),
        }),+];
    };
}

/// When a rule can be asked, and what finds what breaks it then.
#[derive(Debug)]
pub enum Ask {
    /// Of a node. In an image nothing runs: `Case::live` is none there.
    Node(fn(&Case<'_>) -> Vec<Evidence>),
    /// The same where there is one thing to be found.
    Once(fn(&Case<'_>) -> Option<Evidence>),
    /// Of a change that the accord wants, and that is not there.
    Change(fn(&Case<'_>, &Change) -> Option<Evidence>),
    /// Of a VM before its start, by the hook and by `check`; with the hook's family.
    Start(Family, fn(&StartCase<'_>) -> Vec<Evidence>),
    /// The same of each of its sockets.
    Each(Family, fn(&StartCase<'_>, &Socket) -> Option<Evidence>),
    /// Of a VM that comes from another node or a saved state: not by `check`.
    Incoming(Family, fn(&StartCase<'_>) -> Vec<Evidence>),
    /// Of a node that runs, by what both sides of its sockets have in common.
    Sides(fn(&Case<'_>, &Endpoints) -> Vec<Evidence>),
    /// Of a socket of the switch, its VM running or off, and of a port that no VM has. The first that says something is
    /// the cause.
    Socket(fn(&Meeting<'_>) -> Option<Evidence>),
    /// Of two nodes.
    Peer(fn(&Nodes<'_>, &Compared) -> Vec<Evidence>),
}

impl Rule {
    fn finding(&self, evidence: Evidence) -> Finding {
        let Evidence { subject, seen, fix, restart, passing, sure, foreign } = evidence;
        let (id, level, cause) = (self.id, self.level, self.cause);
        Finding { id, level, subject, seen, cause, fix, restart, family: None, passing, sure, foreign }
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

impl<'a> Case<'a> {
    /// What the accord wants and is not there.
    fn missing(&self) -> impl Iterator<Item = &'a Change> + use<'a> {
        self.observed.iter().filter(|change| !change.holds())
    }

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
    /// It may pass by itself while the dataplane comes up.
    pub passing: bool,
    /// Nothing that could not be read may make it otherwise. What is not sure is never refused.
    pub sure: bool,
    /// It is about a socket of another back end than the switch, which may be just starting, whatever the switch does.
    pub foreign: bool,
}

impl Evidence {
    /// Something that this command fixes.
    pub fn fixed_by(subject: impl Into<String>, seen: impl Into<String>, fix: impl Into<String>) -> Evidence {
        let (subject, seen, fix) = (subject.into(), seen.into(), fix.into());
        Evidence { subject, seen, fix, restart: None, passing: false, sure: true, foreign: false }
    }

    /// Something that `apply` fixes.
    fn applies(subject: impl Into<String>, seen: impl Into<String>) -> Evidence {
        Evidence::fixed_by(subject, seen, fixes::APPLY)
    }

    /// Something that a restart of `unit` fixes.
    fn waits(subject: impl Into<String>, seen: impl Into<String>, unit: &str) -> Evidence {
        let fix = format!("systemctl restart {}", shell::quote(unit));
        Evidence { restart: Some(unit.to_string()), ..Evidence::fixed_by(subject, seen, fix) }
    }

    /// About a path, such as a socket's.
    fn at(path: impl AsRef<Path>, seen: impl Into<String>, fix: impl Into<String>) -> Evidence {
        Evidence::fixed_by(path.as_ref().display().to_string(), seen, fix)
    }

    fn passing(self) -> Evidence {
        Evidence { passing: true, ..self }
    }

    fn sure_if(self, sure: bool) -> Evidence {
        Evidence { sure: self.sure && sure, ..self }
    }

    fn foreign_if(self, foreign: bool) -> Evidence {
        Evidence { foreign, ..self }
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
    /// The hook's family, of what was found before a start.
    #[serde(skip)]
    pub family: Option<Family>,
    /// It may be gone when the dataplane has come up.
    #[serde(skip)]
    pub passing: bool,
    /// As [`Evidence::sure`].
    #[serde(skip)]
    pub sure: bool,
    /// As [`Evidence::foreign`].
    #[serde(skip)]
    pub foreign: bool,
}

impl Finding {
    /// In one line: id, what, cause, command.
    pub fn text(&self) -> String {
        let Finding { id, subject, seen, cause, fix, .. } = self;
        // The kernel's reason names the path once more where it is the subject itself.
        let seen = seen.replace(&format!(": {subject} is "), ": it is ");
        format!("{id}: {subject}: {seen}; {cause}; fix: {fix}")
    }
}

/// The families, each a file here with its `RULES`.
macro_rules! families {
    ($($name:literal: $vis:vis $module:ident $(+ $more:path)?,)+) => {
        $($vis mod $module;)+

        /// Every family with its rules, the first cause of a VM's trouble first.
        pub const FAMILIES: &[(&str, &[Rule])] = &[$(($name, $module::RULES), $(($name, $more),)?)+];
    };
}

// A new rule is an entry in its family's file; a new family a file and a line here. `make fmt` formats these files, too.
families! {
    "presence": presence,
    "accounts": accounts,
    "paths": paths,
    "owners": owners,
    "units": units,
    "qemu-conf": qemu_conf,
    "processes": processes,
    "ports": ports,
    "sockets": sockets,
    "memory": memory,
    "endpoints": pub endpoints + endpoints::running::RULES,
    "reach": reach,
    "sections": sections,
    "hook": hook,
    "watch": watch,
    "switch": switch,
    "hugepages": hugepages,
    "limits": limits,
    "security": security,
    "peer": pub peer,
    "obstacles": obstacles,
}

/// Every rule there is.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    FAMILIES.iter().flat_map(|(_, rules)| *rules)
}

/// A finding of this rule by evidence that another judgement came upon.
pub fn finding(id: &str, evidence: Evidence) -> Option<Finding> {
    all().find(|rule| rule.id == id).map(|rule| rule.finding(evidence))
}

/// What every rule finds that `of` has a way to ask.
fn ask(of: impl Fn(&'static Ask) -> Vec<Evidence>) -> Vec<Finding> {
    let of = &of;
    let evidence = |rule: &'static Rule| rule.asks.iter().flat_map(of).map(|evidence| rule.finding(evidence));
    all().flat_map(evidence).collect()
}

/// What is found of a node.
pub fn run(case: &Case<'_>) -> Vec<Finding> {
    ask(|ask| match ask {
        Ask::Node(check) => check(case),
        Ask::Once(check) => check(case).into_iter().collect(),
        Ask::Change(check) => case.missing().filter_map(|change| check(case, change)).collect(),
        _ => Vec::new(),
    })
}
