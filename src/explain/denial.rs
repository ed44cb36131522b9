// SPDX-License-Identifier: Apache-2.0
//! A denial of a security module, as its tables know it: by who was denied what.

use anyhow::Result;
use serde::Deserialize;

use super::format::{Entry, once, word};
use super::{Class, Event, Signature};

/// Who was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Who {
    Qemu,
    Switch,
    SwitchTool,
    Libvirt,
    /// virt-aa-helper.
    Helper,
    BackEnd,
    Tpm,
    Container,
    Anyone,
}

/// An entry of a denials' table. Of words one has to fit; none: any does. A word that ends with `*` is the beginning of one.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub known: Signature,
    who: Who,
    types: Vec<&'static str>,
    classes: Vec<&'static str>,
    asked: Vec<&'static str>,
    /// A part of it.
    path: &'static str,
}

impl Entry for Rule {
    fn new(id: &'static str, class: Class) -> Rule {
        let (types, classes, asked) = (Vec::new(), Vec::new(), Vec::new());
        Rule { known: Signature::new(id, class), who: Who::Anyone, types, classes, asked, path: "" }
    }

    fn take(&mut self, key: &str, value: &'static str) -> Result<()> {
        match key {
            "who" => self.who = word(value)?,
            "type" => self.types = value.split(", ").collect(),
            "class" => self.classes = value.split(", ").collect(),
            "asked" => self.asked = value.split(", ").collect(),
            "path" => once(&mut self.path, value)?,
            _ => self.known.take(key, value)?,
        }
        Ok(())
    }
}

/// What was denied: type, class and path of the object, and the permissions asked for.
#[derive(Debug, Default)]
pub(super) struct Denied<'a> {
    pub kind: &'a str,
    pub class: &'a str,
    pub path: &'a str,
    pub asked: Vec<&'a str>,
}

fn any(words: &[&str], texts: &[&str]) -> bool {
    let fits = |word: &str, text: &str| match word.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => word == text,
    };
    words.is_empty() || words.iter().any(|word| texts.iter().any(|text| fits(word, text)))
}

impl Rule {
    pub(super) fn applies(&self, who: Who, denied: &Denied) -> bool {
        (self.who == who || self.who == Who::Anyone)
            && any(&self.types, &[denied.kind])
            && any(&self.classes, &[denied.class])
            && any(&self.asked, &denied.asked)
            && denied.path.contains(self.path)
    }

    /// What it means. Only logged, it stopped nothing.
    pub(super) fn event(&self, only_logged: bool) -> Event {
        let event = Event::of(&self.known, None);
        match event.class {
            Class::SecurityModule if only_logged => {
                Event { class: Class::Logged, ends_connection: false, ..event }
            }
            _ => event,
        }
    }
}
