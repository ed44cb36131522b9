// SPDX-License-Identifier: Apache-2.0
//! The watch service, enabled for the switch's unit, or for those of declared dataplanes if there is no switch: it runs while
//! one of them runs.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Accord, Ground, declared};
use crate::base::paths::{self, PACKAGED_UNITS};
use crate::config::{PortType, ServerAccess, WatchConfig};
use crate::items::{Item, Link};

/// The links that `systemctl enable` would make, for the units that this node has. As items they are in the journal, and `revert`
/// removes them. None if the service is not installed.
pub(super) fn items(accord: &Accord, ground: &Ground<'_>, watch: &WatchConfig) -> Vec<Item> {
    let grants = accord.gives
        && accord.has(PortType::Dpdkvhostuser)
        && accord.server_access == Some(ServerAccess::Grant);
    // What it grants, and to whom, is in the file for the hook.
    let wanted = accord.qemu.is_some() && watch.wanted(grants || !accord.declared.is_empty());
    if !wanted || !ground.profile.watcher {
        return Vec::new();
    }
    let units = match &ground.profile.dataplane {
        Some(dataplane) => BTreeSet::from([dataplane.switch_unit.as_str()]),
        None => declared::units(accord),
    };
    let link = |unit: &str| {
        let path = Path::new(paths::UNIT_DIRECTORY).join(format!("{unit}.wants")).join(paths::WATCH_UNIT);
        Item::Link(Link { path, target: Path::new(PACKAGED_UNITS[0]).join(paths::WATCH_UNIT) })
    };
    units.into_iter().map(link).collect()
}

/// Is it such a link?
pub fn is_watch_link(link: &Link) -> bool {
    link.path.file_name() == Some(paths::WATCH_UNIT.as_ref())
}
