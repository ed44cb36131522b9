// SPDX-License-Identifier: Apache-2.0
//! What nodes have in common, and what one has alone.

use std::collections::HashMap;

use serde::Serialize;

use crate::facts::hugepages;
use crate::fingerprint::{Fingerprint, Identity};
use crate::rules::Finding;

/// Fewer nodes than this have a row and a column each.
const FEW: usize = 16;
/// More groups than this nobody can look at: the smallest become one.
const MOST_GROUPS: usize = 24;
/// What is not known, and differs from nothing.
const UNKNOWN: &str = "unknown";

/// Names and values of what is compared.
pub type Properties = Vec<(&'static str, String)>;

/// One thing in which a node is not like most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What.
    pub what: &'static str,
    /// Its value here.
    pub here: String,
    /// Its value on most nodes.
    pub most: String,
    /// On how many.
    pub nodes: usize,
}

#[derive(Debug)]
pub struct Grouped {
    /// The nodes of each group, the largest group first.
    pub groups: Vec<Vec<usize>>,
    pub of: Vec<usize>,
}

/// Where two nodes only differ, the one that is not like most is to be changed; what keeps a VM out is always told.
pub fn is_to_fix(finding: &Finding, target: &[Difference]) -> bool {
    let what = match finding.id {
        "peer-modes-differ" => "modes",
        "peer-gid-differs" => "shared group",
        "peer-qemu-identity-differs" => "QEMU",
        "peer-directory-differs" => finding.subject.as_str(),
        _ => return true,
    };
    target.iter().any(|difference| difference.what == what)
}

/// All that is compared of a node; free huge pages are not, which change from minute to minute.
pub fn properties(node: &Fingerprint) -> Properties {
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_string());
    let numbers = |who: &Identity| format!("{}:{}", who.user.id, who.group.id);
    let pages = node.pages.iter().filter(|pages| pages.total > 0);
    let pages: Vec<String> =
        pages.map(|pages| format!("{} of {}", pages.total, hugepages::text(pages.size))).collect();
    let mounts = node.pages.iter().filter(|pages| !pages.mounts.is_empty());
    let mounts: Vec<String> = mounts.map(|pages| hugepages::text(pages.size)).collect();
    let versions = &node.versions;
    vec![
        ("modes", node.modes.join(" ")),
        ("incoming", node.incoming.clone().unwrap_or_else(|| "as it is".to_string())),
        ("socket-directory", node.socket_directory.display().to_string()),
        ("vhost-sock-dir", or_unknown(node.server_directory.as_ref().map(|path| path.display().to_string()))),
        ("shared group", node.group.id.to_string()),
        ("QEMU", or_unknown(node.qemu.as_ref().map(numbers))),
        ("dataplane", or_unknown(node.dataplane.as_ref().map(numbers))),
        ("huge pages", pages.join(", ")),
        ("hugetlbfs mounts", mounts.join(", ")),
        ("libvirt version", or_unknown(versions.libvirt.clone())),
        ("QEMU version", or_unknown(versions.qemu.clone())),
        ("OVS version", or_unknown(versions.ovs.clone())),
        ("DPDK version", or_unknown(versions.dpdk.clone())),
        ("vhost-accord", node.program.clone()),
    ]
}

/// What in the properties is no part of the accord: it is installed, or reserved at boot.
const INSTALLED: [&str; 6] =
    ["huge pages", "libvirt version", "QEMU version", "OVS version", "DPDK version", "vhost-accord"];

/// The accord in 16 digits: nodes with other ones differ in it. `None` while a part of it is not known. The hash is FNV-1a, as
/// it is the same in every build.
pub fn hash(node: &Fingerprint) -> Option<String> {
    let properties = properties(node).into_iter().filter(|(what, _)| !INSTALLED.contains(what));
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for (what, value) in properties {
        if value == UNKNOWN {
            return None;
        }
        for byte in format!("{what}={value}\n").bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    Some(format!("{hash:016x}"))
}

/// Equal ones together.
pub fn group(all: &[Properties]) -> Grouped {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut known = HashMap::new();
    for (number, properties) in all.iter().enumerate() {
        let new = groups.len();
        let at = if all.len() <= FEW { new } else { *known.entry(properties).or_insert(new) };
        match groups.get_mut(at) {
            Some(group) => group.push(number),
            None => groups.push(vec![number]),
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    if groups.len() > MOST_GROUPS {
        let left: Vec<usize> = groups.split_off(MOST_GROUPS).concat();
        groups.push(left);
    }
    let mut of = vec![0; all.len()];
    for (number, group) in groups.iter().enumerate() {
        group.iter().for_each(|node| of[*node] = number);
    }
    Grouped { groups, of }
}

/// What all nodes of a group have.
pub fn common(all: &[Properties], group: &[usize]) -> Properties {
    let Some((first, others)) = group.split_first() else { return Properties::new() };
    let shared = |(number, _): &(usize, &(&'static str, String))| {
        others.iter().all(|node| all[*node][*number] == all[*first][*number])
    };
    all[*first].iter().enumerate().filter(shared).map(|(_, property)| property.clone()).collect()
}

/// For each node, in what it differs from the value that most have.
pub fn from_most(all: &[Properties]) -> Vec<Vec<Difference>> {
    let mut found = vec![Vec::new(); all.len()];
    for number in 0..all.first().map_or(0, Vec::len) {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        let known =
            all.iter().map(|properties| properties[number].1.as_str()).filter(|value| *value != UNKNOWN);
        known.for_each(|value| *counts.entry(value).or_default() += 1);
        // Of two that as many have, always the same.
        let most = counts.iter().max_by_key(|(value, count)| (**count, std::cmp::Reverse(**value)));
        let Some((most, nodes)) = most.map(|(value, count)| (*value, *count)) else { continue };
        for (properties, found) in all.iter().zip(&mut found) {
            let (what, here) = &properties[number];
            if here != most && here != UNKNOWN {
                found.push(Difference { what, here: here.clone(), most: most.to_string(), nodes });
            }
        }
    }
    found
}
