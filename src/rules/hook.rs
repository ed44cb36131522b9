// SPDX-License-Identifier: Apache-2.0
//! Whether libvirt calls the hook at all.

use super::{Case, Evidence};
use crate::accord::is_watch_link;
use crate::base::{paths, shell};
use crate::facts::hooks::Hook;
use crate::fixes;
use crate::items::{Change, Held, Link};
use crate::profile::MainHook;

rules! {
    Broken "hook-missing" [Change(missing)]
        cause: "libvirt does not call vhost-accord when a VM starts",
        effect: "a VM that cannot work starts, and fails or hangs without a message",
        see: "ls -l /etc/libvirt/hooks/qemu.d",
        fix: "vhost-accord apply",
        source: "libvirt docs/hooks.rst",
    Broken "hook-not-executable" [Once(not_executable)]
        cause: "libvirt ignores a hook that it cannot execute",
        effect: "libvirt logs 'Non-executable hook script' and starts the VM unchecked",
        see: "ls -lL /etc/libvirt/hooks/qemu.d",
        fix: "chmod 0755 /usr/bin/vhost-accord",
        source: "libvirt src/util/virhook.c",
    Advice "hook-shadowed" [Once(shadowed)]
        cause: "this libvirt (before 6.5) runs hooks/qemu only, and that file belongs to another program",
        effect: "VMs start unchecked",
        see: "head /etc/libvirt/hooks/qemu",
        fix: "call vhost-accord at the end of the existing hook",
        source: "libvirt docs/hooks.rst: qemu.d since 6.5.0",
    Broken "hook-not-picked-up" [Once(not_picked_up)]
        cause: "libvirt looks for hooks only when it starts or reloads, and there was none at that time",
        effect: "VMs start unchecked until libvirt reloads",
        see: "systemctl show -p ActiveEnterTimestamp libvirtd; ls -l /etc/libvirt/hooks/qemu.d",
        fix: "systemctl reload libvirtd (or virtqemud)",
        source: "libvirt src/util/virhook.c; seen with 9.0",
}

fn link(change: &Change) -> Option<&Held<Link>> {
    match change {
        Change::Link(held) if !is_watch_link(&held.item) => Some(held),
        _ => None,
    }
}

fn missing(_: &Case<'_>, change: &Change) -> Option<Evidence> {
    let Held { item: link, before } = link(change)?;
    let path = link.path.display().to_string();
    Some(match before.as_ref().map(|found| &found.target) {
        None => Evidence::applies(path, "missing"),
        Some(Some(target)) => Evidence::applies(path, format!("points to {}", target.display())),
        Some(None) => {
            let fix = format!("{} && {}", fixes::move_away(&link.path), fixes::APPLY);
            Evidence::fixed_by(path, "not a symlink of vhost-accord", fix)
        }
    })
}

/// Ours as libvirt meets it, where it is what it shall be.
fn ours<'a>(case: &Case<'a>) -> Option<(&'a Link, &'a Hook)> {
    let link = &case.observed.iter().filter(|change| change.holds()).find_map(link)?.item;
    let hook = case.live?.hooks.iter().find(|hook| hook.path == link.path)?;
    Some((link, hook))
}

fn not_executable(case: &Case<'_>) -> Option<Evidence> {
    let (link, _) = ours(case).filter(|(_, hook)| !hook.executable)?;
    let fix = format!("chmod 0755 {}", shell::path(&link.target));
    let seen = format!("{} is missing or not executable", link.target.display());
    Some(Evidence::at(&link.path, seen, fix))
}

fn shadowed(case: &Case<'_>) -> Option<Evidence> {
    let hooks = &case.profile.hypervisor.as_ref()?.hooks;
    let path = format!("{}/qemu", paths::HOOKS);
    let fix = format!("end {path} with: exec {} hook \"$@\"", paths::PROGRAM);
    let is_shadowed = !hooks.reads_directory && hooks.main == MainHook::Foreign;
    is_shadowed.then(|| Evidence::fixed_by(path, "a hook of another program", fix))
}

/// With a hook that was there when the daemon last looked, ones that come later are found without a reload.
fn not_picked_up(case: &Case<'_>) -> Option<Evidence> {
    let ((link, hook), live, unit) =
        (ours(case)?, case.live?, &case.profile.hypervisor.as_ref()?.daemon_unit);
    let daemon = live.libvirt.as_ref().filter(|_| hook.executable)?;
    let looked = live.libvirt_reloaded?.max(daemon.started.at);
    let known = |other: &&Hook| other.path != link.path && other.executable && other.modified < looked;
    if hook.modified < looked || live.hooks.iter().find(known).is_some() {
        return None;
    }
    let seen = format!("newer than the start of {}", daemon.text());
    let fix = format!("systemctl reload {}", shell::quote(unit));
    Some(Evidence::at(&link.path, seen, fix))
}
