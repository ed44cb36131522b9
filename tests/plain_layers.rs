// SPDX-License-Identifier: Apache-2.0
//! Who may know whom: the folders of the source in layers. Imports run down this list, never up, so folders form no circle.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up: each may import those before it.
const LAYERS: [&str; 30] = [
    "base",
    "cli",
    "config",
    "access",
    "vhost_user",
    "write",
    "edit",
    "systemd",
    "facts",
    "dataplane",
    "node",
    "fixes",
    "convert",
    "profile",
    "items",
    "accord",
    "journal",
    "sockets",
    "fingerprint",
    "hook",
    "arrivals",
    "rules",
    "catalogue",
    "report",
    "survey",
    "explain",
    "probe",
    "demo",
    "command",
    "main",
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

/// The folder or file right below `src` that a path is in.
fn layer(source: &Path, file: &Path) -> String {
    let first = file.strip_prefix(source).unwrap().components().next().unwrap();
    first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_string()
}

/// Every folder that a line names after `crate::`.
fn named(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn imports_run_down() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&source, &mut files);
    let height = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    let (mut breaches, mut seen) = (Vec::new(), BTreeSet::new());
    for file in files.iter().filter(|file| !file.ends_with("src/lib.rs")) {
        let layer = layer(&source, file);
        let here = height(&layer).unwrap_or_else(|| panic!("{layer} is in no layer: add it to LAYERS"));
        seen.insert(here);
        let text = fs::read_to_string(file).unwrap();
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            // An empty name is that of `crate::{a, b}`: one `use` for each folder can be read by this test.
            let up = |name: &str| name != layer && height(name).is_none_or(|there| there > here);
            breaches.extend(
                named(line).filter(|name| up(name)).map(|_| format!("{}: {}", file.display(), line.trim())),
            );
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
    assert_eq!(seen.len(), LAYERS.len(), "a layer has no file");
}
