// SPDX-License-Identifier: Apache-2.0
//! What logs say. Each line is first given its speaker (`line`) and what it is about (`object`); only then it is compared
//! with the messages that are known. Failures are told apart by what they are (permission, security module, missing
//! object...), each once. Where a message has several causes all are told, with the command that decides. Nothing in a log
//! is trusted: names from it go nowhere but onto the screen, escaped.

mod apparmor;
mod audit;
mod denial;
mod document;
mod format;
mod join;
mod line;
mod listing;
mod object;
mod pattern;
pub mod read;
mod reading;
mod selinux;
mod signature;
mod tables;
mod time;

use serde::{Deserialize, Serialize};

use crate::access::Wish;
use crate::base::named::named;
use format::Entry as _;

pub(crate) use join::{Now, now};
pub use line::{Line, Program};
pub use object::Thing;
pub use reading::Reading;
pub use signature::{Actor, Signature};
pub use tables::{SIGNATURES, denial_ids};

named! {
    /// What kind of failure it is: what helps against one does nothing against another.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Class {
        /// Owner, group, mode or ACL.
        Permission = "permission",
        /// SELinux or AppArmor: owner and mode may be as they should.
        SecurityModule = "security module",
        /// SELinux or AppArmor would deny it, and only logs: nothing was blocked.
        Logged = "security module, only logged: nothing was blocked",
        /// A permission or a security module: the line cannot tell.
        Access = "permission or security module",
        Missing = "missing",
        /// What was there is of no use any more: stale, disconnected, taken.
        Stale = "stale",
        /// The back end closed the connection, crashed or was restarted.
        BackEnd = "back end",
        /// Guest memory and huge pages.
        Memory = "memory",
        /// A setting that cannot work.
        Setting = "setting",
        /// This version, build or machine cannot do it.
        Unsupported = "unsupported",
        /// It passes by itself, or with a second try.
        Transient = "transient",
        /// Looks bad and is not.
        Harmless = "harmless",
        Unrelated = "not a vhost-user port",
    }
}

/// What was found of one failure of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The signature.
    pub id: &'static str,
    /// What kind it is.
    pub class: Class,
    /// Who says it.
    pub program: Program,
    /// What kind of thing it is about.
    pub thing: Thing,
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
    /// Why it happened: one cause, or several in the order of likelihood.
    pub causes: Vec<String>,
    /// The command that decides between the causes, or shows the one.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub decide: &'static str,
    /// How to fix it.
    pub fix: &'static str,
    /// Where the message is from.
    pub source: &'static str,
    /// Facts from other lines that bear on it.
    pub notes: Vec<String>,
    /// The findings that say the same of the node.
    #[serde(skip)]
    pub findings: Vec<&'static str>,
    /// What was refused.
    #[serde(skip)]
    pub asks: Option<(Actor, Wish)>,
    /// A security module refused the same thing, by another line.
    pub also_security_module: bool,
    /// What, with the id, tells this failure from others.
    #[serde(skip)]
    key: String,
    #[serde(skip)]
    is_effect: bool,
    #[serde(skip)]
    ends_connection: bool,
}

impl Event {
    /// What no signature knows.
    fn new(id: &'static str, class: Class) -> Event {
        Event::of(&Signature::new(id, class), None)
    }

    /// By itself, of no line yet.
    fn of(signature: &Signature, subject: Option<&str>) -> Event {
        // A message that begins with a name has its program's before it.
        let name =
            |text: &str| text.rsplit_once(": /").map_or(text.to_string(), |(_, path)| format!("/{path}"));
        let subject = subject.map(name);
        Event {
            id: signature.id,
            class: signature.class,
            program: Program::Unknown,
            thing: Thing::Unknown,
            key: subject.clone().unwrap_or_default(),
            subject,
            count: 1,
            first: None,
            last: None,
            logs: Vec::new(),
            line: String::new(),
            causes: signature.causes.iter().map(|cause| cause.to_string()).collect(),
            decide: signature.decide,
            fix: signature.fix,
            source: signature.source,
            notes: Vec::new(),
            findings: signature.findings.clone(),
            asks: signature.asks,
            also_security_module: false,
            is_effect: signature.is_effect,
            ends_connection: signature.ends_connection,
        }
    }
}

/// The first signature that knows the line, and by which of its wordings. Audit records are read apart.
pub fn known_by(line: &str) -> Option<(&'static Signature, usize)> {
    let line = Line::read(line);
    find(&line, object::of_line(&line.text)).map(|(known, wording, _)| (known, wording))
}

fn find(line: &Line, thing: Thing) -> Option<(&'static Signature, usize, Option<&str>)> {
    SIGNATURES.iter().find_map(|known| {
        let (wording, subject) = known.find(&line.text, line.program, thing)?;
        Some((known, wording, subject))
    })
}

fn recognise(line: &Line, thing: Thing) -> Option<Event> {
    let known = || find(line, thing).map(|(known, _, subject)| Event::of(known, subject));
    selinux::recognise(&line.text).or_else(|| apparmor::recognise(&line.text)).or_else(known)
}
