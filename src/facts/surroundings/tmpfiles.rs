// SPDX-License-Identifier: Apache-2.0
//! tmpfiles.d(5): who else sets owner and mode of a path at boot.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use crate::base::paths;
use crate::base::root::Root;

/// A file in an earlier one of these hides its namesake in a later one.
const DIRECTORIES: [&str; 3] = ["/etc/tmpfiles.d", "/run/tmpfiles.d", "/usr/lib/tmpfiles.d"];
/// Types that make a directory or adjust one (`z`, `Z`: no more than that).
const KINDS: [char; 6] = ['d', 'D', 'v', 'e', 'z', 'Z'];

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TmpfilesLine {
    /// The file it stands in.
    pub file: PathBuf,
    /// The path it is about.
    pub path: PathBuf,
    /// The mode it sets, if it does.
    pub mode: Option<u32>,
    /// User as written.
    pub user: Option<String>,
    /// Group as written.
    pub group: Option<String>,
}

pub(super) fn read(root: &Root, directories: &[&Path]) -> Result<Vec<TmpfilesLine>> {
    // One for each dataplane that the configuration declares, as well.
    let ours = paths::TMPFILES.trim_end_matches(".conf").as_bytes();
    let is_ours = |file: &PathBuf| file.as_os_str().as_encoded_bytes().starts_with(ours);
    let mut found = Vec::new();
    for file in root.in_force(DIRECTORIES, "conf")?.into_values().filter(|file| !is_ours(file)) {
        // What is no text, or a link that is not to be followed, is systemd's matter.
        let Ok(Some(text)) = root.read_text(&file) else { continue };
        let lines = parse_tmpfiles(&file, &text);
        found.extend(lines.into_iter().filter(|line| directories.contains(&line.path.as_path())));
    }
    Ok(found)
}

/// Lines that set owner or mode of a directory.
pub fn parse_tmpfiles(file: &Path, text: &str) -> Vec<TmpfilesLine> {
    let set = |word: Option<&str>| {
        let word = word.filter(|word| *word != "-")?;
        // ":" is for new entries only, "~" masks: neither takes a mode back from what is there.
        (!word.starts_with([':', '~'])).then(|| word.to_string())
    };
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let kind = words.next()?;
        if !kind.starts_with(KINDS) {
            return None;
        }
        let path = words.next()?.trim_matches('"').trim_end_matches('/');
        let path = path.strip_prefix("/var/run").map_or(path.to_string(), |rest| format!("/run{rest}"));
        let mode = set(words.next()).and_then(|mode| u32::from_str_radix(&mode, 8).ok());
        let (user, group) = (set(words.next()), set(words.next()));
        Some(TmpfilesLine { file: file.to_path_buf(), path: PathBuf::from(path), mode, user, group })
    };
    text.lines().filter_map(line).collect()
}
