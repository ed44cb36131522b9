// SPDX-License-Identifier: Apache-2.0
//! What a report has of the database: the output of `ovs-vsctl list TABLE` (Open vSwitch, lib/table.c and lib/ovsdb-data.c).

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::ports::{VhostPort, is_uuid, port};
use super::switch::{SwitchConfig, settings};
use super::value::string;
use crate::base::root::Report;
use crate::config::PortType;

/// The switch's settings and its vhost-user ports.
pub fn switch(report: &Report) -> Result<(SwitchConfig, Vec<VhostPort>)> {
    let config = settings(&table(report, "Open_vSwitch")?)?;
    let rows = table(report, "interface")?;
    let is_vhost = |row: &&Value| string(&row["type"]).is_some_and(|kind| PortType::named(&kind).is_some());
    let mut ports = rows.iter().filter(is_vhost).map(port).collect::<Result<Vec<_>>>()?;
    ports.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((config, ports))
}

/// Names and types of all interfaces.
pub fn others(report: &Report) -> Result<Vec<(String, String)>> {
    let rows = table(report, "interface")?;
    Ok(rows.iter().filter_map(|row| Some((string(&row["name"])?, string(&row["type"])?))).collect())
}

fn table(report: &Report, name: &str) -> Result<Vec<Value>> {
    let text = report.output(&format!("ovs-vsctl -t 5 list {name}"))?;
    if let Some(failed) = text.lines().find(|line| line.starts_with("ovs-vsctl: ")) {
        bail!("{failed}");
    }
    parse(&text).with_context(|| format!("reading what 'ovs-vsctl list {name}' said"))
}

/// Rows, each as OVSDB's protocol has it.
pub fn parse(text: &str) -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    for record in text.split("\n\n") {
        let mut row = serde_json::Map::new();
        for line in record.lines().filter(|line| !line.trim().is_empty()) {
            let (column, value) = line.split_once(':').with_context(|| format!("no column in '{line}'"))?;
            let mut rest = value.trim();
            row.insert(column.trim().to_string(), datum(&mut rest)?);
        }
        if !row.is_empty() {
            rows.push(Value::Object(row));
        }
    }
    Ok(rows)
}

/// An atom, `[a, b]` or `{k=v, k=v}`.
fn datum(rest: &mut &str) -> Result<Value> {
    let Some(close) = rest.chars().next().and_then(|open| match open {
        '[' => Some(']'),
        '{' => Some('}'),
        _ => None,
    }) else {
        return atom(rest);
    };
    *rest = &rest[1..];
    let mut members = Vec::new();
    loop {
        *rest = rest.trim_start_matches([' ', ',']);
        if rest.is_empty() {
            bail!("a value without its '{close}'");
        }
        if let Some(after) = rest.strip_prefix(close) {
            *rest = after;
            break;
        }
        let first = atom(rest)?;
        members.push(match rest.strip_prefix('=') {
            Some(after) => {
                *rest = after;
                json!([first, atom(rest)?])
            }
            None => first,
        });
    }
    Ok(json!([if close == '}' { "map" } else { "set" }, members]))
}

/// `"quoted"`, or a bare word; a string is bare only where it cannot be taken for anything else.
fn atom(rest: &mut &str) -> Result<Value> {
    if rest.starts_with('"') {
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        let value = values.next().context("a text without an end")??;
        let end = values.byte_offset();
        *rest = &rest[end..];
        return Ok(value);
    }
    let end = rest.find([',', '=', ']', '}']).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    if word.is_empty() && !after.is_empty() || word.contains(['[', '{', '"']) {
        bail!("'{}' is no value", rest.escape_debug());
    }
    *rest = after;
    let word = word.trim();
    Ok(match word {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ if is_uuid(word) => json!(["uuid", word]),
        _ => word.parse::<i64>().map_or_else(|_| Value::from(word), Value::from),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_a_column_is_read() {
        let text = "_uuid               : 5d0a1c6e-6ed5-44f5-8a3a-0d9c8a1f4c11\nname                : vhus0\nofport : 2\n\
            error               : []\nlacp_current        : []\nlink_state          : down\n\
            options             : {vhost-server-path=\"/var/lib/vhost_sockets/vhus0\", n=\"1, 2=\\\"}\"}\n\
            status              : {mode=client, status=disconnected}\nifs : [5d0a1c6e-6ed5-44f5-8a3a-0d9c8a1f4c11, true, \"\"]\n\
            type                : dpdkvhostuserclient\nempty : \"\"\n\n\nname : \"1x\"\ntype: internal\n";
        let rows = parse(text).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0]["options"][1][1], json!(["n", "1, 2=\"}"]));
        assert_eq!(rows[0]["ifs"][1][1], true);
        assert_eq!(rows[0]["error"], json!(["set", []]));
        let found = port(&rows[0]).unwrap();
        assert_eq!((found.name.as_str(), found.ofport, found.connected), ("vhus0", Some(2), Some(false)));
        assert_eq!(found.server_path.unwrap().to_str(), Some("/var/lib/vhost_sockets/vhus0"));
        assert_eq!(string(&rows[1]["name"]).as_deref(), Some("1x"));
        for broken in ["x", "a : [", "a : {b=", "a : \"b", "a : [}", "a : {[]}"] {
            assert!(parse(broken).is_err(), "{broken}");
        }
    }
}
