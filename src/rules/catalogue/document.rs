// SPDX-License-Identifier: Apache-2.0
//! docs/findings.md.

use std::fmt::Write as _;

use super::{Entry, entries};

const HEAD: &str = "\
# Findings

`vhost-accord explain ID` prints one page of this file, `explain --list` lists all ids. The file is generated from the code:
`UPDATE_DOCS=1 cargo test --test plain_docs`.

A finding has an id that never changes, a subject, what was seen, the cause, and the command that fixes it. With
`check --json`, these are `id`, `level`, `subject`, `seen`, `cause` and `fix`.

- **advice**: VMs work. Something could be better, or a restart is pending.
- **broken**: a VM does not start, hangs or has no network, or QEMU can reach what it must not.

The column *Checked* says when a finding is looked for:

- *check*: by `vhost-accord check`.
- *at a VM's start*: by the hook. It refuses a VM that is sure to fail; other findings go to the journal. The key `on-problem`
  can be set for each family of the hook.
- *check --against*: on the target of a migration, with the `check --json` of the source
  ([check.md](check.md#before-a-migration)). A finding of the hook is always broken there.

Words: the *dataplane* is the switch, `ovs-vswitchd` and `ovsdb-server`. The *shared group* is the group that the dataplane and
QEMU have in common (the key `group`, `hugetlbfs` by default). *The contract* is its number, 42477: containers know the group
by that number.

| Finding | Level | Checked | Cause |
|---|---|---|---|
";

const OBSTACLES: &str = "
## What stops `plan` and `apply`

Some findings stop `plan` and `apply`, because a change could break the node. They change nothing, print one line with the
obstacle and the fix, and exit with 1. These are the findings of the family *obstacles*, `qemu-conf-invalid`, and
`group-sources-disagree` if the number of the shared group depends on it. `check` reports an obstacle as its only finding, with
exit code 2. Fix it, then run `check` again.

`apply` also stops before its first change if a filesystem is read-only or full, or if another `vhost-accord` is running.
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
        Some(hook) if hook != entry.family => format!("{} (hook: {hook})", entry.family),
        _ => entry.family.to_string(),
    };
    let (level, looked_at) = (entry.level.name(), entry.looked_at());
    let _ = writeln!(text, "\n### {}\n\n{level}; {looked_at}; family {family}\n", entry.id);
    for (name, line) in lines(entry) {
        let _ = writeln!(text, "- **{name}**: {line}");
    }
}

/// What a page says, in the order in which an operator asks.
fn lines(entry: &Entry) -> [(&'static str, &'static str); 5] {
    let page = &entry.page;
    [
        ("you see", page.effect),
        ("why", entry.cause),
        ("confirm", page.see),
        ("fix", page.fix),
        ("source", page.source),
    ]
}

/// One page for a terminal.
impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}: {}; {}; family {}", self.id, self.level.name(), self.looked_at(), self.family)?;
        lines(self).into_iter().try_for_each(|(name, line)| writeln!(f, "  {name:<9}{line}"))
    }
}
