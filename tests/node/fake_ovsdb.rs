// SPDX-License-Identifier: Apache-2.0
//! An ovsdb-server that is none: takes connections on db.sock and says what no honest one says.

use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use serde::Deserialize;
use serde_json::{Value, json};
use vhost_accord::dataplane::conversation::Bounded;

use super::texts::{TEXTS, places};

/// Ways to lie, each for every question.
pub const LIES: [&str; 26] = [
    "outside",
    "kept",
    "deaf",
    "slow",
    "string",
    "array",
    "object",
    "blanks",
    "numbers",
    "echoes",
    "notes",
    "closes",
    "deep",
    "null",
    "few",
    "many",
    "no-rows",
    "rows-of-numbers",
    "wrong-types",
    "other-id",
    "twice",
    "binary",
    "error",
    "huge-name",
    "uuids",
    "mixed-types",
];

/// Serves until it is stopped.
pub fn serve(lie: &str) {
    let listener = UnixListener::bind("/run/openvswitch/db.sock").unwrap();
    for stream in listener.incoming().map_while(Result::ok) {
        let lie = lie.to_string();
        // Whoever was lied to hangs up: that is no error of ours.
        std::thread::spawn(move || converse(stream, &lie));
    }
}

fn converse(stream: UnixStream, lie: &str) -> io::Result<()> {
    let mut out = stream.try_clone()?;
    let (long, much) = (std::time::Duration::from_secs(1 << 20), usize::MAX);
    let mut stream = Bounded::over(stream, std::time::Instant::now() + long, much).unwrap();
    let requests = std::iter::from_fn(|| stream.message().ok());
    let is_question =
        |request: &Value| matches!(request["method"].as_str(), Some("transact" | "monitor_cond" | "monitor"));
    for request in requests.filter(is_question) {
        match endless(lie) {
            Some((begin, again)) => {
                out.write_all(begin.as_bytes())?;
                let again = again.repeat(1 + 4096 / again.len().max(1));
                loop {
                    out.write_all(again.as_bytes())?;
                    if matches!(lie, "slow" | "deaf") {
                        std::thread::sleep(std::time::Duration::from_millis(100));
                    }
                }
            }
            None => answer(&mut out, lie, &request)?,
        }
    }
    Ok(())
}

/// What has no end: how it begins and what comes again and again.
fn endless(lie: &str) -> Option<(&'static str, &'static str)> {
    Some(match lie {
        "deaf" => ("", ""),
        "slow" => ("{\"id\":0,\"result\":[", " "),
        "string" => ("{\"id\":0,\"result\":[{\"rows\":[{\"name\":\"", "abc\\u001b[2J"),
        "array" => ("{\"id\":0,\"result\":[", "{\"rows\":[]},"),
        "object" => ("{\"id\":0,\"result\":[{", "\"a\":{},"),
        "blanks" => ("", " \n\t"),
        "numbers" => ("{\"id\":", "123"),
        "echoes" => ("", "{\"id\":\"echo\",\"method\":\"echo\",\"params\":[\"\\u001b[2J\"]}"),
        "notes" => ("", "{\"id\":null,\"method\":\"update\",\"params\":[{}]}"),
        "deep" => ("{\"id\":0,\"result\":", "["),
        _ => return None,
    })
}

fn answer(out: &mut UnixStream, lie: &str, request: &Value) -> io::Result<()> {
    let id = &request["id"];
    let operations = &request["params"].as_array().unwrap()[1..];
    let monitors = request["method"] != "transact";
    let results = match monitors {
        true => told(lie, &operations[1], "initial"),
        false => operations.iter().map(|operation| result(lie, operation)).collect(),
    };
    let reply = match lie {
        "null" => json!({"id": id, "result": null, "error": null}),
        "few" => json!({"id": id, "result": [], "error": null}),
        "many" => json!({"id": id, "result": vec![json!({"rows": []}); 100_000], "error": null}),
        "other-id" => json!({"id": "\u{1b}[2J", "result": results, "error": null}),
        "error" => json!({"id": id, "result": null, "error": {"error": TEXTS[0], "details": TEXTS.concat()}}),
        _ => json!({"id": id, "result": results, "error": null}),
    };
    let mut bytes = reply.to_string().into_bytes();
    match lie {
        "closes" => {
            bytes.truncate(bytes.len() / 2);
            out.write_all(&bytes)?;
            return out.shutdown(std::net::Shutdown::Both);
        }
        "twice" => bytes = [bytes.as_slice(), bytes.as_slice()].concat(),
        "binary" => bytes = vec![0xff, 0x9b, 0, 0x1b, b'[', b'2', b'J'],
        _ => {}
    }
    out.write_all(&bytes)?;
    // What has been monitored changes.
    for how in ["modify", "insert"].into_iter().filter(|_| monitors) {
        let tables = told(lie, &operations[1], how);
        let update = json!({"id": null, "method": "update2", "params": ["ports", tables]});
        out.write_all(update.to_string().as_bytes())?;
    }
    Ok(())
}

/// The same lie as to all rows of the tables that are monitored.
fn told(lie: &str, asked: &Value, how: &str) -> Value {
    let mut tables = serde_json::Map::new();
    for (table, asked) in asked.as_object().unwrap() {
        let operation = json!({"table": table, "columns": asked[0]["columns"], "where": asked[0]["where"]});
        let rows = result(lie, &operation)["rows"].as_array().cloned().unwrap_or_default();
        let row = |(number, row): (usize, &Value)| {
            let uuid = row["_uuid"][1].as_str().filter(|_| lie == "uuids").map(str::to_string);
            let uuid = uuid.unwrap_or_else(|| format!("6a9b8e3e-0000-4000-8000-{number:012}"));
            (uuid, if lie == "rows-of-numbers" { row.clone() } else { json!({how: row}) })
        };
        let rows = rows.iter().enumerate().map(row).collect::<serde_json::Map<_, _>>();
        tables.insert(table.clone(), if lie == "no-rows" { json!(7) } else { rows.into() });
    }
    tables.into()
}

fn result(lie: &str, operation: &Value) -> Value {
    match lie {
        "no-rows" => json!({"count": 7}),
        "rows-of-numbers" => json!({"rows": [7, null, "x", [], {}]}),
        _ => json!({"rows": rows(lie, operation)}),
    }
}

const UUID: &str = "6a9b8e3e-0000-4000-8000-000000000001";

fn rows(lie: &str, operation: &Value) -> Vec<Value> {
    let wrong = json!({"a": [1, {"b": null}]});
    if lie == "wrong-types" {
        let columns = operation["columns"].as_array().unwrap();
        let row = |number: usize| -> Value {
            columns
                .iter()
                .enumerate()
                .map(|(at, name)| {
                    (
                        name.as_str().unwrap().to_string(),
                        [&wrong, &json!(-1), &json!(["set", 7]), &json!(["map", [[1], 2, [{}, []]]])]
                            [(at + number) % 4]
                            .clone(),
                    )
                })
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        return (0..4).map(row).collect();
    }
    match operation["table"].as_str().unwrap() {
        "Open_vSwitch" => vec![switch(lie)],
        "Interface" => interfaces(lie, operation),
        "Bridge" => TEXTS.iter().map(|text| json!({"name": text, "ports": ["uuid", UUID]})).collect(),
        _ => vec![json!({"_uuid": ["uuid", UUID], "interfaces": ["uuid", UUID]})],
    }
}

fn switch(lie: &str) -> Value {
    let all = TEXTS.concat();
    let directory = if lie == "outside" { "../../etc".to_string() } else { String::new() };
    json!({
        "other_config": ["map", [["dpdk-init", "true"], ["dpdk-extra", format!("--in-memory {all}")], ["vhost-sock-dir", directory], [all, all]]],
        "ovs_version": all, "dpdk_version": all, "dpdk_initialized": true,
        "iface_types": ["set", ["dpdkvhostuser", "dpdkvhostuserclient", all]],
    })
}

/// Honest as to what was asked for, unless the lie is that it is not: those of the type, or of the name.
fn interfaces(lie: &str, operation: &Value) -> Vec<Value> {
    let asked = operation["where"].to_string();
    let mut rows = Vec::new();
    let huge = ["n".repeat(1 << 20)];
    let kept = kept();
    let names: Vec<&str> = match lie {
        "huge-name" => huge.iter().map(String::as_str).collect(),
        "kept" => kept.iter().map(String::as_str).collect(),
        _ => TEXTS.to_vec(),
    };
    for kind in ["dpdkvhostuserclient", "dpdkvhostuser", "internal"] {
        // A condition that names the type as text holds `"type","=="`; one that excludes it `"type","!="`.
        let wanted = match (asked.contains("\"type\",\"==\""), asked.contains("\"type\",\"!=\"")) {
            (true, _) => asked.contains(&format!("\"{kind}\"")),
            (_, true) => kind == "internal",
            _ => true,
        };
        if wanted || lie == "mixed-types" {
            rows.extend(names.iter().map(|name| interface(lie, kind, name)));
        }
    }
    rows
}

/// What the switch keeps for itself in its run directory: whatever is there but its ports' sockets.
fn kept() -> Vec<String> {
    let names = std::fs::read_dir("/run/openvswitch").into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| !name.starts_with("vhu")).collect()
}

fn interface(lie: &str, kind: &str, name: &str) -> Value {
    let [server, client] = places(name);
    let outside = ["/run/stale.sock", "/run/live.sock", "/run/openvswitch/../live.sock", "../stale.sock"];
    let at = name.len() % outside.len();
    let (server, name) = match lie {
        "outside" if kind == "dpdkvhostuser" => (outside[at].to_string(), outside[at]),
        _ => (server, name),
    };
    json!({
        "_uuid": ["uuid", if lie == "uuids" { name } else { UUID }],
        "name": name, "type": kind, "ofport": 1, "error": name, "admin_state": name, "link_state": name,
        "options": ["map", [["vhost-server-path", client]]],
        "status": ["map", [["socket", server], ["status", "connected"], [name, name]]],
    })
}

#[test]
fn the_fake_answers_what_is_asked() {
    let asked = json!({"op": "select", "table": "Interface", "where": [["type", "==", "dpdkvhostuser"]], "columns": []});
    assert_eq!(interfaces("names", &asked).len(), TEXTS.len());
    assert!(Value::deserialize(&result("names", &asked)).is_ok());
}
