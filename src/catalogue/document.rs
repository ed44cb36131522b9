// SPDX-License-Identifier: Apache-2.0
//! docs/findings.md.

use std::fmt::Write as _;

use super::{Entry, entries};

const HEAD: &str = "\
# Findings

This file is made from the code: `UPDATE_DOCS=1 cargo test --test plain_docs`. `vhost-accord explain ID` prints one
page of it, `explain --list` all ids.

Each finding has an id that stays the same, what it is about, what was seen, why it matters, and a command that mends it.
With `check --json`, these are `id`, `level`, `subject`, `seen`, `cause` and `mend`.

- **advice**: it works. Something could be better, or waits for a restart.
- **broken**: a VM does not start, hangs or has no network, or QEMU reaches what it must not.

What is looked at *at a VM's start* is the hook's: what it finds sure to fail it refuses in one line; the rest goes to the
journal only. Its family is what `on-problem` can set apart.

*check --against* takes what `check --json` said on another node and tells which of the VMs there could not come here
([check.md](check.md#before-a-migration)). What the hook would find at their start is broken there, whatever its level.

Words: the *dataplane* is the switch, `ovs-vswitchd` and `ovsdb-server`. The *shared group* is the one of the key `group`,
`hugetlbfs` by default. *The contract* is its number, by which containers know it.

| Finding | Level | Looked at | Why it matters |
|---|---|---|---|
";

const OBSTACLES: &str = "
## What stops `plan` and `apply`

Where going on would break the node, or cannot come out right, nothing is changed; one line says what is in the way and
what to do, and the exit code is 1. Those are the findings of the family *obstacles*, `group-sources-disagree` where the
number of the shared group depends on it, and `qemu-conf-invalid`. `check` reports an obstacle as its only finding, with
exit code 2: what else does not agree is found once it is out of the way.

`apply` also stops before its first change where a filesystem is read-only or full, and where another `vhost-accord` is
changing the node.
";

/// The whole document.
pub fn document() -> String {
    let entries = entries();
    let mut text = HEAD.to_string();
    for entry in &entries {
        let (id, level, looked_at) = (entry.id, entry.level.name(), entry.looked_at());
        let _ = writeln!(text, "| [`{id}`](#{id}) | {level} | {looked_at} | {} |", entry.cause);
    }
    text.push_str(OBSTACLES);
    text.push_str("\n## The findings, one by one\n");
    for entry in &entries {
        section(&mut text, entry);
    }
    text
}

fn section(text: &mut String, entry: &Entry) {
    let family = match entry.hook {
        Some(hook) if hook != entry.family => format!("{}, of the hook {hook}", entry.family),
        _ => entry.family.to_string(),
    };
    let (level, looked_at) = (entry.level.name(), entry.looked_at());
    let _ = writeln!(text, "\n### {}\n\n{level}; {looked_at}; family {family}\n", entry.id);
    let _ = writeln!(text, "- **why**: {}", entry.cause);
    let Some(page) = &entry.page else { return };
    let lines =
        [("what happens", page.effect), ("see it", page.see), ("mend", page.mend), ("source", page.source)];
    for (name, line) in lines {
        let _ = writeln!(text, "- **{name}**: {line}");
    }
}

/// One page for a terminal.
impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}: {}; {}; family {}", self.id, self.level.name(), self.looked_at(), self.family)?;
        writeln!(f, "  why      {}", self.cause)?;
        let Some(page) = &self.page else { return Ok(()) };
        writeln!(f, "  happens  {}", page.effect)?;
        writeln!(f, "  see it   {}", page.see)?;
        writeln!(f, "  mend     {}", page.mend)?;
        writeln!(f, "  source   {}", page.source)
    }
}
