// SPDX-License-Identifier: Apache-2.0
//! libvirt's hooks as the daemon meets them. libvirt looks for hooks when it starts and when it is told to reload, and
//! calls none until the next time if there were none (src/util/virhook.c, virHookInitialize).

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use crate::base::paths;
use crate::base::root::{Handle, Kind, Root};

/// Anybody's right to execute.
const EXECUTE_ANY: u32 = 0o111;

/// One entry that libvirt may call for a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// Where.
    pub path: PathBuf,
    /// libvirt can execute it.
    pub executable: bool,
    /// When the entry was made or written, in nanoseconds since 1970.
    pub modified: i128,
}

/// What is in `hooks/qemu` and `hooks/qemu.d`, in the order libvirt calls them.
pub fn read(root: &Root) -> Result<Vec<Hook>> {
    let hooks = Path::new(paths::HOOKS);
    let mut found: Vec<Hook> = Vec::new();
    let directory = hooks.join("qemu.d");
    let below = root.list(&directory)?.into_iter().map(|name| directory.join(name));
    for path in std::iter::once(hooks.join("qemu")).chain(below) {
        let Some(entry) = root.find_nofollow(&path)? else { continue };
        if entry.kind() == Kind::Directory {
            continue;
        }
        // A link that leads nowhere, or that is not to be trusted, is one that cannot be executed.
        let target = match root.report() {
            Some(_) => root.find(&path)?,
            None => root.find(&path).ok().flatten(),
        };
        let executable = target
            .is_some_and(|target: Handle| target.kind() == Kind::File && target.mode() & EXECUTE_ANY != 0);
        found.push(Hook { path, executable, modified: entry.known_modified()? });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn what_libvirt_would_call_in_its_order() {
        let image = tempfile::tempdir().unwrap();
        let hooks = image.path().join("etc/libvirt/hooks");
        std::fs::create_dir_all(hooks.join("qemu.d/directory")).unwrap();
        let script = |path: &str, mode| {
            std::fs::write(hooks.join(path), "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(hooks.join(path), PermissionsExt::from_mode(mode)).unwrap();
        };
        script("qemu", 0o755);
        script("qemu.d/10-not-executable", 0o644);
        symlink("../qemu", hooks.join("qemu.d/50-link")).unwrap();
        symlink("/nowhere", hooks.join("qemu.d/60-dangling")).unwrap();
        symlink("10-not-executable", hooks.join("qemu.d/70-to-that")).unwrap();
        let found = read(&Root::open(image.path()).unwrap()).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|hook| (hook.path.file_name().unwrap().to_str().unwrap(), hook.executable))
            .collect();
        let expected = [
            ("qemu", true),
            ("10-not-executable", false),
            ("50-link", true),
            ("60-dangling", false),
            ("70-to-that", false),
        ];
        assert_eq!(found, expected);
    }
}
