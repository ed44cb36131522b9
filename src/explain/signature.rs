// SPDX-License-Identifier: Apache-2.0
//! A failure known by its message: who says it, of what, and what that means.

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::format::{Entry, once, word, words};
use super::line::Program;
use super::object::Thing;
use super::{Class, pattern};
use crate::access::Wish;

/// Who was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Actor {
    /// QEMU by the accord.
    Qemu,
    /// ovs-vswitchd as it runs.
    Dataplane,
}

/// A failure known by its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Its stable id.
    pub id: &'static str,
    /// What kind it is.
    pub class: Class,
    /// The message, in its wordings: `{}` stands for what it is about, `{*}` for anything.
    pub patterns: Vec<&'static str>,
    /// Whose message it is; empty: of every program that has to do with a dataplane.
    by: Vec<Program>,
    /// Of what; empty: of everything.
    of: Vec<Thing>,
    /// The findings that say the same of the node, the closest first.
    pub findings: Vec<&'static str>,
    /// What was refused, where it can be asked again.
    pub asks: Option<(Actor, Wish)>,
    /// Why it happened: one cause, or several in the order of likelihood.
    pub causes: Vec<&'static str>,
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

impl Entry for Signature {
    fn new(id: &'static str, class: Class) -> Signature {
        Signature {
            id,
            class,
            patterns: Vec::new(),
            by: Vec::new(),
            of: Vec::new(),
            findings: Vec::new(),
            asks: None,
            causes: Vec::new(),
            decide: "",
            fix: "",
            source: "",
            is_effect: false,
            ends_connection: false,
        }
    }

    fn take(&mut self, key: &str, value: &'static str) -> Result<()> {
        match key {
            "says" => self.patterns.push(value),
            "by" => self.by = words(value)?,
            "of" => self.of = words(value)?,
            "cause" => self.causes.push(value),
            "asks" => {
                let (actor, wish) = value.split_once(' ').context("not 'WHO WHAT'")?;
                self.asks = Some((word(actor)?, word(wish)?));
            }
            "findings" => self.findings = value.split(", ").collect(),
            "decide" => once(&mut self.decide, value)?,
            "fix" => once(&mut self.fix, value)?,
            "source" => once(&mut self.source, value)?,
            "effect" => self.is_effect = value.parse()?,
            "ends-connection" => self.ends_connection = value.parse()?,
            _ => bail!("no such key"),
        }
        Ok(())
    }
}

impl Signature {
    /// `None`: another message, or another's. Else which wording it is, and what it is about, where it says so.
    pub fn find<'a>(
        &self,
        text: &'a str,
        program: Program,
        thing: Thing,
    ) -> Option<(usize, Option<&'a str>)> {
        let speaks = match self.by.as_slice() {
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
