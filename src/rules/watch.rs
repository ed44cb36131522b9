// SPDX-License-Identifier: Apache-2.0
//! The service that watches.

use super::{Case, Evidence};
use crate::accord::is_watch_link;
use crate::base::paths;
use crate::items::Change;

rules! {
    Advice "watch-not-running" [Once(not_running)]
        cause: "QEMU cannot connect to a dpdkvhostuser port that is added while OVS runs, and nothing reports changes by others",
        effect: "'virsh attach-device' fails with 'Permission denied' on a dpdkvhostuser port that was added after OVS started",
        see: "systemctl status vhost-accord-watch",
        fix: "vhost-accord apply, or systemctl start vhost-accord-watch",
        source: "OVS lib/netdev-dpdk.c: the socket is created when the port is; libvirt has no hook for hot-plug (docs/hooks.rst)",
}

fn not_running(case: &Case<'_>) -> Option<Evidence> {
    let link = case.observed.iter().find_map(|change| match change {
        Change::Link(held) if is_watch_link(&held.item) => Some(change.holds()),
        _ => None,
    });
    let unit = case.live.and_then(|live| live.units.iter().find(|unit| unit.name == paths::WATCH_UNIT));
    let serves = case.live.is_none_or(|live| live.vswitchd().is_some());
    let start = format!("systemctl start {}", paths::WATCH_UNIT);
    Some(match (link, unit) {
        (Some(false), _) => Evidence::applies(paths::WATCH_UNIT, "not enabled"),
        (Some(true), Some(unit)) if unit.load_state == "masked" => {
            let fix = format!("systemctl unmask {} && {start}", paths::WATCH_UNIT);
            Evidence::fixed_by(paths::WATCH_UNIT, "masked", fix)
        }
        // systemd starts one that failed again within a second.
        (Some(true), Some(unit)) if serves && !unit.is_active() && unit.active_state != "activating" => {
            Evidence::fixed_by(paths::WATCH_UNIT, unit.active_state.clone(), start)
        }
        _ => return None,
    })
}
