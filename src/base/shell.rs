// SPDX-License-Identifier: Apache-2.0
//! Words for a shell: a command that is printed may be pasted, whatever a guest or a port is called.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// One word of POSIX sh that stands for exactly this text.
pub fn quote(text: &str) -> String {
    quote_bytes(text.as_bytes())
}

/// The same for a path.
pub fn path(path: &Path) -> String {
    quote_bytes(path.as_os_str().as_bytes())
}

/// Needs no quoting anywhere: neither in a shell nor in sed's or OVSDB's own languages.
pub fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte);
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(plain)
}

fn quote_bytes(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else { return printed(bytes) };
    if is_plain(text) {
        return text.to_string();
    }
    // What a terminal would act on, or show as something else, is written as its bytes.
    if crate::base::text::clean(text) != text || text.contains(['\n', '\t']) {
        return printed(bytes);
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The bytes in octal. The shell drops newlines at the very end, and what is left could be the name of something else: a
/// slash behind them keeps them, and a path is still that of the same directory, or of nothing.
fn printed(bytes: &[u8]) -> String {
    let mut octal = String::new();
    for byte in bytes {
        let _ = write!(octal, "\\{byte:03o}");
    }
    if bytes.ends_with(b"\n") {
        octal.push_str("\\057");
    }
    format!("\"$(printf '{octal}')\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_a_word_for_what_it_was() {
        let hostile = [
            "vhu0",
            "",
            "-x",
            "a b",
            "it's",
            "$(reboot)",
            "`x`;&|<>",
            "a\"b\\c",
            "\u{1b}[2J",
            "a\nb",
            "ä\u{202e}",
            "#",
            "~",
            "*",
        ];
        for text in hostile {
            let script = format!("printf %s {}", quote(text));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), text, "{script}");
            assert!(!quote(text).chars().any(char::is_control), "{text:?}");
        }
        let output =
            std::process::Command::new("sh").args(["-c", &format!("printf %s {}", quote("a\n"))]).output();
        assert_eq!(output.unwrap().stdout, b"a\n/", "not the name of another");
        assert_eq!(quote("/run/openvswitch/vhu0"), "/run/openvswitch/vhu0");
    }
}
