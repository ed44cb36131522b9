// SPDX-License-Identifier: Apache-2.0
//! The fuzzer's properties on its seeds, on what it found, and on inputs that are hostile by design.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "fuzz/properties.rs"]
mod properties;

use std::fs;
use std::path::Path;

use properties::TARGETS;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target);
    let files = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
}

#[test]
fn seeds_hold() {
    for (name, property) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name}");
        seeds.iter().for_each(|seed| property(seed));
    }
}

/// What has broken readers of others.
fn hostile() -> Vec<Vec<u8>> {
    let bomb = (0..30).fold(String::from("<!DOCTYPE x [<!ENTITY a0 \"x\">"), |bomb, level| {
        let next = level + 1;
        format!("{bomb}<!ENTITY a{next} \"&a{level};&a{level};\">")
    });
    let long = |unit: &str, length: usize| unit.repeat(length / unit.len()).into_bytes();
    vec![
        format!("{bomb}]><domain><name>&a30;</name></domain>").into_bytes(),
        long("<a>", 300_000),
        [
            b"<domain><name>x</name>".to_vec(),
            long("<interface type='vhostuser'/>", 1 << 20),
            b"</domain>".to_vec(),
        ]
        .concat(),
        long("[", 100_000),
        [b"+".to_vec(), long("{\"a\":", 50_000)].concat(),
        b"+[{\"rows\":[]},{\"rows\":[]}]".to_vec(),
        b"{\"id\":0,\"result\":[".to_vec(),
        b"{\"id\":18446744073709551615}{\"method\":\"echo\",\"id\":\"\x1b]0;x\x07\",\"params\":[]}".to_vec(),
        b"\0\0\0\0".to_vec(),
        b"group = \"a\0b\"\n".to_vec(),
        b"x\ngroup = \"a\"\r\ngroup = 'b'\r\nx = \"\"\"\r\ngroup = \"c\"\r\n\"\"\"".to_vec(),
        b"\"\ngroup = \"a\"\n".to_vec(),
        b"'''\"\"\"\nx = [ \"a\",\n".to_vec(),
        vec![0xff, 0xfe, b'\n', 0xc3, 0x28],
        b"\x1b[2J\x1b]52;c;aGk=\x07 Permission denied\n".to_vec(),
        "\u{202e}\u{200b}Failed to bind socket to /x\u{9b}2J: Permission denied".as_bytes().to_vec(),
        long("a", 1 << 20),
        b"type=AVC msg=audit(99999999999999999999.999:1): avc: denied { x } comm=\"a\" path=FFFFZZ".to_vec(),
    ]
}

#[test]
fn hostile_inputs_hold_everywhere() {
    for (_, property) in TARGETS {
        for input in hostile() {
            property(&input);
        }
    }
}
