// SPDX-License-Identifier: Apache-2.0
//! Edits of one key, and their inverse.

use anyhow::{Error, Result, anyhow};

use super::{Assignment, Value, VirConf};

/// virConf has no way to write it.
fn unwritable(what: String) -> Error {
    anyhow!("{what} cannot be written in this file's syntax")
}

/// Someone else changed the key since: its line (from 1; 0 if the key is gone) and what differs.
fn foreign(line: usize, what: String) -> Error {
    match line {
        0 => anyhow!("changed since: {what}"),
        _ => anyhow!("line {line}: changed since: {what}"),
    }
}

/// What a key was before an edit: all that [`restore`] needs to put exactly that back.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Previous {
    /// No line assigned it.
    Absent {
        /// The text's last line had no end, which an append had to give it.
        unterminated: bool,
    },
    /// The values as they were written, quotes included, one for each assignment.
    Set {
        /// In the text's order, so the first is the one that counted.
        literals: Vec<String>,
    },
}

/// What `key` is in `text`, to be kept for [`restore`].
///
/// # Errors
/// Where libvirt would not read the text.
pub fn previous(text: &str, key: &str) -> Result<Previous> {
    Ok(state(&VirConf::parse(text)?, key))
}

fn state(conf: &VirConf, key: &str) -> Previous {
    let literals: Vec<String> = conf.of(key).map(|a| conf.text[a.literal.clone()].to_owned()).collect();
    if literals.is_empty() {
        Previous::Absent { unterminated: is_unterminated(&conf.text) }
    } else {
        Previous::Set { literals }
    }
}

/// The text with `key` set to the string `value`, every other byte as it was.
///
/// All assignments of the key get the value (so the first, which counts, and the last, which other tools may read,
/// agree); those that have it already keep their spelling. Without one, a line is added below the commented-out
/// template, else at the end, with the line end the file uses. Doing it twice is doing it once.
///
/// # Errors
/// Where libvirt would not read the text, and where virConf has no way to write the key or the value.
pub fn set_text(text: &str, key: &str, value: &str) -> Result<String> {
    let conf = VirConf::parse(text)?;
    let literal = literal(value).ok_or_else(|| unwritable(format!("the value of {key}")))?;
    let wanted = Value::Text(value.to_owned());
    let edited = if conf.of(key).next().is_some() {
        splice(&conf, key, |a| (a.value != wanted).then_some(literal.as_str()))
    } else {
        insert_line(&conf, key, &format!("{key} = {literal}"))
    };
    // The proof that nothing slipped: the result is read back before anyone gets it.
    match VirConf::parse(&edited) {
        Ok(after) if after.of(key).next().is_some() && after.of(key).all(|a| a.value == wanted) => Ok(edited),
        _ => Err(unwritable(format!("the key {key:?} with its value"))),
    }
}

/// The inverse of [`set_text`] with value `ours`: puts `previous` back and keeps whatever else changed since.
///
/// Where `previous` is already the state, the text is returned as it is.
///
/// # Errors
/// Where the key no longer has our value, or another number of lines assign it.
pub fn restore(text: &str, key: &str, ours: &str, previous: &Previous) -> Result<String> {
    let conf = VirConf::parse(text)?;
    match (previous, state(&conf, key)) {
        (Previous::Absent { .. }, Previous::Absent { .. }) => Ok(text.to_owned()),
        (before, now) if *before == now => Ok(text.to_owned()),
        (Previous::Absent { unterminated }, _) => remove_line(&conf, key, ours, *unterminated),
        (Previous::Set { literals }, _) => put_back(&conf, key, ours, literals),
    }
}

fn put_back(conf: &VirConf, key: &str, ours: &str, literals: &[String]) -> Result<String> {
    let found: Vec<&Assignment> = conf.of(key).collect();
    if found.len() != literals.len() {
        let what = format!("{} lines assign {key}, not {}", found.len(), literals.len());
        return Err(foreign(found.first().map_or(0, |a| a.line), what));
    }
    let ours = Value::Text(ours.to_owned());
    if let Some(other) = found.iter().find(|a| a.value != ours) {
        return Err(foreign(other.line, format!("{key} has another value")));
    }
    let mut old = literals.iter();
    let edited = splice(conf, key, |_| old.next().map(String::as_str));
    VirConf::parse(&edited)?;
    Ok(edited)
}

fn remove_line(conf: &VirConf, key: &str, ours: &str, unterminated: bool) -> Result<String> {
    let mut found = conf.of(key);
    let (Some(line), None) = (found.next(), found.next()) else {
        let line = conf.line_of(key).unwrap_or(0);
        return Err(foreign(line, format!("several lines assign {key}")));
    };
    let (before, rest) = conf.text.split_at(line.statement.start);
    let (statement, after) = rest.split_at(line.statement.len());
    let whole = (before.is_empty() || before.ends_with(['\n', '\r'])) && (after.is_empty() || eol(after) > 0);
    let written = literal(ours).map(|literal| format!("{key} = {literal}"));
    if !whole || written.as_deref() != Some(statement) {
        let what = format!("the line with {key} is not as it was written");
        return Err(foreign(line.line, what));
    }
    let after = &after[eol(after)..];
    let before = if unterminated && after.is_empty() { without_last_eol(before) } else { before };
    Ok(format!("{before}{after}"))
}

/// The text with literals of `key` replaced where `replacement` says so; it is asked in the text's order.
fn splice<'r>(
    conf: &VirConf,
    key: &str,
    mut replacement: impl FnMut(&Assignment) -> Option<&'r str>,
) -> String {
    let mut out = String::with_capacity(conf.text.len());
    let mut copied = 0;
    for assignment in conf.of(key) {
        if let Some(new) = replacement(assignment) {
            out.push_str(&conf.text[copied..assignment.literal.start]);
            out.push_str(new);
            copied = assignment.literal.end;
        }
    }
    out.push_str(&conf.text[copied..]);
    out
}

fn insert_line(conf: &VirConf, key: &str, line: &str) -> String {
    let text = conf.text.as_str();
    let at = conf.templates(key).next().map_or(text.len(), |(span, _)| span.end + eol(&text[span.end..]));
    let (before, after) = text.split_at(at);
    let end = line_end_of(text);
    let join = if is_unterminated(before) { end } else { "" };
    format!("{before}{join}{line}{end}{after}")
}

/// The shortest quoting that virConf reads back as `value`.
fn literal(value: &str) -> Option<String> {
    let one_line = !value.contains(['\n', '\r']);
    match value {
        v if v.contains('\0') => None,
        v if one_line && !v.contains('"') => Some(format!("\"{v}\"")),
        v if one_line && !v.contains('\'') => Some(format!("'{v}'")),
        v if !v.contains("\"\"\"") && !v.ends_with('"') => Some(format!("\"\"\"{v}\"\"\"")),
        _ => None,
    }
}

fn is_unterminated(text: &str) -> bool {
    !text.is_empty() && !text.ends_with(['\n', '\r'])
}

/// The line end of the file's first line; a lone carriage return is not taken up as a style.
fn line_end_of(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// Length of the line end that `text` starts with, or 0.
fn eol(text: &str) -> usize {
    match text.as_bytes() {
        [b'\r', b'\n', ..] => 2,
        [b'\r' | b'\n', ..] => 1,
        _ => 0,
    }
}

fn without_last_eol(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}
