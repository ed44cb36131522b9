// SPDX-License-Identifier: Apache-2.0
//! What logs say: known failures by their own words, told apart by what they are (permission, security module, missing
//! object...), each once. Nothing in a log is trusted: names from it go nowhere but onto the screen, escaped.

mod audit;
mod dpdk;
mod join;
mod libvirt;
mod ovs;
mod pattern;
mod qemu;
pub mod read;
mod time;

use serde::Serialize;

use crate::access::Wish;
use crate::base::text::cut;

pub use audit::audit_ids;
pub use join::{Now, now};

/// What kind of failure it is: what helps against one does nothing against another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Owner, group, mode or ACL.
    Permission,
    /// SELinux or AppArmor: owner and mode may be as they should.
    SecurityModule,
    /// Something that should be there is not.
    Missing,
    /// What was there is of no use any more: stale, disconnected, taken.
    Stale,
    /// Guest memory and huge pages.
    Memory,
    /// A setting that cannot work.
    Setting,
    /// Looks bad and is not.
    Harmless,
}

impl Class {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Class::Permission => "permission",
            Class::SecurityModule => "security module",
            Class::Missing => "missing",
            Class::Stale => "stale",
            Class::Memory => "memory",
            Class::Setting => "setting",
            Class::Harmless => "harmless",
        }
    }
}

/// Who was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// QEMU by the accord.
    Qemu,
    /// ovs-vswitchd as it runs.
    Dataplane,
}

/// A failure known by its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// Its stable id.
    pub id: &'static str,
    /// What kind it is.
    pub class: Class,
    /// The message: `{}` stands for what it is about, `{*}` for anything.
    pub pattern: &'static str,
    /// The findings that say the same of the node, the closest first.
    pub findings: &'static [&'static str],
    /// What was refused, where it can be asked again.
    pub asks: Option<(Actor, Wish)>,
    /// Why it happened.
    pub cause: &'static str,
    /// What mends it: never with a name from a log.
    pub mend: &'static str,
}

const fn known(
    id: &'static str,
    class: Class,
    pattern: &'static str,
    findings: &'static [&'static str],
    cause: &'static str,
    mend: &'static str,
) -> Signature {
    Signature { id, class, pattern, findings, asks: None, cause, mend }
}

impl Signature {
    /// `None`: another message. Else what it is about, where it says so.
    pub fn find<'a>(&self, line: &'a str) -> Option<Option<&'a str>> {
        pattern::find(self.pattern, line)
    }

    const fn asks(self, actor: Actor, wish: Wish) -> Signature {
        Signature { asks: Some((actor, wish)), ..self }
    }
}

/// Every message that is known, the more special before the more general. Audit records are read apart.
pub const SIGNATURES: [&[Signature]; 4] =
    [qemu::SIGNATURES, ovs::SIGNATURES, dpdk::SIGNATURES, libvirt::SIGNATURES];

/// What was found of one failure of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The signature.
    pub id: &'static str,
    /// What kind it is.
    pub class: Class,
    /// What it is about: a path, a port, a process; as the log spells it.
    pub subject: Option<String>,
    /// How often.
    pub count: u64,
    /// The time of the first line that has one, UTC as the logs have it.
    pub first: Option<String>,
    /// Of the last.
    pub last: Option<String>,
    /// The logs it is in.
    pub logs: Vec<String>,
    /// The first line, cut.
    pub line: String,
    /// Why it happened.
    pub cause: String,
    /// What mends it.
    pub mend: &'static str,
    /// The findings that say the same of the node.
    #[serde(skip)]
    pub findings: &'static [&'static str],
    /// What was refused.
    #[serde(skip)]
    pub asks: Option<(Actor, Wish)>,
    /// A security module refused the same thing, by another line.
    pub also_security_module: bool,
}

/// A line by one of the signatures.
struct Hit {
    id: &'static str,
    class: Class,
    subject: Option<String>,
    cause: String,
    mend: &'static str,
    findings: &'static [&'static str],
    asks: Option<(Actor, Wish)>,
}

/// Longer lines are shown cut.
const SHOWN: usize = 300;
/// Lines of unknown meaning that are shown.
const EXAMPLES: usize = 5;
/// Different failures that are kept: a log can be made to hold any number.
const MOST: usize = 500;

/// All that was read.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// The failures, in the order they were first seen.
    pub events: Vec<Event>,
    /// Lines that look like errors and match nothing.
    pub unknown: u64,
    /// The first of them.
    pub examples: Vec<String>,
    /// Different failures that were not kept, because there are too many.
    pub dropped: u64,
}

impl Reading {
    /// Takes one line of the log of this name.
    pub fn take(&mut self, log: &str, line: &str) {
        let entry = read::entry(line);
        let text = entry.text.trim_end();
        match recognise(text) {
            Some(hit) => self.add(log, text, entry.time, hit),
            None if looks_bad(text) => {
                self.unknown += 1;
                if self.examples.len() < EXAMPLES {
                    self.examples.push(cut(text, SHOWN));
                }
            }
            None => {}
        }
    }

    fn add(&mut self, log: &str, text: &str, time: Option<String>, hit: Hit) {
        let same = |event: &&mut Event| event.id == hit.id && event.subject == hit.subject;
        if let Some(event) = self.events.iter_mut().find(same) {
            event.count += 1;
            event.first = event.first.take().min_known(time.clone());
            event.last = event.last.take().max(time);
            if !event.logs.iter().any(|known| known == log) {
                event.logs.push(log.to_string());
            }
            return;
        }
        if self.events.len() == MOST {
            self.dropped += 1;
            return;
        }
        let Hit { id, class, subject, cause, mend, findings, asks } = hit;
        let (first, last, logs) = (time.clone(), time, vec![log.to_string()]);
        let (line, also_security_module) = (cut(text, SHOWN), false);
        self.events.push(Event {
            id,
            class,
            subject,
            count: 1,
            first,
            last,
            logs,
            line,
            cause,
            mend,
            findings,
            asks,
            also_security_module,
        });
    }

    /// Afterwards: says of what was refused to owner and mode that a security module refused the same.
    pub fn finish(&mut self) {
        let name = |subject: &Option<String>| {
            subject.as_deref().and_then(|path| path.rsplit('/').next()).map(str::to_string)
        };
        let denied: Vec<_> = self
            .events
            .iter()
            .filter(|event| event.class == Class::SecurityModule)
            .filter_map(|event| name(&event.subject))
            .collect();
        for event in self.events.iter_mut().filter(|event| event.class == Class::Permission) {
            event.also_security_module = name(&event.subject).is_some_and(|name| denied.contains(&name));
        }
    }
}

trait MinKnown {
    /// The smaller one; one that is there before one that is not.
    fn min_known(self, other: Self) -> Self;
}

impl MinKnown for Option<String> {
    fn min_known(self, other: Self) -> Self {
        match (self, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }
}

fn recognise(text: &str) -> Option<Hit> {
    if let Some(hit) = audit::recognise(text) {
        return Some(hit);
    }
    SIGNATURES.into_iter().flatten().find_map(|signature| {
        let subject = signature.find(text)?;
        let Signature { id, class, findings, asks, cause, mend, .. } = *signature;
        let (subject, cause) = (subject.map(str::to_string), cause.to_string());
        Some(Hit { id, class, subject, cause, mend, findings, asks })
    })
}

/// The words by which programs say that something went wrong.
const BAD: [&str; 9] = ["error", "fail", "denied", "cannot", "can't", "unable", "|err|", "|emer|", "refused"];

fn looks_bad(text: &str) -> bool {
    // QEMU's command line, as libvirt writes it into the VM's log.
    if text.starts_with('-') || text.contains("LC_ALL=C") {
        return false;
    }
    let lower = text.to_ascii_lowercase();
    BAD.iter().any(|word| lower.contains(word))
}
