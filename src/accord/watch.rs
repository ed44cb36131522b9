// SPDX-License-Identifier: Apache-2.0
//! The service that watches, enabled for the switch's unit: it runs where a switch runs.

use std::path::Path;

use super::{Accord, Ground};
use crate::base::paths::{self, PACKAGED_UNITS};
use crate::config::{PortType, ServerAccess, WatchConfig};
use crate::items::{Item, Link};

/// As `systemctl enable` would, for the one unit that this node has: so the journal knows it, and `revert` disables it. Where
/// the service is not installed, nothing is asked for.
pub(super) fn items(accord: &Accord, ground: &Ground<'_>, watch: &WatchConfig) -> Option<Item> {
    let grants = accord.gives
        && accord.has(PortType::Dpdkvhostuser)
        && accord.server_access == Some(ServerAccess::Grant);
    let dataplane = ground.profile.dataplane.as_ref().filter(|_| ground.profile.watcher)?;
    // What it grants, and to whom, is in the file for the hook.
    accord.qemu.as_ref().filter(|_| watch.wanted(grants))?;
    let wants = format!("{}.wants", dataplane.switch_unit);
    let path = Path::new(paths::UNIT_DIRECTORY).join(wants).join(paths::WATCH_UNIT);
    let target = Path::new(PACKAGED_UNITS[0]).join(paths::WATCH_UNIT);
    Some(Item::Link(Link { path, target }))
}

/// Is it the one above?
pub fn is_watch_link(link: &Link) -> bool {
    link.path.file_name() == Some(paths::WATCH_UNIT.as_ref())
}
