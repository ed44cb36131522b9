// SPDX-License-Identifier: Apache-2.0
//! What OVS leaves in its run directory: empty directories of DPDK, and pid files of killed daemons.

use std::path::Path;

use anyhow::Result;

use super::paths;
use super::vswitchd::{OVSDB_SERVER, VSWITCHD};
use crate::base::root::{Kind, Root};
use crate::base::text::log_line;
use crate::facts::processes;
use crate::write;

/// Removes the empty directories when no daemon runs. Anything else in their place is logged and not changed, because the
/// dataplane may have put it there.
pub fn clear(root: &Root) {
    for name in ["dpdk/rte", "dpdk"] {
        let path = Path::new(paths::RUN).join(name);
        if let Err(error) = clear_one(root, &path) {
            tracing::warn!("{}", log_line(&format!("{} is not removed: {error:#}", path.display())));
        }
    }
}

fn clear_one(root: &Root, path: &Path) -> Result<()> {
    let Some(found) = root.find_nofollow(path)? else { return Ok(()) };
    if found.kind() == Kind::Directory && found.names()?.is_empty() {
        let (parent, name) = root.place(path)?;
        write::remove_empty_directory(&parent, name)?;
    }
    Ok(())
}

/// Removes pid files of OVS's daemons that were killed: one that runs as another user cannot open them, and does not start
/// ("pidfile check failed", lib/daemon-unix.c).
pub fn remove_pid_files(root: &Root) -> Result<()> {
    for daemon in [VSWITCHD, OVSDB_SERVER] {
        let path = Path::new(paths::RUN).join(format!("{daemon}.pid"));
        let Some(file) = root.find_nofollow(&path)?.filter(|file| file.kind() == Kind::File) else {
            continue;
        };
        let pid = String::from_utf8_lossy(&file.read()?).trim().parse().ok();
        let process = pid.and_then(|pid| processes::by_pid(root, pid));
        if process.is_none_or(|process| process.status.name != daemon) {
            let (parent, name) = root.place(&path)?;
            write::remove_file(&parent, name, file.id())?;
        }
    }
    Ok(())
}
