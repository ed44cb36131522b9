// SPDX-License-Identifier: Apache-2.0
//! logrotate's `create MODE OWNER GROUP` (logrotate(8)): who owns the new log. A daemon that is told to open it again does so
//! with its own ids.

use std::fmt::Write as _;

/// What begins lines of a shell script, which end at `endscript`.
const SCRIPTS: [&str; 5] = ["prerotate", "postrotate", "firstaction", "lastaction", "preremove"];

/// The lines, ends included, and whether they are directives; those of scripts are not.
fn lines(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut in_script = false;
    text.split_inclusive('\n').map(move |line| {
        let word = line.split_whitespace().next().unwrap_or_default();
        in_script = if in_script { word != "endscript" } else { SCRIPTS.contains(&word) };
        (line, !in_script)
    })
}

/// The owners that the `create` lines name.
pub fn owners(text: &str) -> Vec<&str> {
    let directives = lines(text).filter(|(_, directive)| *directive);
    directives.filter_map(|(line, _)| create(line).map(|(_, owner, _)| owner)).collect()
}

/// The text with every `create` line naming `owner`; every other byte stays.
pub fn set_owner(text: &str, owner: &str) -> String {
    let mut edited = String::with_capacity(text.len() + owner.len());
    for (line, directive) in lines(text) {
        match create(line).filter(|_| directive) {
            Some((before, _, after)) => {
                let _ = write!(edited, "{before}{owner}{after}");
            }
            None => edited.push_str(line),
        }
    }
    edited
}

/// What is before the owner, the owner, and what is after it.
fn create(line: &str) -> Option<(&str, &str, &str)> {
    let mut words = line.split_whitespace();
    let (directive, mode, owner) = (words.next()?, words.next()?, words.next()?);
    let is_mode = mode.bytes().all(|byte| byte.is_ascii_digit());
    if directive != "create" || !is_mode {
        return None;
    }
    let start = owner.as_ptr().addr() - line.as_ptr().addr();
    Some((&line[..start], owner, &line[start + owner.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str =
        "/var/log/openvswitch/*.log {\n    daily\n    create 640 root adm\n    # create 1 2 3\n}\n";

    #[test]
    fn only_the_owner_changes_and_it_goes_back() {
        assert_eq!(owners(DEBIAN), ["root"]);
        let edited = set_owner(DEBIAN, "openvswitch");
        assert_eq!(edited, DEBIAN.replace("640 root adm", "640 openvswitch adm"));
        assert_eq!(set_owner(&edited, "openvswitch"), edited);
        assert_eq!(set_owner(&edited, "root"), DEBIAN);
    }

    #[test]
    fn a_script_is_no_directive() {
        let text = "x {\n postrotate\n create 1 2 3\n endscript\n create 640 root adm\n}\n";
        assert_eq!(owners(text), ["root"]);
        assert_eq!(set_owner(text, "a"), text.replace("root", "a"));
    }

    #[test]
    fn a_create_without_owner_is_left() {
        let text = "create 640\ncreate\ncreatefiles 1 root x\n";
        assert_eq!(set_owner(text, "openvswitch"), text);
    }
}
