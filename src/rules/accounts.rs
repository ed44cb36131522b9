// SPDX-License-Identifier: Apache-2.0
//! Groups and their numbers.

use super::{Case, Evidence};
use crate::items::{Change, Held, Renumber};

rules! {
    Broken "account-missing" [Change(missing)]
        cause: "QEMU and OVS have no group in common, so neither can open what the other creates",
        effect: "a VM does not start, hangs or has no network: 'Permission denied'",
        see: "getent group hugetlbfs; id openvswitch",
        fix: "vhost-accord apply",
        source: "OVS lib/daemon-unix.c: the daemon must be in its group",
    Broken "group-renumbered" [Change(renumbered)]
        cause: "files and running processes still have the old number, so QEMU and OVS have no group in common",
        effect: "after the next restart VMs fail with 'Permission denied'",
        see: "getent group hugetlbfs; find / -xdev -nogroup",
        fix: "vhost-accord apply restores the number of the group and of its files",
        source: "TripleO, launchpad 1712732; tripleo-ansible workarounds.yml",
    Advice "group-not-the-contract" [Once(not_the_contract)]
        cause: "containers know the group by its number only (42477 in the images of TripleO, kolla and EDPM)",
        effect: "VMs on this node work; QEMU or OVS in a container gets 'Permission denied'",
        see: "getent group hugetlbfs; the same inside the container",
        fix: "vhost-accord apply --renumber --restart, or gid-mismatch = keep",
        source: "kolla kolla/common/users.py, TripleO and EDPM: gid 42477",
    Broken "group-sources-disagree" [Once(sources_disagree)]
        cause: "programs get different numbers, depending on the source that they ask",
        effect: "new files get different groups, depending on the program that creates them",
        see: "getent -s files group hugetlbfs; getent -s altfiles group hugetlbfs",
        fix: "give the group the same number in every source of 'group:' in nsswitch.conf",
        source: "okd 2360 (passwd and altfiles disagree after an image update)",
}

fn missing(_: &Case<'_>, change: &Change) -> Option<Evidence> {
    let is_account = matches!(change, Change::Group(_) | Change::User(_) | Change::Member(_));
    is_account.then(|| Evidence::applies(change.target().0, "missing"))
}

fn renumbered(_: &Case<'_>, change: &Change) -> Option<Evidence> {
    let Change::Renumber(Held { item: Renumber { group, gid }, before }) = change else { return None };
    let seen = format!("gid {}, expected {gid}", before.gid?);
    Some(Evidence::applies(format!("group {group}"), seen))
}

fn not_the_contract(case: &Case<'_>) -> Option<Evidence> {
    let group = &case.accord.group;
    let seen = format!("gid {}, the contract is {}", group.gid, group.contract?);
    let fix =
        "vhost-accord apply --renumber --restart  # or set gid-mismatch=keep if no container uses the group";
    Some(Evidence::fixed_by(format!("group {}", group.name), seen, fix))
}

fn sources_disagree(case: &Case<'_>) -> Option<Evidence> {
    let name = &case.accord.group.name;
    let sources = &case.profile.accounts.sources;
    let agree = sources.windows(2).all(|pair| pair[0].gid == pair[1].gid);
    let seen: Vec<_> = sources.iter().map(|source| format!("{} has {}", source.name, source.gid)).collect();
    let fix = format!("give {name} the same number in every source of 'group:' in /etc/nsswitch.conf");
    (!agree).then(|| Evidence::fixed_by(format!("group {name}"), seen.join(", "), fix))
}
