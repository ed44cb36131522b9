// SPDX-License-Identifier: Apache-2.0
//! The grammar, production by production as in virconf.c, so that the two can be compared.

use std::ops::Range;

use anyhow::{Result, bail};

use super::{Assignment, Value, VirConf};

/// Lists within lists beyond this are nobody's configuration, and the stack has an end.
const MAX_DEPTH: usize = 32;

struct Scanner<'a> {
    text: &'a str,
    pos: usize,
}

/// Reads a whole text.
pub(super) fn parse(text: &str) -> Result<VirConf> {
    let mut scanner = Scanner { text, pos: 0 };
    let mut conf = VirConf { text: text.to_owned(), assignments: Vec::new(), comments: Vec::new() };
    // Lines are counted once over the text.
    let (mut line, mut seen) = (1, 0);
    while scanner.pos < text.len() {
        scanner.skip(is_blank_or_eol);
        if scanner.peek() == Some(b'#') {
            conf.comments.push(scanner.comment());
        } else {
            let mut assignment = scanner.assignment()?;
            line += count_lines(&text.as_bytes()[seen..assignment.statement.start]);
            (assignment.line, seen) = (line, assignment.statement.start);
            conf.assignments.push(assignment);
        }
        scanner.separator()?;
    }
    Ok(conf)
}

fn count_lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|b| **b == b'\n').count()
}

fn is_eol(b: u8) -> bool {
    b == b'\n' || b == b'\r'
}

fn is_blank(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

fn is_blank_or_eol(b: u8) -> bool {
    is_blank(b) || is_eol(b)
}

/// A C string ends at its first zero byte; libvirt holds values as such.
fn as_c_string(raw: &str) -> String {
    raw.split('\0').next().unwrap_or_default().to_owned()
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.pos).copied()
    }

    fn rest(&self) -> &str {
        self.text.get(self.pos..).unwrap_or_default()
    }

    fn skip(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&wanted) {
            self.pos += 1;
        }
    }

    fn error<T>(&self, pos: usize, message: impl Into<String>) -> Result<T> {
        let pos = pos.min(self.text.len());
        let start = self.text[..pos].rfind('\n').map_or(0, |at| at + 1);
        let line = 1 + count_lines(&self.text.as_bytes()[..pos]);
        let column = 1 + self.text[start..pos].chars().count();
        bail!("line {line}: {} (column {column})", message.into())
    }

    fn comment(&mut self) -> Range<usize> {
        let start = self.pos;
        self.skip(|b| !is_eol(b));
        start..self.pos
    }

    fn assignment(&mut self) -> Result<Assignment> {
        let start = self.pos;
        let key = self.name()?;
        self.skip(is_blank);
        if self.peek() != Some(b'=') {
            return self.error(self.pos, format!("expected '=' after '{key}'"));
        }
        self.pos += 1;
        self.skip(is_blank);
        let value_start = self.pos;
        let value = self.value(0, "after '='")?;
        let literal = value_start..self.pos;
        self.skip(is_blank);
        if self.peek() == Some(b'#') {
            self.comment();
        }
        Ok(Assignment { key, value, statement: start..literal.end, literal, line: 0 })
    }

    fn name(&mut self) -> Result<String> {
        let start = self.pos;
        match self.peek() {
            Some(first) if first.is_ascii_alphabetic() => {}
            // libvirt tests for a name before it tests for the end, so a file of blank lines stops it.
            None => {
                return self.error(start, "expected a setting: libvirt refuses a file of blank lines only");
            }
            Some(_) => return self.error(start, "expected a setting's name (a letter first)"),
        }
        self.skip(|b| b.is_ascii_alphanumeric() || b == b'_');
        Ok(self.text[start..self.pos].to_owned())
    }

    fn separator(&mut self) -> Result<()> {
        self.skip(is_blank);
        match self.peek() {
            None => {}
            Some(b';') => {
                self.pos += 1;
                self.skip(is_blank_or_eol);
            }
            Some(b) if is_eol(b) => self.skip(is_blank_or_eol),
            Some(_) => return self.error(self.pos, "expected the end of the line after the value"),
        }
        Ok(())
    }

    fn value(&mut self, depth: usize, place: &str) -> Result<Value> {
        self.skip(is_blank);
        match self.peek() {
            Some(b'"' | b'\'') => self.string().map(Value::Text),
            Some(b'[') if depth >= MAX_DEPTH => self.error(self.pos, "the lists are nested too deeply"),
            Some(b'[') => self.list(depth).map(Value::List),
            Some(b'0'..=b'9' | b'-' | b'+') => self.integer().map(Value::Integer),
            _ => self
                .error(self.pos, format!("expected a value {place} (a quoted string, a number or a [list])")),
        }
    }

    fn string(&mut self) -> Result<String> {
        // virconf.c wants a byte more than six there: `""""""` at the very end of a file is not a string to it.
        if self.rest().starts_with("\"\"\"") && self.rest().len() > 6 {
            return self.long_string();
        }
        let (opening, quote) = (self.pos, self.peek());
        self.pos += 1;
        self.skip(|b| Some(b) != quote && !is_eol(b));
        if self.peek() != quote {
            return self.error(opening, "the string is not closed on its line");
        }
        self.pos += 1;
        Ok(as_c_string(&self.text[opening + 1..self.pos - 1]))
    }

    fn long_string(&mut self) -> Result<String> {
        let start = self.pos + 3;
        let Some(length) = self.text[start..].find("\"\"\"") else {
            return self.error(self.pos, "the string is not closed with \"\"\"");
        };
        self.pos = start + length + 3;
        Ok(as_c_string(&self.text[start..start + length]))
    }

    fn integer(&mut self) -> Result<i64> {
        let negative = self.peek() == Some(b'-');
        if matches!(self.peek(), Some(b'-' | b'+')) {
            self.pos += 1;
        }
        if !self.peek().is_some_and(|b| b.is_ascii_digit()) {
            return self.error(self.pos, "expected a digit");
        }
        let mut number: i64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            number = number.wrapping_mul(10).wrapping_add(i64::from(digit - b'0'));
            self.pos += 1;
        }
        Ok(if negative { number.wrapping_neg() } else { number })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Value>> {
        let opening = self.pos;
        let mut items = Vec::new();
        self.pos += 1;
        loop {
            self.skip(is_blank_or_eol);
            match self.peek() {
                Some(b']') => break,
                None => return self.error(opening, "the list is not closed with ']'"),
                Some(b'#') => return self.error(self.pos, "a comment cannot stand within a list"),
                Some(_) => items.push(self.value(depth + 1, "in the list")?),
            }
            self.skip(is_blank_or_eol);
            match self.peek() {
                Some(b',') => self.pos += 1,
                Some(b']') => break,
                None => return self.error(opening, "the list is not closed with ']'"),
                Some(b'#') => return self.error(self.pos, "a comment cannot stand within a list"),
                Some(_) => return self.error(self.pos, "expected ',' or ']' in the list"),
            }
        }
        self.pos += 1;
        Ok(items)
    }
}
