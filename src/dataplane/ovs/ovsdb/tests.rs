// SPDX-License-Identifier: Apache-2.0
//! Against servers that misbehave. A well-behaved one is in tests/plain_facts_ovsdb.rs.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::MAX_RECEIVED;
use super::value::readable;
use super::*;
use crate::dataplane::conversation::Bounded;

const SECOND: Duration = Duration::from_secs(1);

/// Talks to a server that does `serve` after it got the request.
fn talk(limit: Duration, serve: impl FnOnce(UnixStream) + Send + 'static) -> Result<Vec<VhostPort>, String> {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    std::thread::spawn(move || {
        let mut request = [0; 4096];
        assert!(theirs.read(&mut request).unwrap() > 0);
        serve(theirs);
    });
    Ovsdb::over(Bounded::over(ours, Instant::now() + limit, MAX_RECEIVED).unwrap())
        .ports()
        .map_err(|error| format!("{error:#}"))
}

/// Talks to a server that sends this, in pieces of one byte, and stays there.
fn reply(bytes: &'static str) -> Result<Vec<VhostPort>, String> {
    talk(SECOND, move |mut stream| {
        for byte in bytes.as_bytes() {
            stream.write_all(&[*byte]).unwrap();
        }
        std::thread::sleep(2 * SECOND);
    })
}

const EMPTY: &str = r#"{"id":0,"result":[{"rows":[]},{"rows":[]}],"error":null}"#;

#[test]
fn a_reply_may_come_in_pieces_and_behind_others() {
    assert_eq!(reply(EMPTY), Ok(vec![]));
    assert_eq!(
        reply(concat!(
            r#" {"method":"update","params":[],"id":null}"#,
            "\n\n",
            r#"{"id":0,"result":[{"rows":[]},{"rows":[]}]}"#
        )),
        Ok(vec![])
    );
}

#[test]
fn a_long_reply_behind_many_others_is_found() {
    let ports = talk(SECOND, |mut stream| {
        let others = r#"{"id":null,"method":"update","params":["}"]}"#.repeat(2_000);
        let long = EMPTY.replace("[]", &format!("[{}]", " ".repeat(100_000)));
        stream.write_all((others + &long).as_bytes()).unwrap();
        std::thread::sleep(2 * SECOND);
    });
    assert_eq!(ports, Ok(vec![]));
}

#[test]
fn an_echo_is_answered() {
    let ports = talk(SECOND, |mut stream| {
        stream.write_all(br#"{"id":"echo","method":"echo","params":["x"]}"#).unwrap();
        let mut answer = [0; 4096];
        let length = stream.read(&mut answer).unwrap();
        let answer: Value = serde_json::from_slice(&answer[..length]).unwrap();
        assert_eq!(answer, json!({"id": "echo", "result": ["x"], "error": null}));
        stream.write_all(EMPTY.as_bytes()).unwrap();
    });
    assert_eq!(ports, Ok(vec![]));
}

#[test]
fn a_wrong_reply_is_an_error_of_one_line() {
    let cases = [
        (r#"{"id":7,"result":[]}"#, "asking OVSDB: a reply to something that was not asked: id 7"),
        (r#"{"id":0,"result":[]}"#, "OVSDB's reply has 0 results for 2 operations"),
        (r#"{"id":0,"result":[null,null]}"#, "OVSDB's reply has 2 results for 2 operations"),
        (r#"{"id":0,"result":[{},{"rows":[]}]}"#, "OVSDB's reply has no rows"),
        (r#"{"id":0,"result":7}"#, "OVSDB's reply is not a list of results"),
        (
            r#"[1]"#,
            "asking OVSDB: reading the reply: invalid length 1, expected struct Message with 5 elements at line 1 column 3",
        ),
        (
            r#"{"id":0,"method":7}"#,
            "asking OVSDB: reading the reply: invalid type: integer `7`, expected a string at line 1 column 18",
        ),
        (
            r#"{"id":0,"error":"unknown \u001b[31mdatabase","result":null}"#,
            "asking OVSDB: OVSDB refuses: unknown ?[31mdatabase",
        ),
        (
            r#"{"id":0,"result":[{"error":"constraint violation","details":"No column\nx"},null]}"#,
            "OVSDB refuses: constraint violation: No column?x",
        ),
        (
            r#"{"id":0,"result":[{"rows":[{"type":"system","name":"x"}]},{"rows":[]}]}"#,
            "reading a row of the table Interface: not of a type that was asked for",
        ),
    ];
    for (bytes, error) in cases {
        assert_eq!(reply(bytes), Err(error.to_string()), "{bytes}");
    }
}

#[test]
fn broken_json_and_a_closed_connection_are_errors() {
    for bytes in ["garbage", "{\"id\":0,\"id", "", "\0\0\0"] {
        let error = talk(SECOND, move |mut stream| stream.write_all(bytes.as_bytes()).unwrap()).unwrap_err();
        assert!(error.starts_with("asking OVSDB: reading the reply: "), "{error}");
    }
}

#[test]
fn deep_nesting_is_refused() {
    let deep = talk(SECOND, |mut stream| stream.write_all(&[b'['; 100_000]).unwrap_or_default());
    assert!(deep.unwrap_err().contains("recursion limit"));
}

#[test]
fn silence_and_a_trickle_end_at_the_deadline() {
    let late = Err("asking OVSDB: reading the reply: no answer in time".to_string());
    assert_eq!(talk(SECOND / 5, |_stream| std::thread::sleep(2 * SECOND)), late);
    // It goes on as long as anybody reads: only a deadline for all of it ends this.
    let trickle = talk(SECOND / 5, |mut stream| {
        while stream.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    assert_eq!(trickle, late);
}

#[test]
fn an_endless_reply_is_cut_off() {
    let error = talk(60 * SECOND, |mut stream| {
        let chunk = vec![b'x'; 1 << 20];
        stream.write_all(b"\"").unwrap();
        while stream.write_all(&chunk).is_ok() {}
    });
    assert_eq!(error.unwrap_err(), "asking OVSDB: reading the reply: more than 32 MiB");
}

#[test]
fn foreign_text_is_cut_and_made_harmless() {
    assert_eq!(readable(&json!("a\u{1b}[2Jb\u{9b}c\n")), "a?[2Jb?c?");
    assert_eq!(readable(&json!("x".repeat(1000))).len(), 203);
    assert_eq!(readable(&json!({"x": 1})), r#"{"x":1}"#);
}
