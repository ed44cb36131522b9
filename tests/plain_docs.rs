// SPDX-License-Identifier: Apache-2.0
//! What the documents say of keys and rules is what the program has.

use vhost_accord::config::KEYS;
use vhost_accord::rules::{Level, catalogue};

const README: &str = include_str!("../README.md");
const FINDINGS: &str = include_str!("../docs/findings.md");

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
fn the_readme_has_every_key() {
    let row =
        |key: &vhost_accord::config::Key| format!("| `{}` | `{}` | {} |", key.name, key.default, key.meaning);
    expect(README, &KEYS.iter().map(row).collect::<Vec<_>>());
}

#[test]
fn the_findings_have_every_rule_of_the_hook() {
    let row = |rule: &vhost_accord::hook::Rule| {
        format!("| `{}` | {} | {} |", rule.id, rule.family.name(), rule.cause)
    };
    expect(FINDINGS, &vhost_accord::hook::RULES.into_iter().flatten().map(row).collect::<Vec<_>>());
}

#[test]
fn the_findings_have_every_rule() {
    let row = |rule: &vhost_accord::rules::Rule| {
        let level = match rule.level {
            Level::Advice => "advice",
            Level::Broken => "broken",
        };
        format!("| `{}` | {level} | {} |", rule.id, rule.cause)
    };
    expect(FINDINGS, &catalogue().map(row).collect::<Vec<_>>());
}
