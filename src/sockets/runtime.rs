// SPDX-License-Identifier: Apache-2.0
//! What DPDK leaves in the run directory when it runs as a user of its own: directories without anything in them.

use std::path::Path;

use anyhow::Result;

use crate::base::root::{Kind, Root};
use crate::base::text::log_line;
use crate::dataplane::ovs;
use crate::write;

/// Removes the empty directories, once nobody runs that would use them. The dataplane may have put anything in their
/// place: that is said and left, and is no reason to stop half-way.
pub fn clear(root: &Root) {
    for name in ["dpdk/rte", "dpdk"] {
        let path = Path::new(ovs::paths::RUN).join(name);
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
