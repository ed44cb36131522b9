// SPDX-License-Identifier: Apache-2.0
//! What is to be tried on this node: pure, from a survey.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::who::other_mounts;
use super::{Huge, NAME, Trial, Who};
use crate::config::{PortType, ServerAccess};
use crate::dataplane::ovs;
use crate::facts::mounts::HugetlbMount;
use crate::facts::processes::Process;
use crate::facts::sockets::Liveness;
use crate::items::{Change, Item};
use crate::node::live::Live;
use crate::survey::Survey;

/// libvirt's, for QEMU (src/qemu/qemu_process.c).
const QEMU_UMASK: u32 = 0o002;
/// systemd's, for services.
const SERVICE_UMASK: u32 = 0o022;

/// Every trial: each port type that must work, as each QEMU there is and as the next one. `agreed` is the group that the
/// hook gives sockets to, by what `apply` wrote.
pub fn trials(survey: &Survey, agreed: Option<u32>, huge: Option<&Huge>) -> Vec<Trial> {
    let Some(dataplane) = dataplane(survey) else { return Vec::new() };
    let mut trials = Vec::new();
    for kind in &survey.accord.modes {
        for qemu in qemus(survey) {
            trials.push(Trial {
                kind: *kind,
                dataplane: dataplane.clone(),
                qemu,
                directory: directory(survey, *kind),
                name: format!("{NAME}{}", std::process::id()),
                grant: agreed.filter(|_| grants(survey)),
                huge: huge.cloned(),
                live: live_sockets(survey, *kind),
            });
        }
    }
    trials
}

/// The running ovs-vswitchd, or what the accord makes it.
fn dataplane(survey: &Survey) -> Option<Who> {
    if let Some(process) = survey.live.as_ref().and_then(Live::vswitchd) {
        return Some(Who::of(process, SERVICE_UMASK));
    }
    let wanted = survey.accord.dataplane.as_ref()?;
    let capabilities = if wanted.privileged { crate::access::Identity::root().capabilities } else { 0 };
    let (uid, gid, umask) = (wanted.uid, wanted.gid, wanted.umask);
    Some(Who { uid, gid, groups: Vec::new(), umask, capabilities, mounts_of: None })
}

/// The next QEMU, and those that run and are someone else.
fn qemus(survey: &Survey) -> Vec<Who> {
    let mut found: Vec<Who> = next_qemu(survey).into_iter().collect();
    let guests = survey.live.iter().flat_map(|live| &live.guests);
    for process in guests.filter_map(|guest| guest.process.as_ref()) {
        // Whatever QEMU may still hold, libvirt takes all capabilities from it.
        let who = Who { capabilities: 0, ..Who::of(process, QEMU_UMASK) };
        if !found.iter().any(|other| key(other) == key(&who)) {
            found.push(who);
        }
    }
    found
}

/// What tells one from another.
fn key(who: &Who) -> (u32, u32, u32, BTreeSet<u32>, bool) {
    let others = who.groups.iter().copied().filter(|gid| *gid != who.gid).collect();
    (who.uid, who.gid, who.umask, others, who.mounts_of.is_some())
}

/// As libvirt starts it by today's qemu.conf, not as the accord wishes.
fn next_qemu(survey: &Survey) -> Option<Who> {
    let hypervisor = survey.profile.hypervisor.as_ref()?;
    let libvirt: Option<&Process> = survey.live.as_ref().and_then(|live| live.libvirt.as_ref());
    Some(Who {
        uid: hypervisor.user.uid,
        gid: hypervisor.group.gid,
        groups: hypervisor.groups.clone(),
        umask: QEMU_UMASK,
        capabilities: 0,
        mounts_of: libvirt.and_then(other_mounts),
    })
}

/// Where the sockets of this type are.
fn directory(survey: &Survey, kind: PortType) -> PathBuf {
    if kind == PortType::Dpdkvhostuserclient {
        return survey.accord.socket_directory.clone();
    }
    let switch = survey.live.as_ref().and_then(|live| live.switch.known());
    switch.map_or_else(|| PathBuf::from(ovs::paths::RUN), |switch| switch.config.server_directory())
}

/// Is somebody there who gives sockets away: the hook, or what the unit of ovs-vswitchd calls?
fn grants(survey: &Survey) -> bool {
    let gives = |change: &Change| match change {
        Change::Link(_) => true,
        Change::File(file) => file.item.content.contains("service vswitchd-post"),
        _ => false,
    };
    survey.accord.server_access == Some(ServerAccess::Grant)
        && survey.observed.iter().any(|change| gives(change) && change.holds())
}

/// Those that are there. One that OVS left and nobody listens on is no socket any more.
fn live_sockets(survey: &Survey, kind: PortType) -> Vec<PathBuf> {
    let sockets = survey.live.iter().flat_map(|live| &live.sockets).filter(|socket| socket.kind == kind);
    let there = sockets.filter(|socket| {
        let stale = kind == PortType::Dpdkvhostuser && socket.liveness == Liveness::Stale;
        socket.fact.node().is_some() && !stale
    });
    there.map(|socket| socket.path.clone()).collect()
}

/// The mount that QEMU takes its memory from: of those in the accord, the one with the default size of pages, or the first.
pub fn hugepages(survey: &Survey, mounts: &[HugetlbMount], default: Option<u64>) -> Option<HugetlbMount> {
    let ours = |mount: &&HugetlbMount| {
        survey.accord.items.iter().any(|item| match item {
            Item::Owner(owner) => owner.path == mount.path,
            _ => false,
        })
    };
    let mut usual = mounts.iter().filter(ours).filter(|mount| Some(mount.page_size) == default);
    usual.next().or_else(|| mounts.iter().find(ours)).or_else(|| mounts.first()).cloned()
}
