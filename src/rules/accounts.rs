// SPDX-License-Identifier: Apache-2.0
//! Groups and their numbers.

use super::{Case, Evidence, Level, Rule};
use crate::items::{Change, Renumber};

pub const RULES: &[Rule] = &[
    Rule {
        id: "account-missing",
        level: Level::Broken,
        cause: "QEMU and OVS have no group in common, so neither can open what the other creates",
        check: missing,
    },
    Rule {
        id: "group-renumbered",
        level: Level::Broken,
        cause: "files and running processes still have the old number, so QEMU and OVS have no group in common",
        check: renumbered,
    },
    Rule {
        id: "group-not-the-contract",
        level: Level::Advice,
        cause: "containers know the group by its number only (42477 in the images of TripleO, kolla and EDPM)",
        check: not_the_contract,
    },
    Rule {
        id: "group-sources-disagree",
        level: Level::Broken,
        cause: "programs get different numbers, depending on the source that they ask",
        check: sources_disagree,
    },
];

fn missing(case: &Case<'_>) -> Vec<Evidence> {
    let is_account =
        |change: &Change| matches!(change, Change::Group(_) | Change::User(_) | Change::Member(_));
    case.observed
        .iter()
        .filter(|change| is_account(change) && !change.holds())
        .map(|change| Evidence::applies(change.target().0, "missing"))
        .collect()
}

fn renumbered(case: &Case<'_>) -> Vec<Evidence> {
    let number = |change: &Change| match change {
        Change::Renumber(held) if !change.holds() => Some((held.item.clone(), held.before.gid?)),
        _ => None,
    };
    let found = case.observed.iter().find_map(number);
    let evidence = |(Renumber { group, gid }, now)| {
        Evidence::applies(format!("group {group}"), format!("gid {now}, expected {gid}"))
    };
    found.map(evidence).into_iter().collect()
}

fn not_the_contract(case: &Case<'_>) -> Vec<Evidence> {
    let group = &case.accord.group;
    let evidence = |contract| {
        let seen = format!("gid {}, the contract is {contract}", group.gid);
        let fix = "vhost-accord apply --renumber --restart  # or set gid-mismatch=keep if no container uses the group";
        Evidence::fixed_by(format!("group {}", group.name), seen, fix)
    };
    group.contract.map(evidence).into_iter().collect()
}

fn sources_disagree(case: &Case<'_>) -> Vec<Evidence> {
    let name = &case.accord.group.name;
    let sources = &case.profile.accounts.sources;
    let agree = sources.windows(2).all(|pair| pair[0].gid == pair[1].gid);
    let evidence = || {
        let seen: Vec<String> =
            sources.iter().map(|source| format!("{} has {}", source.name, source.gid)).collect();
        let fix = format!("give {name} the same number in every source of 'group:' in /etc/nsswitch.conf");
        Evidence::fixed_by(format!("group {name}"), seen.join(", "), fix)
    };
    (!agree).then(evidence).into_iter().collect()
}
