// SPDX-License-Identifier: Apache-2.0
//! Messages with gaps. `{}` is what the message is about, `{*}` anything; everything else is letter by letter.

/// A subject longer than this is no name.
const LONGEST: usize = 4096;

/// `None`: not this message. `Some(None)`: it is, and is about nothing in particular.
pub fn find<'a>(pattern: &str, line: &'a str) -> Option<Option<&'a str>> {
    let head = pattern.split('{').next().unwrap_or_default();
    // A line of an attacker's making would cost its length for each place at which the message might begin.
    if !has_in_order(pattern, line) {
        return None;
    }
    if head.is_empty() {
        return follow(pattern, line);
    }
    let mut starts = line.match_indices(head).map(|(at, _)| at);
    starts.find_map(|at| follow(&pattern[head.len()..], &line[at + head.len()..]))
}

/// What is letter by letter is there, one behind the other.
fn has_in_order(pattern: &str, line: &str) -> bool {
    let mut rest = line;
    pattern
        .split('{')
        .map(|part| part.split_once('}').map_or(part, |(_, literal)| literal))
        .all(|literal| rest.find(literal).map(|at| rest = &rest[at + literal.len()..]).is_some())
}

fn follow<'a>(pattern: &str, line: &'a str) -> Option<Option<&'a str>> {
    let (mut pattern, mut line, mut subject) = (pattern, line, None);
    while let Some(rest) = pattern.strip_prefix('{') {
        let (gap, rest) = rest.split_once('}')?;
        let literal = rest.split('{').next().unwrap_or_default();
        let most = if gap.is_empty() { LONGEST + literal.len() + 2 } else { line.len() };
        let end = if literal.is_empty() { end_of_word(line) } else { beginning(line, most).find(literal)? };
        if gap.is_empty() {
            let name = line[..end].trim_matches(['\'', '"']);
            if name.len() > LONGEST || name.is_empty() {
                return None;
            }
            subject = Some(name);
        }
        line = &line[end + literal.len()..];
        pattern = &rest[literal.len()..];
    }
    Some(subject)
}

/// At most so many bytes.
pub(super) fn beginning(line: &str, most: usize) -> &str {
    let end = (0..=most.min(line.len())).rev().find(|end| line.is_char_boundary(*end));
    &line[..end.unwrap_or(0)]
}

/// A name at a pattern's end is one word, or what is in quotes.
fn end_of_word(line: &str) -> usize {
    let quote = line.chars().next().filter(|first| matches!(first, '\'' | '"'));
    match quote.and_then(|quote| line[1..].find(quote)) {
        Some(length) => length + 2,
        None => line.find([' ', '\t', '\'', '"', ',']).unwrap_or(line.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn gaps_are_filled() {
        let bind = "Failed to bind socket to {}: Permission denied";
        let line = "x: Failed to bind socket to /run/a b: Permission denied";
        assert_eq!(find(bind, line), Some(Some("/run/a b")));
        assert_eq!(find(bind, "Failed to bind socket to /run/a: Address already in use"), None);
        assert_eq!(find("a {} b {*} c {}", "a 1 b 22 c 'x' d"), Some(Some("x")));
        assert_eq!(find("needle", "hay needle hay"), Some(None));
        assert_eq!(find("f {}: P", "f : P"), None);
        assert_eq!(find("f {}: P", "f 1 f 2: P"), Some(Some("1 f 2")));
        assert_eq!(find("end {}", "end \u{e4}\u{e4}"), Some(Some("\u{e4}\u{e4}")));
    }
}
