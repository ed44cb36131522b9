// SPDX-License-Identifier: Apache-2.0
//! Whether libvirt calls the hook at all.

use super::{Ask, Case, Evidence, Level, Rule};
use crate::accord::is_watch_link;
use crate::base::{paths, shell};
use crate::facts::hooks::Hook;
use crate::fixes;
use crate::items::{Change, Link, LinkState};
use crate::profile::MainHook;

pub const RULES: &[Rule] = &[
    Rule {
        id: "hook-missing",
        level: Level::Broken,
        cause: "libvirt does not call vhost-accord when a VM starts",
        asks: &[Ask::Node(missing)],
        effect: "a VM that cannot work starts, and fails or hangs without a message",
        see: "ls -l /etc/libvirt/hooks/qemu.d",
        fix: "vhost-accord apply",
        source: "libvirt docs/hooks.rst",
    },
    Rule {
        id: "hook-not-executable",
        level: Level::Broken,
        cause: "libvirt ignores a hook that it cannot execute",
        asks: &[Ask::Once(not_executable)],
        effect: "libvirt logs 'Non-executable hook script' and starts the VM unchecked",
        see: "ls -lL /etc/libvirt/hooks/qemu.d",
        fix: "chmod 0755 /usr/bin/vhost-accord",
        source: "libvirt src/util/virhook.c",
    },
    Rule {
        id: "hook-shadowed",
        level: Level::Advice,
        cause: "this libvirt (before 6.5) runs hooks/qemu only, and that file belongs to another program",
        asks: &[Ask::Once(shadowed)],
        effect: "VMs start unchecked",
        see: "head /etc/libvirt/hooks/qemu",
        fix: "call vhost-accord at the end of the existing hook",
        source: "libvirt docs/hooks.rst: qemu.d since 6.5.0",
    },
    Rule {
        id: "hook-not-picked-up",
        level: Level::Broken,
        cause: "libvirt looks for hooks only when it starts or reloads, and there was none at that time",
        asks: &[Ask::Once(not_picked_up)],
        effect: "VMs start unchecked until libvirt reloads",
        see: "systemctl show -p ActiveEnterTimestamp libvirtd; ls -l /etc/libvirt/hooks/qemu.d",
        fix: "systemctl reload libvirtd (or virtqemud)",
        source: "libvirt src/util/virhook.c; seen with 9.0",
    },
];

fn links<'a>(case: &Case<'a>) -> impl Iterator<Item = (&'a Link, &'a Option<LinkState>, bool)> {
    case.observed.iter().filter_map(|change| match change {
        Change::Link(held) if !is_watch_link(&held.item) => Some((&held.item, &held.before, change.holds())),
        _ => None,
    })
}

fn missing(case: &Case<'_>) -> Vec<Evidence> {
    let evidence = |(link, found, _): (&Link, &Option<LinkState>, bool)| {
        let path = link.path.display().to_string();
        match found.as_ref().map(|found| &found.target) {
            None => Evidence::applies(path, "missing"),
            Some(Some(target)) => Evidence::applies(path, format!("points to {}", target.display())),
            Some(None) => {
                let fix = format!("{} && {}", fixes::move_away(&link.path), fixes::APPLY);
                Evidence::fixed_by(path, "not a symlink of vhost-accord", fix)
            }
        }
    };
    links(case).filter(|(.., holds)| !holds).map(evidence).collect()
}

/// Ours as libvirt meets it, where it is what it shall be.
fn ours<'a>(case: &Case<'a>) -> Option<(&'a Link, &'a Hook)> {
    let (link, ..) = links(case).find(|(.., holds)| *holds)?;
    let hook = case.live?.hooks.iter().find(|hook| hook.path == link.path)?;
    Some((link, hook))
}

fn not_executable(case: &Case<'_>) -> Option<Evidence> {
    let (link, _) = ours(case).filter(|(_, hook)| !hook.executable)?;
    let fix = format!("chmod 0755 {}", shell::path(&link.target));
    let seen = format!("{} is missing or not executable", link.target.display());
    Some(Evidence::fixed_by(link.path.display().to_string(), seen, fix))
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
    let seen = format!("newer than the start of {} (pid {})", daemon.status.name, daemon.pid);
    let fix = format!("systemctl reload {}", shell::quote(unit));
    Some(Evidence::fixed_by(link.path.display().to_string(), seen, fix))
}
