// SPDX-License-Identifier: Apache-2.0
//! Failures as they are met in the field, each with what has to be said of it and what must not. `expect` has lines of
//! `verdict` (right, candidates or unknown), `id`, `class`, `says`, `never`, and `live` for what only the node could tell.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests; one prints a table")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use vhost_accord::explain::Reading;
use vhost_accord::explain::read::file;

/// What it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Right,
    Candidates,
    Unknown,
    Wrong,
}

struct Case {
    name: String,
    directory: PathBuf,
    expect: Vec<(String, String)>,
}

impl Case {
    fn wants<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.expect.iter().filter(move |(own, _)| own == key).map(|(_, value)| value.as_str())
    }
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut found: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    let read = |directory: PathBuf| {
        let text = fs::read_to_string(directory.join("expect")).unwrap();
        let pair =
            |line: &str| line.split_once(": ").map(|(key, value)| (key.to_string(), value.to_string()));
        let expect = text.lines().map(|line| pair(line).unwrap()).collect();
        Case { name: directory.file_name().unwrap().to_str().unwrap().to_string(), directory, expect }
    };
    found.into_iter().map(read).collect()
}

fn explained(case: &Case) -> Reading {
    let mut inputs: Vec<PathBuf> =
        fs::read_dir(&case.directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.retain(|path| path.file_name().is_some_and(|name| name != "expect"));
    inputs.sort();
    let mut reading = Reading::default();
    for input in inputs {
        file(&input, &mut reading).unwrap();
    }
    reading.finish();
    reading
}

/// All that is said, as one text.
fn text(reading: &Reading) -> String {
    let mut text = String::new();
    for event in &reading.events {
        writeln!(text, "{} ({})", event.id, event.class.name()).unwrap();
        for said in event.causes.iter().chain(&event.notes) {
            writeln!(text, "{said}").unwrap();
        }
        writeln!(text, "{}\n{}", event.decide, event.fix).unwrap();
    }
    if reading.foreign > 0 {
        text.push_str("other programs\n");
    }
    text
}

/// The verdict, and why it is wrong.
fn judge(case: &Case, reading: &Reading) -> (Verdict, String) {
    let said = text(reading);
    let has_id = |id: &str| reading.events.iter().any(|event| event.id == id);
    let has_class =
        |class: &str| reading.events.iter().any(|event| serde_json::to_value(event.class).unwrap() == class);
    let missing = case
        .wants("id")
        .filter(|id| !has_id(id))
        .chain(case.wants("class").filter(|class| !has_class(class)))
        .chain(case.wants("says").filter(|words| !said.contains(words)))
        .next();
    if let Some(words) = case.wants("never").find(|words| said.contains(words)) {
        return (Verdict::Wrong, format!("says '{words}'"));
    }
    if reading.events.is_empty() {
        return (Verdict::Unknown, format!("{} lines shown as not known", reading.unknown));
    }
    if let Some(words) = missing {
        return (Verdict::Wrong, format!("'{words}' is missing"));
    }
    let several = reading.events.iter().any(|event| event.causes.len() > 1);
    (if several { Verdict::Candidates } else { Verdict::Right }, String::new())
}

#[test]
fn the_table() {
    let (mut table, mut counts, mut wrong) = (String::new(), BTreeMap::<Verdict, usize>::new(), Vec::new());
    for case in cases() {
        let reading = explained(&case);
        let (verdict, why) = judge(&case, &reading);
        *counts.entry(verdict).or_default() += 1;
        let live: Vec<&str> = case.wants("live").collect();
        let live =
            if live.is_empty() { String::new() } else { format!("only the node tells: {}", live.join(", ")) };
        writeln!(table, "{:<34} {verdict:<12?} {why}{live}", case.name).unwrap();
        let expected = case.wants("verdict").next().unwrap();
        if format!("{verdict:?}").to_lowercase() != expected {
            wrong.push(format!(
                "{}: {verdict:?} instead of {expected}: {why}\n{}",
                case.name,
                text(&reading)
            ));
        }
    }
    println!("{table}\n{counts:?}");
    assert!(wrong.is_empty(), "{table}\n{counts:?}\n{}", wrong.join("\n"));
    assert_eq!(counts.get(&Verdict::Wrong), None);
}

/// Nothing is dropped for how it begins: what looks like an error and is not known is counted and shown.
#[test]
fn what_is_not_known_is_shown() {
    let mut reading = Reading::default();
    for line in ["-x: something failed", "LC_ALL=C could not be done", "#012 fatal: no", "plain talk"] {
        reading.take("a log", line);
    }
    reading.finish();
    assert_eq!((reading.lines, reading.known, reading.unknown), (4, 0, 3));
    assert_eq!(reading.examples.len(), 3);
}
