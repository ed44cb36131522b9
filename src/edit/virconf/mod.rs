// SPDX-License-Identifier: Apache-2.0
//! libvirt's own configuration language, as `qemu.conf` is written in it.
//!
//! Follows virConf (src/util/virconf.c, read in libvirt 5.x to 6.x, compared with libvirt 9.0 running): of several
//! assignments of one key the **first** counts; keys are `[A-Za-z][A-Za-z0-9_]*`; strings have no escapes; a comment
//! within a list is an error; `;` separates like a line end; a carriage return alone ends a line.

mod parse;
mod set;

pub use set::{Previous, previous, restore, set_text};

use std::ops::Range;

use anyhow::Result;

/// A value as libvirt holds it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Value {
    /// A string in any of the three quotings.
    Text(String),
    /// A whole number; one too large for 64 bits wraps around, as in libvirt.
    Integer(i64),
    /// A list; libvirt allows lists within lists.
    List(Vec<Value>),
}

/// One `key = value`, with where it stands in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Assignment {
    key: String,
    value: Value,
    /// From the key's first byte to the value's last.
    statement: Range<usize>,
    literal: Range<usize>,
    line: usize,
}

/// A text that libvirt accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirConf {
    text: String,
    assignments: Vec<Assignment>,
    /// Comments that are statements of their own, from `#` to before the line's end.
    comments: Vec<Range<usize>>,
}

impl VirConf {
    /// Reads `text` as libvirt would.
    ///
    /// # Errors
    /// Where libvirt would refuse to start, in one line that does not quote the file: passwords live there; and lists nested deeper than any real file (libvirt has no limit but its stack).
    pub fn parse(text: &str) -> Result<VirConf> {
        parse::parse(text)
    }

    /// The value in effect: of several assignments the first one's. None where only a comment or nothing names `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value> {
        self.of(key).next().map(|a| a.value.clone())
    }

    /// The line of the assignment in effect, from 1.
    #[must_use]
    pub fn line_of(&self, key: &str) -> Option<usize> {
        self.of(key).next().map(|a| a.line)
    }

    /// The default that the packaged file shows in a commented-out line, such as `#group = "libvirt-qemu"`.
    ///
    /// Only lines with nothing between `#` and the key count (indented ones are examples in the prose above it). None
    /// where there is none, where it is a list, or where several such lines disagree.
    #[must_use]
    pub fn commented_default(&self, key: &str) -> Option<String> {
        let mut shown = self.templates(key).map(|(_, value)| value);
        let first = shown.next()?;
        shown.all(|other| other == first).then_some(first)
    }

    fn of<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Assignment> {
        self.assignments.iter().filter(move |a| a.key == key)
    }

    /// The comments that show one-line settings of `key`: where they stand, and the value.
    fn templates<'a>(&'a self, key: &'a str) -> impl Iterator<Item = (&'a Range<usize>, String)> {
        self.comments.iter().filter_map(move |span| {
            let body = &self.text[span.start + 1..span.end];
            if !body.starts_with(key) {
                return None;
            }
            match VirConf::parse(body).ok()?.get(key)? {
                Value::Text(text) => Some((span, text)),
                Value::Integer(number) => Some((span, number.to_string())),
                Value::List(_) => None,
            }
        })
    }
}
