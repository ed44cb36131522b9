// SPDX-License-Identifier: Apache-2.0
//! Our place among libvirt's hooks, and what the hook must know.

use std::path::{Path, PathBuf};

use super::{Accord, Agreed, Ground};
use crate::base::paths;
use crate::items::{File, Item, Link};
use crate::profile::MainHook;

/// A link, not a copy: it is never older than the program, and libvirt ignores a link without a target. AppArmor's profile of
/// libvirtd lets programs in /usr/bin run unconfined (`PUx`), but programs in its hooks only in its own profile.
pub(super) fn items(_accord: &Accord, ground: &Ground<'_>) -> Vec<Item> {
    let Some(hypervisor) = &ground.profile.hypervisor else { return Vec::new() };
    let hooks = Path::new(paths::HOOKS);
    let path = match (hypervisor.hooks.reads_directory, &hypervisor.hooks.main) {
        (true, _) => hooks.join("qemu.d").join(paths::HOOK_NAME),
        (false, MainHook::Absent | MainHook::Ours) => hooks.join("qemu"),
        // The only place that this libvirt reads belongs to another program.
        (false, MainHook::Foreign) => return Vec::new(),
    };
    vec![Item::Link(Link { path, target: PathBuf::from(ground.program) })]
}

/// The rest of the accord, for the hook.
pub(super) fn agreed(accord: &Accord, items: &[Item]) -> Option<Item> {
    accord.qemu.as_ref()?;
    let content = Agreed::of(accord, items).text();
    Some(Item::File(File { path: PathBuf::from(paths::AGREED), content, unit: None }))
}
