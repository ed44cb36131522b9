// SPDX-License-Identifier: Apache-2.0
//! systemd's unit syntax, for the units of an unbooted image and for drop-ins: read only, ours are written whole.
//!
//! Follows `config_parse` (systemd src/shared/conf-parser.c, v240 and later): comment lines are skipped even between
//! continued lines, a blank line ends a continuation, the backslash becomes a space. `%` specifiers stay as written.

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
struct Entry {
    section: String,
    key: String,
    value: String,
}

/// A line that systemd warns about or refuses.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// From 1; for a continued line, its last one.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// systemd stops here and does not load the unit; otherwise it ignores the line.
    pub fatal: bool,
}

/// The assignments of one unit file or drop-in, or of several merged.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct UnitText {
    entries: Vec<Entry>,
    problems: Vec<Problem>,
}

impl UnitText {
    /// Reads one file. What systemd ignores is left out; what it refuses ends the reading, see [`UnitText::problems`].
    #[must_use]
    pub fn parse(text: &str) -> UnitText {
        let mut reader = Reader::default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
        let mut number = 0;
        for line in text.split(['\n', '\r', '\0']) {
            number += 1;
            if !reader.physical(number, line) {
                return reader.unit;
            }
        }
        // A backslash at the very end continues into nothing.
        let last = std::mem::take(&mut reader.continued);
        reader.logical(number, &last);
        reader.unit
    }

    /// The unit as systemd puts it together: `fragments` in its order, the main file first, then the drop-ins.
    #[must_use]
    pub fn merge(fragments: impl IntoIterator<Item = UnitText>) -> UnitText {
        let mut whole = UnitText::default();
        for fragment in fragments {
            whole.entries.extend(fragment.entries);
            whole.problems.extend(fragment.problems);
        }
        whole
    }

    /// Every value assigned to `key`, as written, empty ones (which reset) included.
    #[must_use]
    pub fn values(&self, section: &str, key: &str) -> Vec<&str> {
        let wanted = self.entries.iter().filter(|e| e.section == section && e.key == key);
        wanted.map(|e| e.value.as_str()).collect()
    }

    /// The value of a setting that holds one (`Group=`): the last; None if that is empty, which means the default.
    #[must_use]
    pub fn last(&self, section: &str, key: &str) -> Option<&str> {
        self.values(section, key).pop().filter(|value| !value.is_empty())
    }

    /// The values of a setting that adds up (`ExecStartPre=`, `EnvironmentFile=`): those after the last empty one.
    #[must_use]
    pub fn list(&self, section: &str, key: &str) -> Vec<&str> {
        let mut values = self.values(section, key);
        let after_reset = values.iter().rposition(|value| value.is_empty()).map_or(0, |at| at + 1);
        values.drain(..after_reset);
        values
    }

    /// What systemd would complain of.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

/// systemd's `WHITESPACE`, without the line ends that are split off.
fn strip(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[derive(Default)]
struct Reader {
    unit: UnitText,
    section: Option<String>,
    continued: String,
}

impl Reader {
    /// Takes one line of the file; false where systemd would stop.
    fn physical(&mut self, number: usize, line: &str) -> bool {
        if strip(line).starts_with(['#', ';']) {
            return true;
        }
        let mut joined = std::mem::take(&mut self.continued);
        joined.push_str(line);
        let backslashes = joined.len() - joined.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            joined.pop();
            joined.push(' ');
            self.continued = joined;
            return true;
        }
        self.logical(number, &joined)
    }

    fn logical(&mut self, number: usize, line: &str) -> bool {
        let line = strip(line);
        if line.is_empty() {
            return true;
        }
        if let Some(header) = line.strip_prefix('[') {
            return self.header(number, header);
        }
        let Some(section) = self.section.clone() else {
            return self.ignored(number, "an assignment outside of a section");
        };
        match line.split_once('=') {
            None => self.ignored(number, "no '=' in the line"),
            Some(("", _)) => self.ignored(number, "no key before '='"),
            Some((key, value)) => {
                let (key, value) = (strip(key).to_owned(), strip(value).to_owned());
                self.unit.entries.push(Entry { section, key, value });
                true
            }
        }
    }

    fn header(&mut self, number: usize, header: &str) -> bool {
        let Some(name) = header.strip_suffix(']') else {
            let what = "a section header without ']'".to_owned();
            self.unit.problems.push(Problem { line: number, what, fatal: true });
            return false;
        };
        self.section = Some(name.to_owned());
        true
    }

    fn ignored(&mut self, line: usize, what: &str) -> bool {
        self.unit.problems.push(Problem { line, what: what.to_owned(), fatal: false });
        true
    }
}
