// SPDX-License-Identifier: Apache-2.0
//! Every finding there is, with its page: what `explain ID` prints and docs/findings.md is made of.

use serde::Serialize;

use super::{Ask, FAMILIES, Rule, all};

/// One finding.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// What it says of itself.
    #[serde(flatten)]
    pub rule: &'static Rule,
    /// The family of rules it belongs to.
    pub family: &'static str,
    /// By `check` (and `apply`, once it is done).
    pub checked: bool,
    /// The hook's family (`on-problem` sets it apart), where it looks for it when a VM starts.
    pub hook: Option<&'static str>,
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
        let Rule { effect, cause, see, fix, source, .. } = self.rule;
        [("you see", effect), ("why", cause), ("confirm", see), ("fix", fix), ("source", source)]
    }
}

/// One page for a terminal.
impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Rule { id, level, .. } = self.rule;
        writeln!(f, "{id}: {}; {}; family {}", level.name(), self.looked_at(), self.family)?;
        self.lines().into_iter().try_for_each(|(name, line)| writeln!(f, "  {name:<9}{line}"))
    }
}

fn entry(family: &'static str, rule: &'static Rule) -> Entry {
    let hook = rule.asks.iter().find_map(|ask| match ask {
        Ask::Start(family, ..) | Ask::Incoming(family, ..) => Some(family.name()),
        _ => None,
    });
    let checked = rule.asks.iter().all(|ask| !matches!(ask, Ask::Incoming(..)));
    Entry { rule, family, checked, hook }
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
    entries().into_iter().find(|entry| entry.rule.id == id)
}

/// The id that was most likely meant.
pub fn nearest(word: &str) -> Option<&'static str> {
    let ids = || all().map(|rule| rule.id);
    let (far, id) = ids().map(|id| (distance(word, id), id)).min()?;
    let part = || ids().find(|id| id.contains(word) && word.len() > 3);
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
