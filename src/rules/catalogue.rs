// SPDX-License-Identifier: Apache-2.0
//! Every finding there is, with its page: what `explain ID` prints and docs/findings.md is made of.

use serde::Serialize;

use super::{Ask, FAMILIES, Rule, all};
use crate::base::text::distance;

/// What a rule says in general: its findings have the exact words.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Page {
    /// What happens to the VM, or to the node.
    pub effect: &'static str,
    /// A command that shows it by hand.
    pub see: &'static str,
    /// What fixes it.
    pub fix: &'static str,
    /// Where the fact is from.
    pub source: &'static str,
}

/// One finding.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// What it says of itself.
    #[serde(flatten)]
    pub rule: &'static Rule,
    /// Its page.
    #[serde(flatten)]
    pub page: Page,
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
        let Page { effect, see, fix, source } = self.page;
        [("you see", effect), ("why", self.rule.cause), ("confirm", see), ("fix", fix), ("source", source)]
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
        Ask::Start(family, _) | Ask::Each(family, _) | Ask::Incoming(family, _) => Some(family.name()),
        _ => None,
    });
    let checked = rule.asks.iter().all(|ask| !matches!(ask, Ask::Incoming(..)));
    let mut lines = rule.page.lines();
    let [effect, see, fix, source] = std::array::from_fn(|_| lines.next().unwrap_or_default());
    Entry { rule, page: Page { effect, see, fix, source }, family, checked, hook }
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
