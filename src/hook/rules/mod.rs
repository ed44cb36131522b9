// SPDX-License-Identifier: Apache-2.0
//! What keeps a VM from working, rule by rule: pure functions of what was found, one stable id each. Ids that
//! `vhost-accord check` has too mean the same there.

mod memory;
mod others;
mod paths;
mod ports;
mod sockets;
#[cfg(test)]
mod tests;

use super::subject::Subject;
use crate::access::{Node, Verdict, Wish, may};
use crate::config::Family;
use crate::facts::Known;
use crate::facts::paths::PathFact;
use crate::node::endpoints::start::{Facts, Socket};

pub use ports::meets_switch;
pub use sockets::port_at;

/// All that a rule looks at.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What the start is about.
    pub subject: &'a Subject,
    /// What was found.
    pub facts: &'a Facts,
}

/// One rule.
pub struct Rule {
    /// Its stable id.
    pub id: &'static str,
    /// What it is about.
    pub family: Family,
    /// Why it matters, in a line.
    pub cause: &'static str,
    /// Finds what breaks it.
    check: fn(&Case<'_>) -> Vec<Evidence>,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rule").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What was seen, and what fixes it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Evidence {
    subject: String,
    seen: String,
    fix: String,
    passing: bool,
    sure: bool,
    foreign: bool,
}

impl Evidence {
    fn new(subject: impl Into<String>, seen: impl Into<String>, fix: impl Into<String>) -> Evidence {
        Evidence {
            subject: subject.into(),
            seen: seen.into(),
            fix: fix.into(),
            passing: false,
            sure: true,
            foreign: false,
        }
    }

    fn of(socket: &Socket, seen: impl Into<String>, fix: impl Into<String>) -> Evidence {
        Evidence::new(socket.path.display().to_string(), seen, fix)
    }

    /// It may be gone when the dataplane has come up.
    fn passing(self) -> Evidence {
        Evidence { passing: true, ..self }
    }

    fn sure_if(self, sure: bool) -> Evidence {
        Evidence { sure: self.sure && sure, ..self }
    }

    /// It is about a socket of another back end, which may be just starting, whatever the switch does.
    fn foreign_if(self, foreign: bool) -> Evidence {
        Evidence { foreign, ..self }
    }
}

/// A rule that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The rule.
    pub id: &'static str,
    /// What it is about.
    pub family: Family,
    /// The socket, directory or daemon.
    pub subject: String,
    /// What was seen.
    pub seen: String,
    /// Why it matters.
    pub cause: &'static str,
    /// The command that fixes it.
    pub fix: String,
    /// It may pass by itself while the dataplane comes up.
    pub passing: bool,
    /// Nothing that could not be read may make it otherwise. What is not sure is never refused.
    pub sure: bool,
    /// It is about a socket that is not the switch's.
    pub foreign: bool,
}

impl Problem {
    /// In one line: id, what, cause, command.
    pub fn text(&self) -> String {
        // The kernel's reason names the path once more where it is the subject itself.
        let seen = self.seen.replace(&format!(": {} is ", self.subject), ": it is ");
        format!("{}: {}: {seen}; {}; fix: {}", self.id, self.subject, self.cause, self.fix)
    }
}

/// Every rule there is, the first cause first.
pub const RULES: [&[Rule]; 4] = [paths::RULES, ports::RULES, sockets::RULES, memory::RULES];

/// Why what this rule of the hook finds matters. For `check`'s rule of the same id: without one it does not compile.
pub const fn cause(id: &str) -> &'static str {
    let mut family = 0;
    while family < RULES.len() {
        let mut rule = 0;
        while rule < RULES[family].len() {
            if same(RULES[family][rule].id, id) {
                return RULES[family][rule].cause;
            }
            rule += 1;
        }
        family += 1;
    }
    panic!("the hook has no rule of this id")
}

/// `==` of strings is not for constants yet.
const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// Runs them all.
pub fn run(case: &Case<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for rule in RULES.into_iter().flatten() {
        problems.extend((rule.check)(case).into_iter().map(|evidence| Problem {
            id: rule.id,
            family: rule.family,
            subject: evidence.subject,
            seen: evidence.seen,
            cause: rule.cause,
            fix: evidence.fix,
            passing: evidence.passing,
            sure: evidence.sure,
            foreign: evidence.foreign,
        }));
    }
    problems
}

impl Case<'_> {
    /// The directory of a socket with everything above it; `None` where it is missing or could not be read.
    fn directory(&self, socket: &Socket) -> Option<&[Node]> {
        match &self.facts.directories.get(socket.directory)?.fact {
            Known::Known(PathFact::Present { chain, .. }) => Some(chain),
            Known::Known(PathFact::Missing { .. }) | Known::Unknown(_) => None,
        }
    }

    /// May QEMU connect to a socket that is there? `None` before `start`, and where it cannot be known.
    fn qemu_connects(&self, socket: &Socket) -> Option<Verdict> {
        let chain = [self.directory(socket)?, std::slice::from_ref(socket.node.as_ref()?)].concat();
        Some(may(self.subject.qemu.as_ref()?, &chain, Wish::Connect))
    }

    /// The command that makes the accord hold, as far as it is ours.
    fn apply(&self) -> &'static str {
        "vhost-accord apply"
    }
}
