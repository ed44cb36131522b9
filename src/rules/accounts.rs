// SPDX-License-Identifier: Apache-2.0
//! Groups and their numbers.

use super::{Case, Evidence, Level, Rule};
use crate::accord::item::{Item, Renumber};
use crate::facts::state::{Observed, State};

pub const RULES: &[Rule] = &[
    Rule {
        id: "account-missing",
        level: Level::Broken,
        cause: "the shared group, or the dataplane's user or its membership, is what both sides meet in",
        check: missing,
    },
    Rule {
        id: "group-renumbered",
        level: Level::Broken,
        cause: "files and running processes keep the old number: the group no longer joins anyone",
        check: renumbered,
    },
    Rule {
        id: "group-not-the-contract",
        level: Level::Advice,
        cause: "containers know the group by its number only (42477 in TripleO's, kolla's and EDPM's images)",
        check: not_the_contract,
    },
    Rule {
        id: "group-sources-disagree",
        level: Level::Broken,
        cause: "which number a program gets depends on whom it asks",
        check: sources_disagree,
    },
];

fn missing(case: &Case<'_>) -> Vec<Evidence> {
    let is_account = |item: &Item| matches!(item, Item::Group(_) | Item::User(_) | Item::Member(_));
    case.observed
        .iter()
        .filter(|change| is_account(&change.item) && !change.holds())
        .map(|change| Evidence::applies(change.item.target().0, "not there"))
        .collect()
}

fn renumbered(case: &Case<'_>) -> Vec<Evidence> {
    let number = |change: &Observed| match (&change.item, &change.before) {
        (Item::Renumber(Renumber { group, gid }), State::Number { gid: Some(now), .. }) if now != gid => {
            Some((group.clone(), *gid, *now))
        }
        _ => None,
    };
    let found = case.observed.iter().find_map(number);
    let evidence = |(group, gid, now)| {
        Evidence::applies(format!("group {group}"), format!("gid {now}, the accord has {gid}"))
    };
    found.map(evidence).into_iter().collect()
}

fn not_the_contract(case: &Case<'_>) -> Vec<Evidence> {
    let group = &case.accord.group;
    let evidence = |contract| {
        let seen = format!("gid {}, the contract is {contract}", group.gid);
        let mend = "vhost-accord apply --renumber --restart  # or set gid-mismatch=keep where no container takes part";
        Evidence::mended_by(format!("group {}", group.name), seen, mend)
    };
    group.contract.map(evidence).into_iter().collect()
}

fn sources_disagree(case: &Case<'_>) -> Vec<Evidence> {
    let name = &case.accord.group.name;
    let sources = &case.profile.accounts.sources;
    let agree = sources.windows(2).all(|pair| pair[0].gid == pair[1].gid);
    let evidence = || {
        let seen: Vec<String> =
            sources.iter().map(|source| format!("{} says {}", source.name, source.gid)).collect();
        let mend = format!("make every source of 'group:' in /etc/nsswitch.conf give {name} the same number");
        Evidence::mended_by(format!("group {name}"), seen.join(", "), mend)
    };
    (!agree).then(evidence).into_iter().collect()
}
