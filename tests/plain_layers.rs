// SPDX-License-Identifier: Apache-2.0
//! Who may know whom (CONTRIBUTING.md): facts, rules and changes lie in one direction, and nothing knows the commands.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

/// A directory of the sources and what nothing in it may name.
const FORBIDDEN: [(&str, &[&str]); 9] = [
    ("access", &["accord", "facts", "rules", "change", "command", "report", "hook"]),
    ("accord", &["rules", "change", "command", "report", "hook", "survey"]),
    ("facts", &["rules", "change", "command", "report", "hook", "survey", "journal"]),
    ("rules", &["change", "command", "report", "survey", "journal"]),
    ("profile", &["rules", "change", "command", "report", "hook", "survey"]),
    ("convert", &["accord", "rules", "change", "command", "report", "hook", "survey"]),
    ("edit", &["rules", "change", "command", "report", "hook", "survey", "facts"]),
    ("change", &["rules", "command", "hook", "survey"]),
    ("hook", &["command", "rules", "survey"]),
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn nothing_knows_what_lies_after_it() {
    let mut breaches = Vec::new();
    for (directory, forbidden) in FORBIDDEN {
        let mut files = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(directory), &mut files);
        assert!(!files.is_empty(), "{directory}");
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for (line, name) in code.flat_map(|line| forbidden.iter().map(move |name| (line, name))) {
                if line.contains(&format!("crate::{name}::")) || line.contains(&format!("crate::{{{name}")) {
                    breaches.push(format!("{}: {}", file.display(), line.trim()));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}
