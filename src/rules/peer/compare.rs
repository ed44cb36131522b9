// SPDX-License-Identifier: Apache-2.0
//! Node by node: pure functions of two fingerprints, and of what was found of the VMs.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Compared, names};
use crate::base::paths::same_path;
use crate::config::PortType;
use crate::dataplane::ovs;
use crate::dataplane::ovs::ovsdb::VhostPort;
use crate::facts::Known;
use crate::facts::domains::{Domain, Endpoint, is_network_card};
use crate::facts::hugepages;
use crate::fingerprint::{Fingerprint, Identity, Pages, VERSION};
use crate::fixes;
use crate::node::endpoints::start::Facts;
use crate::rules::Evidence;

/// Both nodes.
#[derive(Debug)]
pub struct Nodes<'a> {
    /// This one.
    pub here: &'a Fingerprint,
    /// The one that VMs come from.
    pub there: &'a Fingerprint,
    /// The VMs that something keeps out.
    pub kept_out: BTreeSet<&'a str>,
}

pub fn newer(nodes: &Nodes<'_>, _: &Compared) -> Vec<Evidence> {
    let there = nodes.there;
    let seen = format!("its fingerprint has format {}, this vhost-accord reads {VERSION}", there.version);
    let fix = format!("install vhost-accord {} here as well", there.program);
    (there.version > VERSION).then(|| Evidence::fixed_by(there.name(), seen, fix)).into_iter().collect()
}

/// A key of the configuration, and `apply`, whose options may follow.
fn configure(key: &str, value: &str) -> String {
    format!("{} && {}", fixes::set_key(key, value), fixes::APPLY)
}

/// The port types that its network cards go with.
fn modes_of(vm: &Domain) -> impl Iterator<Item = &'static str> {
    vm.endpoints.iter().filter(|endpoint| is_network_card(endpoint)).map(mode_of)
}

fn mode_of(card: &Endpoint) -> &'static str {
    card.mode.port_type().as_str()
}

fn has_card(vm: &Domain, mode: &str) -> bool {
    modes_of(vm).any(|other| other == mode)
}

/// Has it a card of a type that is none of these, and whose port is still to be made?
pub fn has_other_mode(vm: &Domain, modes: &[String], facts: &Facts) -> bool {
    let Known::Known(join) = &facts.switch else { return false };
    let has_port = |path: &Path| {
        let named = |port: &VhostPort| path.file_name() == Some(port.name.as_ref());
        join.ports.iter().any(|port| named(port) || same_path(&join.expected_socket(port), path))
    };
    let cards = vm.endpoints.iter().filter(|endpoint| is_network_card(endpoint));
    let seconds_have = |path: &Path| facts.seconds.iter().any(|asked| asked.port_at(path).is_some());
    let is_made = |path: &Path| has_port(path) || seconds_have(path);
    let mut to_be_made = cards.filter(|card| !card.path.as_deref().is_some_and(is_made));
    to_be_made.any(|card| modes.iter().all(|mode| mode != mode_of(card)))
}

pub fn modes_differ(nodes: &Nodes<'_>, _: &Compared) -> Vec<Evidence> {
    let missing = modes_missing(nodes).filter(|(_, kept_out, _)| kept_out.is_empty());
    missing.map(|(mode, _, (seen, fix))| Evidence::fixed_by(mode, seen, fix)).collect()
}

pub fn mode_not_here(nodes: &Nodes<'_>, _: &Compared) -> Vec<Evidence> {
    let missing = modes_missing(nodes).filter(|(_, kept_out, _)| !kept_out.is_empty());
    missing.map(|(_, kept_out, (seen, fix))| Evidence::fixed_by(kept_out, seen, fix)).collect()
}

/// Types of ports that are set up there and not here, with the VMs that this keeps out: one that nothing is in the way of
/// may come with whatever it has.
fn modes_missing<'a>(nodes: &'a Nodes<'_>) -> impl Iterator<Item = (&'a str, String, (String, String))> {
    let here = nodes.here;
    let there = nodes.there.modes.iter().filter(|mode| here.incoming.is_none() && !here.modes.contains(mode));
    there.map(|mode| {
        let modes = here.modes.join(" ");
        let seen = format!("modes there has {mode}, here it is {modes}");
        let fix = match PortType::named(mode).is_some() {
            true => configure("modes", &format!("{modes} {mode}")),
            false => format!("install vhost-accord {} here as well", nodes.there.program),
        };
        let of_mode = nodes.there.vms.iter().map(|vm| &vm.domain).filter(|domain| has_card(domain, mode));
        let kept_out =
            of_mode.map(|domain| domain.name.as_str()).filter(|name| nodes.kept_out.contains(name));
        (mode.as_str(), names(kept_out), (seen, fix))
    })
}

pub fn directories(nodes: &Nodes<'_>, _: &Compared) -> Vec<Evidence> {
    let (here, there) = (nodes.here, nodes.there);
    let mut found = Vec::new();
    let mut differ = |key: &str, mine: &Path, other: &Path, fix: String| {
        if !same_path(mine, other) {
            let seen = format!("{} here, {} there", mine.display(), other.display());
            found.push(Evidence::fixed_by(key, seen, fix));
        }
    };
    let makes = |mode: PortType| there.modes.iter().any(|other| other == mode.as_str());
    if makes(PortType::Dpdkvhostuserclient) {
        let fix = configure("socket-directory", &there.socket_directory.display().to_string());
        differ("socket-directory", &here.socket_directory, &there.socket_directory, fix);
    }
    if let (Some(mine), Some(other), true) =
        (&here.server_directory, &there.server_directory, makes(PortType::Dpdkvhostuser))
    {
        let below = other.strip_prefix(ovs::paths::RUN).unwrap_or(other).display().to_string();
        let value = Some(below.as_str()).filter(|below| !below.is_empty());
        let fix = ovs::fixes::other_config("vhost-sock-dir", value);
        differ("vhost-sock-dir", mine, other, format!("{fix} && vhost-accord apply --restart"));
    }
    found
}

pub fn gid(nodes: &Nodes<'_>, _: &Compared) -> Vec<Evidence> {
    let (mine, other) = (&nodes.here.group, &nodes.there.group);
    let seen = format!("{} ({}) here, {} ({}) there", mine.id, mine.name, other.id, other.name);
    let fix = format!("{} --renumber --restart", configure("gid", &other.id.to_string()));
    if mine.id == other.id { Vec::new() } else { vec![Evidence::fixed_by("the shared group", seen, fix)] }
}

pub fn identity(nodes: &Nodes<'_>, _: &Compared) -> Vec<Evidence> {
    let (Some(mine), Some(other)) = (&nodes.here.qemu, &nodes.there.qemu) else { return Vec::new() };
    let text =
        |who: &Identity| format!("{}:{} ({}:{})", who.user.id, who.group.id, who.user.name, who.group.name);
    let numbers = |who: &Identity| (who.user.id, who.group.id);
    let seen = format!("{} here, {} there", text(mine), text(other));
    let fix = "use one number for QEMU's user on all nodes that share storage: user and group in /etc/libvirt/qemu.conf";
    if numbers(mine) == numbers(other) { Vec::new() } else { vec![Evidence::fixed_by("QEMU", seen, fix)] }
}

pub fn page_sizes(nodes: &Nodes<'_>, met: &Compared) -> Vec<Evidence> {
    nodes.there.pages.iter().filter_map(|pages| page_size(nodes, pages, met)).collect()
}

/// That VMs lack them is told by the rules about their start already.
fn page_size(nodes: &Nodes<'_>, there: &Pages, met: &Compared) -> Option<Evidence> {
    let size = there.size;
    let subject = format!("huge pages of {}", hugepages::text(size));
    let told = met.findings.iter().any(|finding| finding.subject.ends_with(&subject));
    if there.total == 0 || told {
        return None;
    }
    let here = nodes.here.pages.iter().find(|pages| pages.size == size);
    let (seen, fix) = match here {
        None => (
            "this kernel does not support that size".to_string(),
            format!("boot this node with hugepagesz={}K hugepages={}", size >> 10, there.total),
        ),
        Some(pages) if pages.total == 0 && pages.available == 0 => {
            (format!("none here, {} there", there.total), fixes::more_pages(fixes::POOLS, size, there.total))
        }
        Some(pages) if pages.mounts.is_empty() && !there.mounts.is_empty() => {
            ("no hugetlbfs of that size is mounted here".to_string(), fixes::mount_pages(size))
        }
        Some(_) => return None,
    };
    Some(Evidence::fixed_by(subject, seen, fix))
}

/// Only where no single VM needs more than there is: that one is refused by itself.
pub fn short(nodes: &Nodes<'_>, met: &Compared) -> Vec<Evidence> {
    let mut found = Vec::new();
    let mut sizes: Vec<_> = met.pages.iter().collect();
    sizes.sort_unstable();
    for (size, (wanted, available)) in sizes {
        let subject = format!("huge pages of {}", hugepages::text(*size));
        let told = met.findings.iter().any(|finding| finding.subject.ends_with(&subject));
        if wanted > available && !told {
            let count = nodes.there.vms.len();
            let seen =
                format!("the {count} VMs there use {wanted}; {available} are free and not reserved here");
            let fix = fixes::more_pages(fixes::POOLS, *size, wanted - available);
            found.push(Evidence::fixed_by(subject, seen, fix));
        }
    }
    found
}

pub fn older(nodes: &Nodes<'_>, _: &Compared) -> Vec<Evidence> {
    let (here, there) = (&nodes.here.versions, &nodes.there.versions);
    let programs = [
        ("libvirt", &here.libvirt, &there.libvirt),
        ("QEMU", &here.qemu, &there.qemu),
        ("Open vSwitch", &here.ovs, &there.ovs),
        ("DPDK", &here.dpdk, &there.dpdk),
    ];
    let older = |(name, mine, other): (&str, &Option<String>, &Option<String>)| {
        let (mine, other) = (mine.as_ref()?, other.as_ref()?);
        let seen = format!("{mine} here, {other} there");
        let fix = format!("install {name} {other} or newer here, or migrate the other way only");
        (numbers(mine)? < numbers(other)?).then(|| Evidence::fixed_by(name, seen, fix))
    };
    programs.into_iter().filter_map(older).collect()
}

/// The numbers of `7.2.22`, `DPDK 22.11.9`, `3.1.0-beta`.
fn numbers(version: &str) -> Option<Vec<u64>> {
    let start = version.find(|c: char| c.is_ascii_digit())?;
    let rest = &version[start..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    rest[..end].trim_end_matches('.').split('.').map(|part| part.parse().ok()).collect()
}
