// SPDX-License-Identifier: Apache-2.0
//! OVSDB's values in JSON (RFC 7047, section 5.1): an atom, `["uuid", U]`, `["set", [...]]`, `["map", [[K, V]...]]`.

use std::collections::BTreeMap;

use serde_json::Value;

/// No message of ours carries more of a foreign text than this many characters.
const MAX_QUOTED: usize = 200;

/// The strings of a column: one, or a set of them.
pub(super) fn strings(value: &Value) -> Vec<String> {
    members(value).iter().filter_map(|value| value.as_str().map(str::to_string)).collect()
}

/// The members of a set; a single atom stands for a set of one.
pub(super) fn members(value: &Value) -> Vec<&Value> {
    match tagged(value, "set") {
        Some(members) => members.iter().collect(),
        None if value.is_null() => Vec::new(),
        None => vec![value],
    }
}

/// The string of a column that may be empty.
pub(super) fn string(value: &Value) -> Option<String> {
    strings(value).into_iter().next()
}

/// The integer of a column that may be empty.
pub(super) fn integer(value: &Value) -> Option<i64> {
    members(value).first()?.as_i64()
}

/// The truth value of a column that may be empty.
pub(super) fn boolean(value: &Value) -> Option<bool> {
    members(value).first()?.as_bool()
}

/// The UUID of a column that has one.
pub(super) fn uuid(value: &Value) -> Option<&str> {
    if value.get(0)? == "uuid" { value.get(1)?.as_str() } else { None }
}

/// A map from strings to strings.
pub(super) fn map(value: &Value) -> BTreeMap<String, String> {
    let pair = |pair: &Value| Some((pair.get(0)?.as_str()?.to_string(), pair.get(1)?.as_str()?.to_string()));
    tagged(value, "map").into_iter().flatten().filter_map(pair).collect()
}

fn tagged<'a>(value: &'a Value, tag: &str) -> Option<&'a Vec<Value>> {
    match value.as_array()?.as_slice() {
        [name, Value::Array(members)] if name == tag => Some(members),
        _ => None,
    }
}

/// A foreign value for a message: short, on one line, without anything that a terminal would obey.
pub(super) fn readable(value: &Value) -> String {
    let part = |key: &str| value.get(key).and_then(Value::as_str);
    let text = match (part("error"), part("details")) {
        (Some(error), Some(details)) => format!("{error}: {details}"),
        (Some(error), None) => error.to_string(),
        _ => value.as_str().map_or_else(|| value.to_string(), str::to_string),
    };
    let short: String = text.chars().take(MAX_QUOTED).collect();
    let ellipsis = if short.len() < text.len() { "..." } else { "" };
    let plain: String = short.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    format!("{plain}{ellipsis}")
}
