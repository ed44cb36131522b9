// SPDX-License-Identifier: Apache-2.0
//! What the documents say of keys and rules is what the program has.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use vhost_accord::config::{DATAPLANE, SECTIONS};
use vhost_accord::report::prometheus::{self, Measured};
use vhost_accord::rules::catalogue::{Entry, entries, find, nearest};

const REFERENCE: &str = include_str!("../docs/reference.md");

/// The lines of a document's tables whose first cell is code.
fn rows(document: &str) -> Vec<&str> {
    document.lines().filter(|line| line.starts_with("| `")).collect()
}

/// Every row is to be there, in this order and with nothing between; the message is what to put there instead.
fn expect(document: &str, wanted: &[String]) {
    let found = rows(document);
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let there = found.windows(wanted.len()).any(|window| window == wanted);
    assert!(there, "the table is to be:\n{}", wanted.join("\n"));
}

#[test]
fn the_reference_has_every_key() {
    let row =
        |key: &vhost_accord::config::Key| format!("| `{}` | `{}` | {} |", key.name, key.default, key.meaning);
    for section in SECTIONS.iter().chain([&DATAPLANE]) {
        expect(REFERENCE, &section.keys.iter().map(row).collect::<Vec<_>>());
    }
}

/// What docs/findings.md says before the list.
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

/// What it says behind the list.
const OBSTACLES: &str = "
## What stops `plan` and `apply`

Some findings stop `plan` and `apply`, because a change could break the node. They change nothing, print one line with the
obstacle and the fix, and exit with 1. These are the findings of the family *obstacles*, `qemu-conf-invalid`, and
`group-sources-disagree` if the number of the shared group depends on it. `check` reports an obstacle as its only finding, with
exit code 2. Fix it, then run `check` again.

`apply` also stops before its first change if a filesystem is read-only or full, or if another `vhost-accord` is running.
";

/// The whole document.
fn document() -> String {
    let entries = entries();
    let mut text = HEAD.to_string();
    for entry in &entries {
        let (id, level, looked_at) = (entry.rule.id, entry.rule.level.name(), entry.looked_at());
        let _ = writeln!(text, "| [`{id}`](#{id}) | {level} | {looked_at} | {} |", entry.rule.cause);
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
    let (level, looked_at) = (entry.rule.level.name(), entry.looked_at());
    let _ = writeln!(text, "\n### {}\n\n{level}; {looked_at}; family {family}\n", entry.rule.id);
    for (name, line) in entry.lines() {
        let _ = writeln!(text, "- **{name}**: {line}");
    }
}

/// With `UPDATE_DOCS=1` the file is written instead.
#[test]
fn the_findings_are_the_catalogue() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/findings.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, document()).unwrap();
    }
    let there = std::fs::read_to_string(path).unwrap();
    let differs = there.lines().zip(document().lines().map(str::to_string).collect::<Vec<_>>());
    let first = differs.into_iter().find(|(old, new)| old != new);
    assert!(there == document(), "docs/findings.md is older than the code (UPDATE_DOCS=1): {first:?}");
}

/// Names of our metrics in a text.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let ours = words.filter(|word| word.starts_with("vhost_accord_") && !word.contains(':'));
    // Of a histogram its name is documented.
    let parts =
        |word| ["_bucket", "_count", "_sum"].iter().fold(word, |word: &str, end| word.trim_end_matches(end));
    ours.map(parts).collect()
}

#[test]
fn metrics_are_documented_and_alerts_are_about_those_that_exist() {
    let documented = metrics(include_str!("../docs/check.md"));
    let program = prometheus::text(Some(&Measured::default()), "");
    let undocumented: Vec<_> = metrics(&program).difference(&documented).copied().collect();
    assert!(undocumented.is_empty(), "docs/check.md lacks {undocumented:?}");
    let known = metrics(&program);
    for users in [
        include_str!("../packaging/monitoring/alerts.yml"),
        include_str!("../packaging/monitoring/dashboard.json"),
    ] {
        let used = metrics(users);
        assert!(used.len() > 4 && used.is_subset(&known), "{used:?}, known {known:?}");
    }
}

#[test]
fn every_finding_has_an_id_and_a_page() {
    let entries = entries();
    let ids: BTreeSet<&str> = entries.iter().map(|entry| entry.rule.id).collect();
    assert_eq!(ids.len(), entries.len(), "an id twice");
    assert!(ids.len() >= 45, "{} findings", ids.len());
    let kebab = |id: &&&str| id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    assert_eq!(ids.iter().filter(kebab).count(), ids.len());
    for entry in &entries {
        assert_eq!(entry.rule.page.lines().count(), 4, "{entry}");
        for (name, text) in entry.lines() {
            assert!(!text.is_empty() && !text.contains('\n') && (name == "confirm" || !text.contains('|')));
        }
    }
}

#[test]
fn a_typo_is_met_with_the_nearest_id() {
    assert_eq!(nearest("hook-mising"), Some("hook-missing"));
    assert_eq!(nearest("hugepages_owner"), Some("hugepages-owner"));
    assert_eq!(nearest("default-acl"), Some("socket-directory-default-acl"));
    assert_eq!(nearest("weather"), None);
    assert_eq!(find("hook-missing").unwrap().looked_at(), "check");
    assert_eq!(find("server-socket-stale").unwrap().looked_at(), "check, and at a VM's start");
    assert_eq!(find("peer-older").unwrap().looked_at(), "check --against");
    assert_eq!(find("memory-not-shared").unwrap().hook, Some("memory"));
    let page = find("qemu-runs-as-root").unwrap().to_string();
    assert!(page.starts_with("qemu-runs-as-root: advice; check; family security\n  you see  "), "{page}");
}
