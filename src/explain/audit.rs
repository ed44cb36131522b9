// SPDX-License-Identifier: Apache-2.0
//! The fields of an audit record, in all the forms in which it is shown: raw records of auditd, the kernel's and the
//! journal's lines, `ausearch -i`, records of user space (USER_AVC).

/// The value of ` key=`: in quotes, bare, or (of names with blanks and the like) in hexadecimal, as the audit system writes.
pub(super) fn field(text: &str, key: &str) -> Option<String> {
    let start = text.match_indices(key).map(|(at, _)| at).find(|at| {
        let before = text[..*at].chars().next_back();
        before.is_none_or(|letter| letter == ' ') && text[at + key.len()..].starts_with('=')
    })?;
    let value = &text[start + key.len() + 1..];
    if let Some(quoted) = value.strip_prefix('"') {
        return quoted.split_once('"').map(|(value, _)| value.to_string());
    }
    let encoded = matches!(key, "path" | "name" | "comm" | "profile");
    let word = value.split([' ', '\t']).next().filter(|word| !word.is_empty())?;
    Some(match unhex(word).filter(|_| encoded) {
        Some(name) => name,
        // `ausearch -i` writes names with blanks as they are.
        None if encoded && value.starts_with('/') => interpreted(value).to_string(),
        None => word.trim_end_matches('\'').to_string(),
    })
}

/// A name goes on until the next ` key=`.
fn interpreted(value: &str) -> &str {
    let is_key = |rest: &str| {
        let word = rest.split([' ', '\t']).next().unwrap_or_default();
        word.split_once('=')
            .is_some_and(|(key, _)| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
    };
    let end = value.match_indices(' ').map(|(at, _)| at).take(64).find(|at| is_key(&value[at + 1..]));
    value[..end.unwrap_or(value.len())].trim_end()
}

fn unhex(word: &str) -> Option<String> {
    let digits = word.as_bytes();
    if digits.len() < 4 || !digits.len().is_multiple_of(2) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    Some(String::from_utf8_lossy(&bytes?).into_owned())
}
