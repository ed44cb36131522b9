// SPDX-License-Identifier: Apache-2.0
//! systemd's quoting (systemd.syntax(7), "Quoting") and its command lines (systemd.service(5), "Command lines").

/// Splits text into words: `"a b"`, `'a b'` and backslash escapes as systemd has them. An unbalanced quote ends the text.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => word.get_or_insert_default().extend(escaped(&mut chars)),
            _ if Some(c) == quote => quote = None,
            '"' | '\'' if quote.is_none() => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            _ if c.is_ascii_whitespace() && quote.is_none() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// What stands behind a backslash. Octal and `\u` escapes, which no unit of this field has, stay as they are written.
fn escaped(chars: &mut std::str::Chars) -> Vec<char> {
    let Some(c) = chars.next() else { return vec!['\\'] };
    match c {
        'n' => vec!['\n'],
        't' => vec!['\t'],
        'r' => vec!['\r'],
        's' => vec![' '],
        '"' | '\'' | '\\' => vec![c],
        'x' => hex(chars),
        other => vec!['\\', other],
    }
}

fn hex(chars: &mut std::str::Chars) -> Vec<char> {
    let code =
        chars.as_str().get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(u8::is_ascii);
    let Some(code) = code else { return vec!['\\', 'x'] };
    chars.nth(1);
    vec![char::from(code)]
}

/// The arguments of an `Exec...=` line, without the prefixes of the program's name, split at ` ; `.
pub(super) fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for command in split(line).split(|word| word == ";") {
        let mut arguments = command.to_vec();
        let Some(first) = arguments.first_mut() else { continue };
        let plain = first.trim_start_matches(['-', '+', '!', ':', '|', '@']);
        let named_otherwise = first[..first.len() - plain.len()].contains('@');
        *first = plain.to_string();
        if named_otherwise {
            arguments.remove(0);
        }
        commands.push(arguments);
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_like_systemd() {
        assert_eq!(split(r#"A=b "C=d e"  'F=g "h"' I="j k"l"#), ["A=b", "C=d e", "F=g \"h\"", "I=j kl"]);
        assert_eq!(split(r#"a\x20b "\"q\"" \n \x2 \z ''"#), ["a b", "\"q\"", "\n", "\\x2", "\\z", ""]);
        assert_eq!(split(" \t "), [""; 0]);
        assert_eq!(split("\"open end"), ["open end"]);
    }

    #[test]
    fn takes_command_lines_apart() {
        assert_eq!(
            commands("-/bin/sh -c 'a b; c' ; +!/bin/true"),
            [vec!["/bin/sh", "-c", "a b; c"], vec!["/bin/true"]]
        );
        assert_eq!(commands("@/bin/sh name -x"), [["name", "-x"]]);
    }
}
