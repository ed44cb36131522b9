// SPDX-License-Identifier: Apache-2.0
//! What DPDK leaves in the run directory when it runs as a user of its own: directories without anything in them.

use std::path::Path;

use anyhow::Result;

use super::{place, write};
use crate::paths;
use crate::root::{Kind, Root};

/// Removes the empty directories, once nobody runs that would use them.
pub fn clear(root: &Root) -> Result<()> {
    for name in ["dpdk/rte", "dpdk"] {
        let path = Path::new(paths::OVS_RUN).join(name);
        let Some(found) = root.find_nofollow(&path)? else { continue };
        if found.kind() == Kind::Directory && found.names()?.is_empty() {
            let (parent, name) = place(root, &path)?;
            write::remove_empty_directory(&parent, name)?;
        }
    }
    Ok(())
}
