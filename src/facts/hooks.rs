// SPDX-License-Identifier: Apache-2.0
//! libvirt's hooks as the daemon meets them. libvirt looks for hooks when it starts and when it is told to reload, and
//! calls none until the next time if there were none (src/util/virhook.c, virHookInitialize).

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use crate::paths;
use crate::root::{Handle, Kind, Root};

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
        let target = root.find(&path).ok().flatten();
        let executable = target
            .is_some_and(|target: Handle| target.kind() == Kind::File && target.mode() & EXECUTE_ANY != 0);
        found.push(Hook { path, executable, modified: entry.modified() });
    }
    Ok(found)
}
