// SPDX-License-Identifier: Apache-2.0
//! Every domain XML of libvirt's own test suite, read by us and by a reader that shares nothing with us.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use vhost_accord::facts::domains::{EndpointKind, SocketMode, parse_domain};
use vhost_accord::hook::input::may_speak_vhost_user;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libvirt");

fn suite() -> PathBuf {
    let output = Command::new(format!("{HERE}/fetch")).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

fn files(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
}

fn read_independently(paths: &[PathBuf]) -> Vec<Value> {
    let mut python = Command::new("python3")
        .arg(format!("{HERE}/endpoints.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let list: String = paths.iter().map(|path| format!("{}\n", path.display())).collect();
    let mut input = python.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(list.as_bytes()).unwrap());
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The files that libvirt's own tests expect not to parse: named in `DO_TEST_..._PARSE_ERROR("name"...)`.
fn refused_by_libvirt(suite: &Path) -> BTreeSet<String> {
    let mut sources = Vec::new();
    files(suite, "c", &mut sources);
    let mut names = BTreeSet::new();
    for source in sources {
        let text = String::from_utf8_lossy(&std::fs::read(source).unwrap()).into_owned();
        for part in text.split("PARSE_ERROR").skip(1) {
            let part = part.split(';').next().unwrap_or_default();
            names.extend(part.split('"').nth(1).map(str::to_string));
        }
    }
    names
}

fn ours(text: &str) -> Vec<(String, Option<String>, String)> {
    let domain = parse_domain(text).unwrap();
    let mut endpoints: Vec<_> = domain
        .endpoints
        .iter()
        .map(|endpoint| {
            let kind = match endpoint.device {
                EndpointKind::Interface => "interface",
                EndpointKind::Passt => "passt",
                EndpointKind::Disk => "disk",
                EndpointKind::Filesystem => "filesystem",
                EndpointKind::Video => "video",
                EndpointKind::CommandLine => "command-line",
            };
            let mode = if endpoint.mode == SocketMode::Server { "server" } else { "client" };
            (
                kind.to_string(),
                endpoint.path.as_ref().map(|path| path.display().to_string()),
                mode.to_string(),
            )
        })
        .collect();
    endpoints.sort();
    endpoints
}

fn theirs(answer: &Value) -> Vec<(String, Option<String>, String)> {
    let text = |value: &Value| value.as_str().map(str::to_string);
    let tuple =
        |endpoint: &Value| (text(&endpoint[0]).unwrap(), text(&endpoint[1]), text(&endpoint[2]).unwrap());
    let mut endpoints: Vec<_> = answer["endpoints"].as_array().unwrap().iter().map(tuple).collect();
    endpoints.sort();
    endpoints
}

#[test]
#[ignore = "needs root: make test"]
fn every_domain_of_libvirts_own_tests_is_read_like_by_another_reader() {
    let suite = suite();
    let refused = refused_by_libvirt(&suite);
    let mut paths = Vec::new();
    files(&suite, "xml", &mut paths);
    paths.sort();
    let (mut domains, mut with_endpoints, mut endpoints, mut unread) = (0, 0, 0, Vec::new());
    for answer in read_independently(&paths) {
        let path = Path::new(answer["path"].as_str().unwrap());
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        if answer.get("endpoints").is_none() {
            // Not a domain; or one that is broken, which libvirt's tests must know of as well.
            if let Some(error) = answer.get("error") {
                let text = std::fs::read_to_string(path).unwrap_or_default();
                let is_domain = text.contains("<domain ") || text.contains("<domain>");
                assert!(!is_domain || refused.contains(&stem), "{}: {error}", path.display());
            }
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(answer["strangers"].as_array().unwrap().len(), 0, "{answer}");
        domains += 1;
        match parse_domain(&text) {
            Ok(_) => assert_eq!(ours(&text), theirs(&answer), "{}", path.display()),
            // Files without a name are parts that libvirt's other tests read by other means.
            Err(_) if refused.contains(&stem) || answer["name"] == "" => unread.push(stem),
            Err(error) => panic!("{}: {error:#}", path.display()),
        }
        let expected = theirs(&answer).len();
        endpoints += expected;
        if expected > 0 {
            with_endpoints += 1;
            assert!(may_speak_vhost_user(&text), "{} would be passed over", path.display());
        }
    }
    eprintln!("{domains} domains, {with_endpoints} with {endpoints} endpoints, not read: {unread:?}");
    assert!(domains > 1000 && endpoints >= 30, "{domains} domains, {endpoints} endpoints");
}
