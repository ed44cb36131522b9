// SPDX-License-Identifier: Apache-2.0
//! `edit::virconf` against libvirt's own parser, called through its library.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use vhost_accord::edit::virconf::{Value, VirConf};

/// Reads a JSON list of texts, answers `[accepted, type, string]` of key `g` for each.
const PEER: &str = r#"
import ctypes, json, sys
lib = ctypes.CDLL("libvirt.so.0")
lib.virInitialize()
lib.virConfReadString.restype = ctypes.c_void_p
lib.virConfReadString.argtypes = [ctypes.c_char_p, ctypes.c_uint]
lib.virConfFree.argtypes = [ctypes.c_void_p]
lib.virConfGetValueType.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
lib.virConfGetValueString.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_char_p)]
def ask(text):
    conf = lib.virConfReadString(text.encode(), 0)
    if not conf:
        return [False, 0, None]
    kind, held = lib.virConfGetValueType(conf, b"g"), ctypes.c_char_p()
    if kind == 3:
        lib.virConfGetValueString(conf, b"g", ctypes.byref(held))
    lib.virConfFree(conf)
    return [True, kind, held.value.decode() if kind == 3 else None]
json.dump([ask(text) for text in json.load(sys.stdin)], sys.stdout)
"#;

fn ours(text: &str) -> (bool, i64, Option<String>) {
    let Ok(conf) = VirConf::parse(text) else { return (false, 0, None) };
    match conf.get("g") {
        None => (true, 0, None),
        // libvirt tells signed and unsigned apart by the first character; we do not.
        Some(Value::Integer(_)) => (true, 2, None),
        Some(Value::Text(text)) => (true, 3, Some(text)),
        Some(Value::List(_)) => (true, 4, None),
    }
}

fn texts(count: usize) -> Vec<String> {
    let token = prop::sample::select(vec![
        "g",
        "g",
        "g=",
        "g = ",
        "=",
        " ",
        "\t",
        "\n",
        "\n",
        "\r",
        "\r\n",
        "\"",
        "'",
        "\"\"\"",
        "\"\"\"",
        "[",
        "]",
        ",",
        ";",
        "#",
        "1",
        "-",
        "+",
        "a",
        "_",
        "é",
        "g='x'",
        "g = \"y\"\n",
        "b = 1\n",
        "'a'",
        "[ 'a', ",
    ]);
    let strategy = prop::collection::vec(token, 0..9).prop_map(|tokens| tokens.concat());
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

#[test]
#[ignore = "needs python3 and libvirt.so.0: make test"]
fn libvirt_reads_the_same() {
    let texts = texts(40_000);
    let mut command = Command::new("python3");
    command.args(["-c", PEER]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut command = Command::new("python3");
    command.args(["-c", PEER]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut peer = command.spawn().unwrap();
    let mut stdin = peer.stdin.take().unwrap();
    stdin.write_all(serde_json::to_string(&texts).unwrap().as_bytes()).unwrap();
    drop(stdin);
    let answer = peer.wait_with_output().unwrap();
    let theirs: Vec<(bool, i64, Option<String>)> = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(theirs.len(), texts.len());
    let accepted = theirs.iter().filter(|(accepted, ..)| *accepted).count();
    assert!(accepted > texts.len() / 50, "only {accepted} texts were good ones: the test says nothing");
    for (text, (accepted, kind, value)) in texts.iter().zip(theirs) {
        assert_eq!(ours(text), (accepted, if kind == 1 { 2 } else { kind }, value), "{text:?}");
    }
}
