// SPDX-License-Identifier: Apache-2.0
//! Every finding there is, with its page: what `explain ID` prints and docs/findings.md is made of.

use serde::Serialize;

use super::{Ask, FAMILIES, Level, Rule};

/// What a rule does not say of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Page {
    /// What happens to the VM, or to the node.
    pub effect: &'static str,
    /// A command that shows it by hand.
    pub see: &'static str,
    /// What fixes it, in general: the finding itself has the exact command.
    pub fix: &'static str,
    /// Where the fact is from: program, version, file.
    pub source: &'static str,
}

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
    /// The rest.
    #[serde(flatten)]
    pub page: Page,
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

    /// What a page says, in the order in which an operator asks.
    pub fn lines(&self) -> [(&'static str, &'static str); 5] {
        let page = &self.page;
        [
            ("you see", page.effect),
            ("why", self.cause),
            ("confirm", page.see),
            ("fix", page.fix),
            ("source", page.source),
        ]
    }
}

/// One page for a terminal.
impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}: {}; {}; family {}", self.id, self.level.name(), self.looked_at(), self.family)?;
        self.lines().into_iter().try_for_each(|(name, line)| writeln!(f, "  {name:<9}{line}"))
    }
}

fn entry(family: &'static str, rule: &Rule) -> Entry {
    let Rule { id, level, cause, page, .. } = *rule;
    let hook = rule.asks.iter().find_map(|ask| match ask {
        Ask::Start(family, ..) | Ask::Incoming(family, ..) => Some(family.name()),
        _ => None,
    });
    let checked = rule.asks.iter().all(|ask| !matches!(ask, Ask::Incoming(..)));
    Entry { id, level, family, checked, hook, cause, page }
}

/// All of them, in the order of the families.
pub fn entries() -> Vec<Entry> {
    let of_family = |&(family, rules): &(&'static str, &'static [Rule])| {
        rules.iter().map(move |rule| entry(family, rule))
    };
    FAMILIES.iter().flat_map(of_family).collect()
}

/// The finding of this id.
pub fn find(id: &str) -> Option<Entry> {
    entries().into_iter().find(|entry| entry.id == id)
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
