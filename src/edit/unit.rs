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

/// The assignments of one unit file or drop-in, or of several merged.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct UnitText {
    entries: Vec<Entry>,
}

impl UnitText {
    /// Reads one file. What systemd ignores is left out; what it refuses ends the reading.
    #[must_use]
    pub fn parse(text: &str) -> UnitText {
        let mut reader = Reader::default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
        for line in text.split(['\n', '\r', '\0']) {
            if !reader.physical(line) {
                return reader.unit;
            }
        }
        // A backslash at the very end continues into nothing.
        let last = std::mem::take(&mut reader.continued);
        reader.logical(&last);
        reader.unit
    }

    /// The unit as systemd puts it together: `fragments` in its order, the main file first, then the drop-ins.
    #[must_use]
    pub fn merge(fragments: impl IntoIterator<Item = UnitText>) -> UnitText {
        let mut whole = UnitText::default();
        for fragment in fragments {
            whole.entries.extend(fragment.entries);
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
    /// Takes one line of the file; false where systemd would stop: at a section header without its bracket.
    fn physical(&mut self, line: &str) -> bool {
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
        self.logical(&joined)
    }

    fn logical(&mut self, line: &str) -> bool {
        let line = strip(line);
        if let Some(header) = line.strip_prefix('[') {
            self.section = header.strip_suffix(']').map(str::to_owned);
            return self.section.is_some();
        }
        if let (Some(section), Some((key, value))) = (&self.section, line.split_once('='))
            && !key.is_empty()
        {
            let (key, value) = (strip(key).to_owned(), strip(value).to_owned());
            self.unit.entries.push(Entry { section: section.clone(), key, value });
        }
        true
    }
}
