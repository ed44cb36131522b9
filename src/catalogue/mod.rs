// SPDX-License-Identifier: Apache-2.0
//! Every finding there is, `check`'s and the hook's, with its page: what `explain ID` prints and docs/findings.md is made
//! of. The rules say what is wrong and why it matters; a page says the rest.

mod document;
mod endpoints;
mod node;
mod obstacles;
mod peer;
mod sockets;
mod workarounds;

use serde::Serialize;

use crate::hook;
use crate::rules::{self, Level};

pub use document::document;

/// What a rule does not say of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Page {
    /// The finding.
    #[serde(skip)]
    pub id: &'static str,
    /// What happens to the VM, or to the node.
    pub effect: &'static str,
    /// A command that shows it by hand.
    pub see: &'static str,
    /// What fixes it, in general: the finding itself has the exact command.
    pub fix: &'static str,
    /// Where the fact is from: program, version, file.
    pub source: &'static str,
}

const fn page(
    id: &'static str,
    effect: &'static str,
    see: &'static str,
    fix: &'static str,
    source: &'static str,
) -> Page {
    Page { id, effect, see, fix, source }
}

const PAGES: [&[Page]; 6] =
    [node::PAGES, sockets::PAGES, endpoints::PAGES, workarounds::PAGES, obstacles::PAGES, peer::PAGES];

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its id.
    pub id: &'static str,
    /// How much it matters.
    pub level: Level,
    /// The family of rules it belongs to.
    pub family: &'static str,
    /// By `check` (and `apply`, once it is done).
    pub checked: bool,
    /// The hook's family (`on-problem` sets it apart), where it looks for it when a VM starts.
    pub hook: Option<&'static str>,
    /// Why it matters.
    pub cause: &'static str,
    /// The rest; none for a rule that nobody wrote a page for yet.
    #[serde(flatten)]
    pub page: Option<Page>,
}

impl Entry {
    /// When it is looked at.
    pub fn looked_at(&self) -> &'static str {
        match (self.checked, self.hook.is_some()) {
            _ if self.family == "peer" => "check --against",
            (true, true) => "check, and at a VM's start",
            (true, false) => "check",
            (false, _) => "at a VM's start",
        }
    }
}

/// All of them: `check`'s in the order of its families, then those that only the hook has.
pub fn entries() -> Vec<Entry> {
    let hooks: Vec<&hook::Rule> = hook::RULES.into_iter().flatten().collect();
    let mut entries: Vec<Entry> = Vec::new();
    for (family, rules) in rules::FAMILIES {
        for rule in rules {
            let hook = hooks.iter().find(|other| other.id == rule.id).map(|rule| rule.family.name());
            let (id, level, cause) = (rule.id, rule.level, rule.cause);
            entries.push(Entry { id, level, family, checked: true, hook, cause, page: find_page(id) });
        }
    }
    for (id, cause) in obstacles::CAUSES {
        let (level, family) = (Level::Broken, "obstacles");
        entries.push(Entry { id, level, family, checked: true, hook: None, cause, page: find_page(id) });
    }
    for rule in hooks {
        if entries.iter().all(|entry| entry.id != rule.id) {
            let (id, family, cause) = (rule.id, rule.family.name(), rule.cause);
            let (level, hook) = (Level::Broken, Some(family));
            entries.push(Entry { id, level, family, checked: false, hook, cause, page: find_page(id) });
        }
    }
    entries
}

/// The finding of this id.
pub fn find(id: &str) -> Option<Entry> {
    entries().into_iter().find(|entry| entry.id == id)
}

/// Every page there is.
pub fn pages() -> impl Iterator<Item = &'static Page> {
    PAGES.into_iter().flatten()
}

fn find_page(id: &str) -> Option<Page> {
    pages().find(|page| page.id == id).copied()
}

/// The id that was most likely meant.
pub fn nearest(word: &str) -> Option<&'static str> {
    let ids = entries().into_iter().map(|entry| entry.id);
    let close = |id: &'static str| (distance(word, id), id);
    let (far, id) = ids.map(close).min()?;
    let part = || entries().into_iter().map(|entry| entry.id).find(|id| id.contains(word) && word.len() > 3);
    if far <= 1 + id.len() / 3 { Some(id) } else { part() }
}

/// Letters to put in, take out or change (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, wanted) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *wanted);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}
