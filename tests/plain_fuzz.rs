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

/// The usual trouble in the language of each reader: `\0`, no UTF-8, CRLF, no final newline, a key twice, strings over lines,
/// nesting, and much of everything.
fn troubles(target: &str) -> Vec<Vec<u8>> {
    let sound = seeds(target).into_iter().max_by_key(Vec::len).unwrap();
    let replaced = |from: &[u8], to: &[u8]| {
        let mut new = Vec::new();
        for byte in &sound {
            if from == [*byte] { new.extend_from_slice(to) } else { new.push(*byte) }
        }
        new
    };
    let at = |place: usize, what: &[u8]| [&sound[..place], what, &sound[place..]].concat();
    let middle = sound.len() / 2;
    let trimmed = sound.trim_ascii_end().to_vec();
    let twice = [sound.clone(), sound.clone()].concat();
    let much = sound.repeat((1 << 20) / sound.len().max(1));
    let special: &[&str] = match target {
        "domain" => &[
            "<domain><name>x</name><name>y</name><devices><interface type='vhostuser'/></devices><devices/></domain>",
            "<domain><name>a\nb</name><devices><interface type='vhostuser'><source path='/a\nb'/></interface></devices></domain>",
            "<domain><name><![CDATA[vhostuser]]></name><?x y?><!-- vhostuser --></domain>",
            "<domain xmlns:qemu='x'><qemu:commandline><qemu:arg/><qemu:arg value=''/></qemu:commandline></domain>",
        ],
        "qemu_conf" => &[
            "x\ngroup = \"\"\"a\nb\"\"\"\ngroup = \"b\"\n",
            "x\ngroup = [ \"a\", [ \"b\", [ \"c\" ] ] ]\n",
            "x\ngroup = 99999999999999999999999999\ngroup = -1",
        ],
        "environment" => &["A=\"a\nb\"\nA='c\nd'\nA=e\\\nf", "A=\"unfinished", "A='", "=\n==\nA"],
        "unit" => {
            &["[Service]\nExecStart=a \\\n# c\n b\nExecStart=\n", "[Service", "[Service]\nA=\\", "[]\n=x\nA"]
        }
        "configuration" => &[
            "[accord]\nmodes = dpdkvhostuser\nmodes = dpdkvhostuserclient\n",
            "[accord]\nmodes = a\n  b\n",
            "[accord]\n[accord]\n",
            "[accord",
        ],
        "ovsdb" => &[
            "+[{\"rows\":[{\"name\":\"a\\u0000b\"}]},{\"rows\":[]}]",
            "+[{\"rows\":[],\"rows\":[]}]",
            "{\"id\":0,\"error\":\"a\\nb\",\"result\":null}",
        ],
        "log" => &["Permission denied", "a\rb\r\nc", "\n\n\n"],
        "journal" => &["{\"version\":1,\"version\":2}", "{\"version\":1e400}", "[1"],
        "packaged" => &[
            "create 640 a b\ncreate 640 a b",
            "umask 0002 && umask 0002 && ",
            "Group=qemu\r\nUMask=0002\r\n",
        ],
        _ => &["-1", "99999999999999999999 99999999999999999999"],
    };
    let mut all: Vec<Vec<u8>> = special.iter().map(|text| text.as_bytes().to_vec()).collect();
    all.extend([
        at(0, b"\0"),
        at(middle, b"\0"),
        at(middle, &[0xff, 0xc0, 0x80]),
        at(0, b"\xef\xbb\xbf"),
        replaced(b"\n", b"\r\n"),
        replaced(b"\n", b"\r"),
        replaced(b"\n", b"\0"),
        replaced(b"\"", b"\"\"\""),
        trimmed,
        sound[..middle].to_vec(),
        twice,
        much,
    ]);
    all
}

#[test]
fn the_usual_trouble_holds_for_each_reader() {
    for (name, property) in TARGETS {
        for input in troubles(name) {
            property(&input);
        }
    }
}

#[test]
fn hostile_inputs_hold_everywhere() {
    for (_, property) in TARGETS {
        for input in hostile() {
            property(&input);
        }
    }
}
