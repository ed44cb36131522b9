// SPDX-License-Identifier: Apache-2.0
//! Metrics in Prometheus' text format (exposition formats, version 0.0.4), for node_exporter's textfile collector.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use super::counters;
use crate::rules::Level;
use crate::rules::catalogue::{self, Entry};
use crate::rules::endpoints::{Judged, Row};

/// Words for endpoints that nothing is wrong with: always there, so that no series comes and goes.
const WORDS: [&str; 4] = ["ok", "ready", "starting", "unknown"];

/// The dataplane of an endpoint at which nobody is known to be.
const NOBODY: &str = "none";

/// What a look at the node found.
#[derive(Debug, Default)]
pub struct Measured {
    /// The verdict.
    pub judged: Judged,
    /// The hash of the accord, where all of it is known.
    pub accord: Option<String>,
}

/// The metrics; without a verdict only that there is none. `counted` are the lines of the file of counters.
pub fn text(found: Option<&Measured>, counted: &str) -> String {
    let mut text = String::new();
    if let Some(Measured { judged, accord }) = found {
        findings(&mut text, judged);
        restarts(&mut text, judged);
        endpoints(&mut text, judged);
        fingerprint(&mut text, accord.as_deref());
    }
    counters::text(&mut text, counted);
    let version = format!("{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map(|now| now.as_secs()).unwrap_or_default();
    let success = u8::from(found.is_some());
    for (name, help, value) in [
        ("vhost_accord_build_info", "Always 1; the program's version.", version),
        ("vhost_accord_check_timestamp_seconds", "Time of the last check.", format!(" {now}")),
        ("vhost_accord_check_success", "1 if the check itself worked, else 0.", format!(" {success}")),
    ] {
        head(&mut text, name, help);
        let _ = writeln!(text, "{name}{value}");
    }
    text
}

/// What needs another node to compare with, or is in the way of any accord, is never found here.
fn of_one_node() -> impl Iterator<Item = Entry> {
    let elsewhere = ["peer", "obstacles"];
    let here = move |entry: &Entry| entry.checked && !elsewhere.contains(&entry.family);
    catalogue::entries().into_iter().filter(here)
}

fn head(text: &mut String, name: &str, help: &str) {
    counters::head(text, name, "gauge", help);
}

/// Every rule has its series, most of them 0.
fn findings(text: &mut String, judged: &Judged) {
    let mut counts: BTreeMap<(&str, Level), usize> =
        of_one_node().map(|entry| ((entry.rule.id, entry.rule.level), 0)).collect();
    for finding in &judged.findings {
        *counts.entry((finding.id, finding.level)).or_default() += 1;
    }
    head(text, "vhost_accord_findings", "Number of findings, by rule.");
    for ((id, level), count) in counts {
        let id = escape(id);
        let _ = writeln!(text, "vhost_accord_findings{{id=\"{id}\",level=\"{}\"}} {count}", level.name());
    }
}

/// Units that still run as they were before a change; none, none.
fn restarts(text: &mut String, judged: &Judged) {
    let units: BTreeSet<&str> = judged.findings.iter().filter_map(|found| found.restart.as_deref()).collect();
    head(
        text,
        "vhost_accord_pending_restart",
        "1 for each unit that must be restarted for a change to count.",
    );
    for unit in units {
        let _ = writeln!(text, "vhost_accord_pending_restart{{unit=\"{}\"}} 1", escape(unit));
    }
}

/// Nodes that differ in their accord have other values; none while a part of it is not known.
fn fingerprint(text: &mut String, accord: Option<&str>) {
    let name = "vhost_accord_fingerprint_info";
    head(text, name, "Always 1; a hash of the accord.");
    if let Some(accord) = accord {
        let _ = writeln!(text, "{name}{{fingerprint=\"{}\"}} 1", escape(accord));
    }
}

fn endpoints(text: &mut String, judged: &Judged) {
    let name = |row: &'_ Row| row.dataplane_name().unwrap_or(NOBODY).to_string();
    let mut names: BTreeSet<String> = judged.rows.iter().map(name).collect();
    names.insert(NOBODY.to_string());
    let words = |name: String| WORDS.map(|word| ((name.clone(), word), 0));
    let mut counts: BTreeMap<(String, &str), usize> = names.into_iter().flat_map(words).collect();
    for row in &judged.rows {
        *counts.entry((name(row), &row.verdict)).or_default() += 1;
    }
    head(text, "vhost_accord_endpoints", "Number of vhost-user endpoints, by dataplane and verdict.");
    for ((name, verdict), count) in counts {
        let labels = format!("dataplane=\"{}\",verdict=\"{}\"", escape(&name), escape(verdict));
        let _ = writeln!(text, "vhost_accord_endpoints{{{labels}}} {count}");
    }
}

/// A label's value.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_series_and_no_verdict_is_said() {
        let text = super::text(Some(&Measured::default()), "");
        for Entry { rule, .. } in of_one_node() {
            assert!(text.contains(&format!("{{id=\"{}\",", rule.id)), "{}", rule.id);
        }
        assert!(text.contains("vhost_accord_endpoints{dataplane=\"none\",verdict=\"ok\"} 0\n"));
        assert!(text.ends_with("vhost_accord_check_success 1\n"));
        let none = super::text(None, "");
        assert!(none.ends_with("vhost_accord_check_success 0\n") && !none.contains("findings"));
        assert_eq!(escape("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
