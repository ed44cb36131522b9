// SPDX-License-Identifier: Apache-2.0
//! What people and scripts read. The only place that prints.

mod colour;
mod counters;
pub mod endpoints;
pub mod fleet;
pub mod monitor;
pub mod page;
pub mod prometheus;
mod table;

pub use crate::base::text::{clean, log_line, one_line};
pub use colour::{Style, colour};
pub use table::table;

use std::io::Write as _;
use std::path::Path;

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

/// Prints a value as JSON. What a terminal would act on is escaped in it, beyond what JSON asks for (RFC 8259, section 7).
pub fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    let mut escaped = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        if character != '\n' && crate::base::text::is_hidden(character) {
            let mut units = [0; 2];
            escaped.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            escaped.push(character);
        }
    }
    escaped.push('\n');
    out(&escaped);
    Ok(())
}
