// SPDX-License-Identifier: Apache-2.0
//! What is wrong with a text that is no XML: people copy it from documents, and templates leave their marks in it.

use std::path::Path;

use roxmltree::Error;

/// Quotes as text processors write them.
const TYPOGRAPHIC: [char; 8] =
    ['\u{2018}', '\u{2019}', '\u{201a}', '\u{201c}', '\u{201d}', '\u{201e}', '\u{2032}', '\u{2033}'];

/// The parser's words, the place, and what is known to be behind them.
pub(super) fn malformed(text: &str, error: &Error) -> String {
    let row = error.pos().row as usize;
    let lines = || text.lines().enumerate().map(|(number, line)| (number + 1, line));
    let quoted = |line: &str| {
        let is_value = |at: usize| line[..at].trim_end().ends_with('=') && inside_tag(line, at);
        line.char_indices()
            .find(|(at, letter)| TYPOGRAPHIC.contains(letter) && is_value(*at))
            .map(|found| found.1)
    };
    let typographic = lines().find_map(|(number, line)| Some((number, quoted(line)?)));
    // The parser's words name a byte, which is no letter there.
    let mut said = match typographic {
        Some(_) => format!("not well-formed at {}", error.pos()),
        None => format!("not well-formed: {error}"),
    };
    if let Some((number, letter)) = typographic {
        said.push_str(&format!(
            "; line {number} has the typographic quote {letter} where ' or \" belongs: copied from a document?"
        ));
    }
    let line = lines().find(|(number, _)| *number == row).map_or("", |found| found.1);
    if line.contains("={}") || line.contains("{{") || line.contains("${") {
        said.push_str(&format!("; line {row} has a mark of a template that nobody filled in"));
    } else if line.contains("''") || line.contains("\"\"") {
        said.push_str(&format!("; line {row} has a quote too many"));
    }
    if let Some(element) = element(line) {
        said.push_str(&format!("; in <{element}>"));
    }
    said
}

/// Is the byte between `<` and `>`?
fn inside_tag(line: &str, at: usize) -> bool {
    line[..at].rfind('<') > line[..at].rfind('>')
}

/// The first element that begins in the line.
fn element(line: &str) -> Option<&str> {
    let name = line.split_once('<')?.1.trim_start_matches('/');
    let end =
        name.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != ':').unwrap_or(name.len());
    (end > 0).then(|| &name[..end])
}

/// What in a path was hardly meant: QEMU takes it as it is, and the other end another.
pub fn oddity(path: &Path) -> Option<&'static str> {
    let text = path.to_str()?;
    if text.ends_with([' ', '\t']) {
        Some("a path that ends with a blank, which is part of the name")
    } else if text.starts_with(' ') {
        Some("a path that begins with a blank, which is part of the name")
    } else if text.contains(TYPOGRAPHIC) {
        Some("a path with a typographic quote in it, which is part of the name")
    } else {
        None
    }
}
