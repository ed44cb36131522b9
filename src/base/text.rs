// SPDX-License-Identifier: Apache-2.0
//! Makes foreign text safe to print: nothing in it that a terminal would act on.

/// Names come from guests, files and other programs: control characters are printed escaped.
pub fn clean(text: &str) -> String {
    if is_plain(text) {
        return text.to_string();
    }
    let mut cleaned = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => cleaned.push(character),
            hidden if is_hidden(hidden) => cleaned.extend(hidden.escape_unicode()),
            plain => cleaned.push(plain),
        }
    }
    cleaned
}

/// Safe already and one line, as most text is: there may be thousands of names and paths.
pub fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// The same in one line.
pub fn one_line(text: &str) -> String {
    clean(text).replace('\n', "\\n")
}

/// The most characters in a log line: foreign names can be very long.
const LONGEST: usize = 2000;

/// One line for the journal, or for libvirt's log.
pub fn log_line(text: &str) -> String {
    cut(&one_line(text).replace('\t', " "), LONGEST)
}

/// At most so many characters, and dots where there were more.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_string(),
    }
}

/// Characters that a terminal obeys, that break a line, that change the order in which others are shown, or that are not
/// seen at all, so that two names look the same (Unicode's general categories Cc, Cf, Zl and Zp).
pub fn is_hidden(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    let unseen = matches!(character,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}');
    unseen || character.is_control()
}

/// Letters to put in, take out or change (Levenshtein).
pub fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, wanted) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *wanted);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_never_driven_by_a_name() {
        assert_eq!(clean("vhu\x1b[2Jx"), "vhu\\u{1b}[2Jx");
        assert_eq!(clean("a\u{202e}b\u{9b}c"), "a\\u{202e}b\\u{9b}c");
        assert_eq!(clean("a\u{200b}b\u{2028}c\u{feff}"), "a\\u{200b}b\\u{2028}c\\u{feff}");
        assert_eq!(clean("pl\u{e4}in\tline\n"), "pl\u{e4}in\tline\n");
    }

    #[test]
    fn a_line_of_a_log_stays_one_and_ends() {
        assert_eq!(log_line("a\nb\tc\x1b[2J"), "a\\nb c\\u{1b}[2J");
        assert_eq!(log_line(&"\u{e4}".repeat(3000)).chars().count(), LONGEST + 3);
    }
}
