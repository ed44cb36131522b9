// SPDX-License-Identifier: Apache-2.0
//! Colour, where a terminal shows it.

use std::io::IsTerminal as _;
use std::sync::LazyLock;

/// How a word is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// All is well; an added line.
    Good,
    /// Wants attention.
    Advice,
    /// Broken; a removed line.
    Bad,
    /// Less important.
    Dim,
    /// A heading, a command.
    Strong,
}

/// `text` in colour, if standard output is a terminal and `NO_COLOR` is not set.
pub fn colour(style: Style, text: &str) -> String {
    static WANTED: LazyLock<bool> =
        LazyLock::new(|| std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    let code = match style {
        Style::Good => 32,
        Style::Advice => 33,
        Style::Bad => 31,
        Style::Dim => 2,
        Style::Strong => 1,
    };
    if *WANTED { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
}
