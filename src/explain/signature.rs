// SPDX-License-Identifier: Apache-2.0
//! A failure known by its message: who says it, of what, and what that means.

use super::line::Program;
use super::object::Thing;
use super::{Class, pattern};
use crate::access::Wish;

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
    /// The message, in its wordings: `{}` stands for what it is about, `{*}` for anything.
    pub patterns: &'static [&'static str],
    /// Whose message it is; empty: of every program that has to do with a dataplane.
    by: &'static [Program],
    /// Of what; empty: of everything.
    of: &'static [Thing],
    /// The findings that say the same of the node, the closest first.
    pub findings: &'static [&'static str],
    /// What was refused, where it can be asked again.
    pub asks: Option<(Actor, Wish)>,
    /// Why it happened: one cause, or several in the order of likelihood.
    pub causes: &'static [&'static str],
    /// The command that decides between the causes, or shows the one.
    pub decide: &'static str,
    /// How to fix it: never with a name from a log.
    pub fix: &'static str,
    /// Where the message is from.
    pub source: &'static str,
    /// Only says that the other end closed the connection: why is in the other end's log.
    pub is_effect: bool,
    /// The back end ended, or closed the connection, because of this.
    pub ends_connection: bool,
}

pub(super) const fn known(
    id: &'static str,
    class: Class,
    patterns: &'static [&'static str],
    causes: &'static [&'static str],
) -> Signature {
    Signature {
        id,
        class,
        patterns,
        by: &[],
        of: &[],
        findings: &[],
        asks: None,
        causes,
        decide: "",
        fix: "",
        source: "",
        is_effect: false,
        ends_connection: false,
    }
}

/// A function for each field, which sets it.
macro_rules! setters {
    ($($field:ident: $kind:ty,)+) => {
        $(pub(super) const fn $field(self, $field: $kind) -> Signature {
            Signature { $field, ..self }
        })+
    };
}

impl Signature {
    setters! {
        by: &'static [Program],
        of: &'static [Thing],
        findings: &'static [&'static str],
        decide: &'static str,
        fix: &'static str,
        source: &'static str,
    }

    pub(super) const fn asks(self, actor: Actor, wish: Wish) -> Signature {
        Signature { asks: Some((actor, wish)), ..self }
    }

    pub(super) const fn effect(self) -> Signature {
        Signature { is_effect: true, ..self }
    }

    pub(super) const fn ends_connection(self) -> Signature {
        Signature { ends_connection: true, ..self }
    }

    /// `None`: another message, or another's. Else which wording it is, and what it is about, where it says so.
    pub fn find<'a>(
        &self,
        text: &'a str,
        program: Program,
        thing: Thing,
    ) -> Option<(usize, Option<&'a str>)> {
        let speaks = match self.by {
            [] => program != Program::Other,
            by => program == Program::Unknown || by.contains(&program),
        };
        if !speaks || !(self.of.is_empty() || self.of.contains(&thing)) {
            return None;
        }
        let found = |(number, wording): (usize, &&str)| Some((number, pattern::find(wording, text)?));
        self.patterns.iter().enumerate().find_map(found)
    }
}
