// SPDX-License-Identifier: Apache-2.0
//! Findings that appear and go, in the journal: one entry each, with fields that programs may go by.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::base::journald::{FINDING_BEGUN, FINDING_ENDED, Priority, log};

/// What is known by now, by id and subject.
#[derive(Debug, Default)]
pub struct Findings(BTreeMap<(String, String), Value>);

impl Findings {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Takes what a look found, and tells what differs from the one before.
    pub fn told(&mut self, found: &Value) {
        let key = |finding: &Value| (text(finding, "id").to_string(), text(finding, "subject").to_string());
        let findings = found["findings"].as_array().into_iter().flatten();
        let now: BTreeMap<_, _> = findings.map(|finding| (key(finding), finding.clone())).collect();
        let before = std::mem::replace(&mut self.0, now);
        for (key, finding) in &self.0 {
            if !before.contains_key(key) {
                tell(finding, true);
            }
        }
        for (key, finding) in &before {
            if !self.0.contains_key(key) {
                tell(finding, false);
            }
        }
    }
}

fn text<'a>(finding: &'a Value, key: &str) -> &'a str {
    finding[key].as_str().unwrap_or_default()
}

fn tell(finding: &Value, begun: bool) {
    let part = |key| text(finding, key);
    let (id, subject) = (part("id"), part("subject"));
    let (priority, message_id, state) = match begun {
        true if part("level") == "broken" => (Priority::Error, FINDING_BEGUN, "begun"),
        true => (Priority::Warning, FINDING_BEGUN, "begun"),
        false => (Priority::Notice, FINDING_ENDED, "ended"),
    };
    let line = match begun {
        true => format!("{id}: {subject}: {}; fix: {}", part("seen"), part("fix")),
        false => format!("{id}: {subject}: has ended"),
    };
    let fields = [
        ("VA_FINDING", id),
        ("VA_STATE", state),
        ("VA_LEVEL", part("level")),
        ("VA_SUBJECT", subject),
        ("VA_SEEN", part("seen")),
        ("VA_FIX", part("fix")),
        ("MESSAGE_ID", message_id),
    ];
    log(priority, &line, &fields);
}
