// SPDX-License-Identifier: Apache-2.0
//! Who may know whom: the folders of the source in layers. Imports run down this list, never up, so folders form no circle.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up: each may import those before it.
const LAYERS: [&str; 31] = [
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
    "arrivals",
    "rules",
    "hook",
    "fleet",
    "report",
    "survey",
    "watch",
    "explain",
    "probe",
    "demo",
    "command",
    "main",
];

/// Facts know no policy. The configuration lies below them only because an editor of foreign text names port types.
const NO_POLICY: (&str, &str) = ("facts", "config");

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
            let up = |name: &str| {
                name != layer && height(name).is_none_or(|there| there > here)
                    || (layer.as_str(), name) == NO_POLICY
            };
            breaches.extend(
                named(line).filter(|name| up(name)).map(|_| format!("{}: {}", file.display(), line.trim())),
            );
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
    assert_eq!(seen.len(), LAYERS.len(), "a layer has no file");
}

/// What only OVS's driver says: its commands, daemons, units, variables, files.
const OVS_WORDS: [&str; 14] = [
    "ovs-vsctl",
    "ovs-appctl",
    "ovs-ofctl",
    "ovs-ctl",
    "ovs-vswitchd",
    "ovsdb-server",
    "OVSDB",
    "Open_vSwitch",
    "openvswitch",
    "OVS_USER_ID",
    "OVS_CTL_OPTS",
    "--ovs-user",
    "conf.db",
    "db.sock",
];

/// Places that may speak of OVS all the same: what `explain` knows of logs, the findings' pages, and an imitated node.
const ABOUT_OVS: [&str; 4] = ["src/dataplane/ovs/", "src/explain/", "src/rules/catalogue", "src/demo/"];

/// Everywhere else, how many texts below a place do so. It may only become less: what is to be added belongs into the driver.
const STILL_OVS: [(&str, usize); 2] = [("src/facts/surroundings/mac.rs", 1), ("src/rules/", 9)];

/// The texts of a program: what stands between its quotes, comments, tests and the pages of rules left out.
fn texts(program: &str) -> Vec<String> {
    let program = program.split("#[cfg(test)]").next().unwrap_or_default();
    let without_page = |page: &str| {
        let (_, source) = page.split_once("source: \"").unwrap_or_default();
        source.split_once(",\n").unwrap_or_default().1.to_string()
    };
    let mut parts = program.split("effect: \"");
    let first = parts.next().unwrap_or_default().to_string();
    let program = parts.fold(first, |text, part| text + &without_page(part));
    let code: String = program
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| format!("{line}\n"))
        .collect();
    let code = code.replace("'\"'", "");
    let (mut found, mut text, mut chars) = (Vec::new(), None::<String>, code.chars());
    while let Some(c) = chars.next() {
        match (c, &mut text) {
            ('"', Some(_)) => found.extend(text.take()),
            ('"', None) => text = Some(String::new()),
            ('\\', Some(text)) => text.extend(chars.next()),
            (c, Some(text)) => text.push(c),
            (_, None) => {}
        }
    }
    found
}

#[test]
fn what_is_true_of_ovs_alone_is_said_by_its_driver() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    let mut now: Vec<(String, usize)> = Vec::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap().to_str().unwrap().to_string();
        if ABOUT_OVS.iter().any(|place| name.starts_with(place)) || name.contains("tests") {
            continue;
        }
        let texts = texts(&fs::read_to_string(&file).unwrap());
        let count = texts.iter().filter(|text| OVS_WORDS.iter().any(|word| text.contains(word))).count();
        now.extend((count > 0).then_some((name, count)));
    }
    let mut left = now.clone();
    for (place, allowed) in STILL_OVS {
        let below: usize =
            now.iter().filter(|(name, _)| name.starts_with(place)).map(|(_, count)| count).sum();
        assert_eq!(
            below, allowed,
            "texts about OVS in {place}: lower the number, or say it in its driver: {now:?}"
        );
        left.retain(|(name, _)| !name.starts_with(place));
    }
    assert!(left.is_empty(), "what is true of OVS alone belongs into src/dataplane/ovs: {left:?}");
}
