// SPDX-License-Identifier: Apache-2.0
//! Findings that begin and end, in the journal: one entry each, with fields for programs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::base::journald::{FINDING_BEGUN, FINDING_ENDED, Priority, log};
use crate::fixes;

/// How long advice must last before it is reported: a port that nova just added has no VM yet.
const PASSES: Duration = Duration::from_secs(30);

/// What is known by now, by id and subject.
#[derive(Debug, Default)]
pub struct Findings(BTreeMap<(String, String), Known>);

#[derive(Debug)]
struct Known {
    finding: Value,
    since: Instant,
    told: bool,
}

impl Findings {
    /// How many were reported and did not end.
    pub fn count(&self) -> usize {
        self.0.values().filter(|known| known.told).count()
    }

    /// Takes the findings of a look, and reports what differs from the one before. If an `apply` is expected, new findings that it
    /// would fix are not reported yet.
    pub fn told(&mut self, found: &Value, now: Instant, awaits_apply: bool) {
        let mut before = std::mem::take(&mut self.0);
        for finding in found["findings"].as_array().into_iter().flatten() {
            let key = (text(finding, "id").to_string(), text(finding, "subject").to_string());
            let known = before.remove(&key);
            let (since, told) = known.map_or((now, false), |known| (known.since, known.told));
            let passes = text(finding, "level") == "advice" && now < since + PASSES
                || awaits_apply && by_apply(finding);
            if !told && !passes {
                tell(finding, true);
            }
            self.0.insert(key, Known { finding: finding.clone(), since, told: told || !passes });
        }
        for known in before.values().filter(|known| known.told) {
            tell(&known.finding, false);
        }
    }
}

/// Does an apply, or the restart that goes with it, fix it?
fn by_apply(finding: &Value) -> bool {
    text(finding, "fix").starts_with(fixes::APPLY) || finding["restart"].is_string()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_may_end_by_itself_is_told_only_if_it_does_not() {
        let found = json!({"findings": [
            {"id": "one", "subject": "a", "level": "broken", "fix": fixes::APPLY},
            {"id": "two", "subject": "b", "level": "broken", "fix": "reboot"},
            {"id": "three", "subject": "c", "level": "advice", "fix": "reboot"},
            {"id": "four", "subject": "d", "level": "broken", "fix": "reboot", "restart": "ovs.service"},
        ]});
        let mut findings = Findings::default();
        let begun = Instant::now();
        let mut count = |seconds, awaits_apply| {
            findings.told(&found, begun + Duration::from_secs(seconds), awaits_apply);
            findings.count()
        };
        assert_eq!(count(0, true), 1, "what neither an apply nor its restart fixes is told at once");
        assert_eq!(count(1, false), 3);
        assert_eq!(count(2, true), 3, "what was told has not ended");
        assert_eq!(count(29, false), 3);
        assert_eq!(count(30, false), 4, "and so is advice");
        findings.told(&json!({"findings": []}), begun + Duration::from_secs(31), false);
        assert_eq!(findings.count(), 0);
    }
}
