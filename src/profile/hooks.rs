// SPDX-License-Identifier: Apache-2.0
//! Where libvirt takes its hooks from.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::base::paths;
use crate::base::root::{Kind, Root};
use crate::facts::versions::of_library;

/// The first libvirt that reads `qemu.d` (docs/hooks.rst: since 6.5.0), as its library counts.
const FIRST_WITH_DIRECTORY: u32 = 6005;

/// What is at `hooks/qemu`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MainHook {
    /// Nothing.
    Absent,
    /// A link to this program.
    Ours,
    /// Someone else's.
    Foreign,
}

/// libvirt's hooks for QEMU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hooks {
    /// Every executable in `hooks/qemu.d` is called, in the order of names, after `hooks/qemu`.
    pub reads_directory: bool,
    /// What is at `hooks/qemu`.
    pub main: MainHook,
}

pub(super) fn look(root: &Root) -> Result<Hooks> {
    let main = root.find_nofollow(&Path::new(paths::HOOKS).join("qemu"))?;
    let main = match main {
        None => MainHook::Absent,
        Some(found) if found.kind() == Kind::Symlink => {
            let ours = found.target()?.file_name() == Path::new(paths::PROGRAM).file_name();
            if ours { MainHook::Ours } else { MainHook::Foreign }
        }
        Some(_) => MainHook::Foreign,
    };
    // A library of unknown name is taken for a new one: a hook that is not read does no harm, and is found out.
    let reads_directory = library_version(root)?.is_none_or(|version| version >= FIRST_WITH_DIRECTORY);
    Ok(Hooks { reads_directory, main })
}

/// `libvirt.so.0.9000.0` is libvirt 9.0.0 (meson.build: `1000 * major + minor`).
fn library_version(root: &Root) -> Result<Option<u32>> {
    if let Some(report) = root.report() {
        let said = ["libvirtd --version", "virtqemud --version"]
            .into_iter()
            .filter_map(|ask| report.output(ask).ok());
        return Ok(said.into_iter().find_map(|text| told_version(&text)));
    }
    of_library(root, "", |name| name.strip_prefix("libvirt.so.0.")?.split('.').next()?.parse().ok())
}

/// `libvirtd (libvirt) 9.0.0`
fn told_version(text: &str) -> Option<u32> {
    let (_, version) = text.trim().split_once(" (libvirt) ")?;
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    Some(numbers.next()?? * 1000 + numbers.next()??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_tells_whether_the_directory_is_read() {
        let image = tempfile::tempdir().unwrap();
        let library = image.path().join("usr/lib/x86_64-linux-gnu");
        std::fs::create_dir_all(&library).unwrap();
        std::fs::create_dir_all(image.path().join("etc/libvirt/hooks")).unwrap();
        let root = Root::open(image.path()).unwrap();
        assert_eq!(look(&root).unwrap(), Hooks { reads_directory: true, main: MainHook::Absent });
        std::fs::write(library.join("libvirt.so.0.6004.0"), "").unwrap();
        std::fs::write(library.join("libvirt-qemu.so.0.9000.0"), "").unwrap();
        assert!(!look(&root).unwrap().reads_directory);
        std::fs::write(library.join("libvirt.so.0.6005.0"), "").unwrap();
        assert!(look(&root).unwrap().reads_directory);

        let main = image.path().join("etc/libvirt/hooks/qemu");
        std::os::unix::fs::symlink("/usr/bin/vhost-accord", &main).unwrap();
        assert_eq!(look(&root).unwrap().main, MainHook::Ours);
        std::fs::remove_file(&main).unwrap();
        std::fs::write(&main, "#!/bin/sh\n").unwrap();
        assert_eq!(look(&root).unwrap().main, MainHook::Foreign);
    }
}
