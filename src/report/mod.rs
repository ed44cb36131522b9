// SPDX-License-Identifier: Apache-2.0
//! What people and scripts read. The only place that prints.

mod counters;
pub mod endpoints;
pub mod fleet;
pub mod monitor;
pub mod page;
pub mod prometheus;

pub use crate::base::text::{clean, log_line, one_line};
use crate::base::text::{is_hidden, is_plain};

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// "1 change", "2 changes".
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Prints to standard output. A reader that went away is no error.
pub fn out(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// One line to standard error.
pub fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Replaces a file at once: a reader sees all of it, before or after.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let context = || format!("writing {}", path.display());
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let write = || -> std::io::Result<()> {
        std::fs::File::create_new(&beside)?.write_all(text.as_bytes())?;
        std::fs::rename(&beside, path)
    };
    write().with_context(context)
}

/// What came of a command: for programs, or for people.
pub fn tell(json: bool, fields: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
    match json {
        true => self::json(fields),
        false => {
            out(&text());
            Ok(())
        }
    }
}

/// Prints a struct as JSON, behind the version of all that is printed so.
pub fn json(fields: &impl Serialize) -> Result<()> {
    #[derive(Serialize)]
    struct Versioned<'a, T> {
        version: u32,
        #[serde(flatten)]
        fields: &'a T,
    }
    plain_json(&Versioned { version: 1, fields })
}

/// Prints a value as JSON. What a terminal would act on is escaped in it, beyond what JSON asks for (RFC 8259, section 7).
pub fn plain_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    let mut escaped = String::with_capacity(text.len() + 1);
    // A full node's are megabytes, with hardly a line that is not plain.
    for line in text.split_inclusive('\n').chain(["\n"]) {
        match is_plain(line.trim_end_matches('\n')) {
            true => escaped.push_str(line),
            false => line.chars().for_each(|character| push_escaped(&mut escaped, character)),
        }
    }
    out(&escaped);
    Ok(())
}

fn push_escaped(text: &mut String, character: char) {
    if character == '\n' || !is_hidden(character) {
        return text.push(character);
    }
    let mut units = [0; 2];
    text.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
}

/// How a word is meant: the codes are those of ECMA-48 (SGR).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// All is well; an added line.
    Good = 32,
    /// Wants attention.
    Advice = 33,
    /// Broken; a removed line.
    Bad = 31,
    /// Less important.
    Dim = 2,
    /// A heading, a command.
    Strong = 1,
}

/// `text` in colour, if standard output is a terminal and `NO_COLOR` is not set.
pub fn colour(style: Style, text: &str) -> String {
    static WANTED: LazyLock<bool> =
        LazyLock::new(|| std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    if *WANTED { format!("\x1b[{}m{text}\x1b[0m", style as u8) } else { text.to_string() }
}

/// Rows with aligned columns, two blanks between them; the last column is left ragged.
pub fn table<R: AsRef<[String]>>(rows: &[R]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows.iter().map(AsRef::as_ref) {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &R| {
        let cells = widths.iter().zip(row.as_ref()).map(|(width, cell)| format!("{cell:<width$}  "));
        format!("{}\n", cells.collect::<String>().trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let rows = [["a".to_string(), "b".to_string()], ["long".to_string(), "c".to_string()]];
        assert_eq!(super::table(&rows), "a     b\nlong  c\n");
    }
}
