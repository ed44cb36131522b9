// SPDX-License-Identifier: Apache-2.0
//! udev(7): rules that give device nodes to the shared group, which is none of the system's by its number.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use crate::base::root::Root;
use crate::facts::versions::of_library;

/// A file in an earlier one of these hides its namesake in a later one.
const DIRECTORIES: [&str; 4] =
    ["/etc/udev/rules.d", "/run/udev/rules.d", "/usr/local/lib/udev/rules.d", "/usr/lib/udev/rules.d"];
/// systemd's own limit where nothing else is said (meson_options.txt, `system-gid-max`).
const SYSTEM_GIDS_END: u32 = 999;

/// A rule that systemd passes over, or is to pass over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UdevRule {
    /// The file it stands in.
    pub file: PathBuf,
    /// The group as written, a name or a number.
    pub group: String,
    /// systemd's version.
    pub systemd: u32,
}

/// The shared group's rules, where it has another number than system groups have and systemd (since 258) minds.
pub(super) fn read(root: &Root, (group, gid): (&str, u32)) -> Result<Vec<UdevRule>> {
    let Some(systemd) = systemd_version(root)?.filter(|version| *version >= 258) else {
        return Ok(Vec::new());
    };
    let login = root.read_text(Path::new("/etc/login.defs"))?.unwrap_or_default();
    if gid <= system_gids_end(&login) {
        return Ok(Vec::new());
    }
    let names = [group.to_string(), gid.to_string()];
    let mut found: Vec<UdevRule> = Vec::new();
    for file in root.in_force(DIRECTORIES, "rules")?.into_values() {
        let Ok(Some(text)) = root.read_text(&file) else { continue };
        for group in names.iter().filter(|name| gives_to(&text, name)) {
            found.push(UdevRule { file: file.clone(), group: group.clone(), systemd });
        }
    }
    Ok(found)
}

/// The version of systemd that is installed: its library has it in its name.
fn systemd_version(root: &Root) -> Result<Option<u32>> {
    if let Some(report) = root.report() {
        let said = report.outputs("systemctl --version");
        return Ok(said.iter().find_map(|text| text.split_whitespace().nth(1)?.parse().ok()));
    }
    let version =
        |name: &str| name.strip_prefix("libsystemd-shared-")?.split(['.', '-', '~']).next()?.parse().ok();
    of_library(root, "systemd", version)
}

/// login.defs(5): an administrator may have moved the end, and a systemd that is built to looks there.
fn system_gids_end(login: &str) -> u32 {
    let set = login.lines().filter_map(|line| line.trim_start().strip_prefix("SYS_GID_MAX"));
    set.filter_map(|value| value.trim().parse().ok())
        .next_back()
        .unwrap_or(SYSTEM_GIDS_END)
        .max(SYSTEM_GIDS_END)
}

/// Does a rule say `GROUP="name"`, or `GROUP:="name"`?
fn gives_to(text: &str, name: &str) -> bool {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.flat_map(|line| line.split([',', ' ', '\t'])).any(|word| {
        let value = word.strip_prefix("GROUP").map(|rest| rest.strip_prefix(':').unwrap_or(rest));
        let value = value.and_then(|rest| rest.strip_prefix("=\"")).and_then(|rest| rest.strip_suffix('"'));
        value == Some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_for_the_group_is_told_from_others() {
        for text in [
            "ACTION==\"add\", SUBSYSTEM==\"vfio*\", GROUP=\"hugetlbfs\", MODE=\"0660\"\n",
            "SUBSYSTEM==\"vfio*\",GROUP:=\"hugetlbfs\"\n",
        ] {
            assert!(gives_to(text, "hugetlbfs"), "{text}");
        }
        for text in [
            "# GROUP=\"hugetlbfs\"\n",
            "GROUP==\"hugetlbfs\", MODE=\"0660\"\n",
            "ENV{GROUP}=\"hugetlbfs\"\n",
            "GROUP=\"hugetlbfs2\"\n",
            "RUN+=\"/usr/bin/chgrp hugetlbfs $devnode\"\n",
        ] {
            assert!(!gives_to(text, "hugetlbfs"), "{text}");
        }
    }

    #[test]
    fn the_version_is_in_a_librarys_name() {
        for (library, version) in [
            ("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-262.so", Some(262)),
            ("usr/lib64/systemd/libsystemd-shared-258.4-1.fc43.so", Some(258)),
            ("usr/lib/systemd/libsystemd-shared-252.so", Some(252)),
            ("usr/lib/systemd/libsystemd-core-262.so", None),
        ] {
            let tree = tempfile::tempdir().unwrap();
            let path = tree.path().join(library);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
            assert_eq!(systemd_version(&Root::open(tree.path()).unwrap()).unwrap(), version, "{library}");
        }
    }

    #[test]
    fn only_a_line_that_counts_moves_the_end() {
        assert_eq!(system_gids_end("#SYS_GID_MAX 60000\nGID_MAX 60000\n"), 999);
        assert_eq!(system_gids_end("SYS_GID_MAX\t\t60000\n"), 60000);
    }
}
