// SPDX-License-Identifier: Apache-2.0
//! Environment files (`/etc/default/openvswitch-switch`, `/etc/sysconfig/openvswitch`) as systemd's `EnvironmentFile=`
//! reads them.
//!
//! The states are those of `parse_env_file_internal` (systemd src/basic/env-file.c, v254 and later). Before v254 a
//! comment that ends in a backslash swallowed the next line too; sh never did. Nothing is expanded: `$X` stays `$X`.
//! systemd drops names that are no identifiers, so `export K=v` sets no `K` here although it does in sh.

/// The assignments of one file, in order.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct EnvFile {
    entries: Vec<(String, String)>,
}

impl EnvFile {
    /// Reads `text`; systemd has no syntax errors here, what makes no sense is left out.
    #[must_use]
    pub fn parse(text: &str) -> EnvFile {
        let mut reader = Reader::default();
        for c in text.chars().take_while(|c| *c != '\0') {
            reader.step(c);
        }
        reader.finish();
        EnvFile { entries: reader.entries }
    }

    /// All assignments in the file's order, without their quotes: of repeated ones the last wins.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// `value` in double quotes, such that systemd (every version) and a POSIX shell read it back the same.
///
/// None for a value with a zero byte: no environment holds one.
#[must_use]
pub fn quote(value: &str) -> Option<String> {
    if value.contains('\0') {
        return None;
    }
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for c in value.chars() {
        if needs_escape(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    Some(quoted)
}

/// `SHELL_NEED_ESCAPE` of systemd's src/basic/escape.h; the same four as in POSIX 2.2.3.
fn needs_escape(c: char) -> bool {
    matches!(c, '"' | '\\' | '`' | '$')
}

fn is_newline(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

fn is_whitespace(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    BeforeKey,
    Key,
    BeforeValue,
    Value,
    ValueEscape,
    SingleQuote,
    DoubleQuote,
    DoubleQuoteEscape,
    Comment,
    CommentEscape,
}

#[derive(Default)]
struct Reader {
    state: State,
    key: String,
    value: String,
    /// Where the blanks begin that the value ends in, if it ends in blanks.
    trailing: Option<usize>,
    entries: Vec<(String, String)>,
}

impl Reader {
    fn step(&mut self, c: char) {
        self.state = match self.state {
            State::BeforeKey => self.before_key(c),
            State::Key => self.in_key(c),
            State::BeforeValue => self.before_value(c),
            State::Value => self.in_value(c),
            State::ValueEscape => {
                if !is_newline(c) {
                    self.value.push(c);
                }
                State::Value
            }
            State::SingleQuote if c == '\'' => State::BeforeValue,
            State::SingleQuote => self.keep(c),
            State::DoubleQuote if c == '"' => State::BeforeValue,
            State::DoubleQuote if c == '\\' => State::DoubleQuoteEscape,
            State::DoubleQuote => self.keep(c),
            State::DoubleQuoteEscape => self.double_quote_escape(c),
            State::Comment | State::CommentEscape if is_newline(c) => State::BeforeKey,
            State::Comment if c == '\\' => State::CommentEscape,
            State::Comment | State::CommentEscape => State::Comment,
        };
    }

    fn keep(&mut self, c: char) -> State {
        self.value.push(c);
        self.state
    }

    fn before_key(&mut self, c: char) -> State {
        match c {
            '#' | ';' => State::Comment,
            c if is_whitespace(c) => State::BeforeKey,
            c => {
                self.key.clear();
                self.key.push(c);
                State::Key
            }
        }
    }

    fn in_key(&mut self, c: char) -> State {
        match c {
            c if is_newline(c) => State::BeforeKey,
            '=' => State::BeforeValue,
            c => {
                self.key.push(c);
                State::Key
            }
        }
    }

    /// After `=`, and again after each closing quote: `"a" 'b'` is `ab`.
    fn before_value(&mut self, c: char) -> State {
        match c {
            c if is_newline(c) => self.push(),
            '\'' => State::SingleQuote,
            '"' => State::DoubleQuote,
            '\\' => State::ValueEscape,
            c if is_whitespace(c) => State::BeforeValue,
            c => {
                self.value.push(c);
                State::Value
            }
        }
    }

    /// Quotes mean nothing any more once a bare character came.
    fn in_value(&mut self, c: char) -> State {
        match c {
            c if is_newline(c) => {
                self.chomp();
                return self.push();
            }
            '\\' => {
                self.trailing = None;
                return State::ValueEscape;
            }
            c if is_whitespace(c) => self.trailing = self.trailing.or(Some(self.value.len())),
            _ => self.trailing = None,
        }
        self.keep(c)
    }

    fn double_quote_escape(&mut self, c: char) -> State {
        if !needs_escape(c) && c != '\n' {
            self.value.push('\\');
        }
        if c != '\n' {
            self.value.push(c);
        }
        State::DoubleQuote
    }

    fn chomp(&mut self) {
        if let Some(at) = self.trailing {
            self.value.truncate(at);
        }
    }

    fn push(&mut self) -> State {
        let key = self.key.trim_end_matches(is_whitespace).to_owned();
        self.entries.push((key, std::mem::take(&mut self.value)));
        self.trailing = None;
        State::BeforeKey
    }

    fn finish(&mut self) {
        match self.state {
            State::BeforeKey | State::Key | State::Comment | State::CommentEscape => return,
            State::Value => self.chomp(),
            _ => {}
        }
        self.push();
    }
}
