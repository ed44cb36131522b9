// SPDX-License-Identifier: Apache-2.0
//! The reader of another node's fingerprint: both shapes, versions to come, and one clear line for what is none.
#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};
use vhost_accord::fingerprint::parse;

const ALONE: &[u8] = include_bytes!("fuzz/seeds/fingerprint/alone");
const OUTPUT: &[u8] = include_bytes!("fuzz/seeds/fingerprint/output");

fn alone() -> Value {
    serde_json::from_slice(ALONE).unwrap()
}

fn error(text: &[u8]) -> String {
    let error = parse(text, "FILE").unwrap_err();
    format!("{error:#}")
}

fn refused(change: impl FnOnce(&mut Value)) -> String {
    let mut value = alone();
    change(&mut value);
    error(&serde_json::to_vec(&value).unwrap())
}

#[test]
fn the_whole_output_and_the_fingerprint_alone_are_read() {
    let whole = parse(OUTPUT, "FILE").unwrap();
    let alone = parse(ALONE, "FILE").unwrap();
    assert_eq!((whole.group.id, whole.vms.len()), (42477, 1));
    assert_eq!((alone.vms.len(), alone.vms[1].domain.name.as_str()), (2, "vms"));
    assert_eq!(alone.qemu.unwrap().groups.len(), 3);
    assert_eq!(alone.versions.qemu.as_deref(), Some("7.2.22"));
}

#[test]
fn what_a_later_version_adds_or_cannot_tell_is_no_obstacle() {
    let mut later = alone();
    later["version"] = json!(9);
    later["later"] = json!({"x": [1]});
    later["vms"][0]["domain"]["later"] = json!(true);
    for gone in ["host", "pages", "versions", "qemu", "server_directory", "incoming"] {
        later.as_object_mut().unwrap().remove(gone);
    }
    let read = parse(&serde_json::to_vec(&later).unwrap(), "FILE").unwrap();
    assert_eq!((read.version, read.host, read.qemu, read.vms.len()), (9, None, None, 2));
}

#[test]
fn what_is_none_is_told_in_one_line_that_says_where_and_what_to_do() {
    let lines = [
        (error(b""), "FILE is empty"),
        (error(b" \n"), "FILE is empty"),
        (error(b"agreed\n"), "at line 1 column 1"),
        (error(&OUTPUT[..900]), "EOF while parsing"),
        (error(b"{}"), "missing field `version`"),
        (error(b"[]"), "FILE is not a fingerprint"),
        (error(br#"{"version": 1, "findings": [], "fingerprint": null}"#), "a node with an obstacle"),
        (refused(|value| value["group"]["id"] = json!(-1)), "invalid value: integer `-1`"),
        (refused(|value| value["group"]["id"] = json!(1_u64 << 32)), "expected u32"),
        (
            refused(|value| value["vms"][0]["domain"]["memory"]["size"] = json!(u64::MAX)),
            "the VM 'vmc': memory of",
        ),
        (refused(|value| value["pages"][0]["size"] = json!(0)), "0 bytes are no page size"),
        (refused(|value| value["pages"][0]["total"] = json!(u64::MAX)), "pages of"),
        (refused(|value| value["vms"][1]["domain"]["name"] = json!("a\u{1b}[2J")), "control characters"),
        (refused(|value| value["host"] = json!("a\nb")), "control characters"),
        (
            refused(|value| value["vms"][1]["domain"]["endpoints"][0]["path"] = json!("/x\ny")),
            "control characters",
        ),
    ];
    for (line, expected) in lines {
        assert!(line.contains(expected) && line.contains("FILE"), "{expected}: {line}");
        assert!(
            line.contains("expected the output of 'vhost-accord check --json' on the other node"),
            "{line}"
        );
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}
