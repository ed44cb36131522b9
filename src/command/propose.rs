// SPDX-License-Identifier: Apache-2.0
//! Sections `[dataplane NAME]` that a configuration could have: `plan` proposes them, and nothing writes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use crate::base::root::Root;
use crate::config::{Config, DECLARED, Raw};
use crate::dataplane::drivers;
use crate::dataplane::ovs::second;
use crate::dataplane::ovs::vswitchd::{VSWITCHD, Vswitchd};
use crate::facts::domains::{SocketMode, is_network_card};
use crate::node::endpoints::{self, Socket};
use crate::node::live::Live;
use crate::report::one_line;
use crate::survey::Survey;
use crate::systemd::Units;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proposal {
    pub unit: String,
    /// The sockets of VMs at which it listens.
    pub sockets: Vec<PathBuf>,
    pub section: String,
}

impl Proposal {
    pub fn text(&self) -> String {
        let Proposal { unit, sockets, section } = self;
        let listens = sockets.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        let why = if listens.is_empty() {
            "is installed".to_string()
        } else {
            format!("listens for VMs at {listens}")
        };
        let first =
            one_line(&format!("{unit} {why}; to let 'vhost-accord apply' set it up, add this section:"));
        let lines: String = section.lines().map(|line| format!("    {}\n", one_line(line))).collect();
        format!("{first}\n{lines}")
    }
}

/// Proposes sections for units that none names: of packages that a driver knows, and of processes that listen at a VM's socket.
pub fn proposals(root: &Root, units: &dyn Units, survey: &Survey) -> Result<Vec<Proposal>> {
    let Some(live) = survey.live.as_ref().filter(|_| root.report().is_none()) else { return Ok(Vec::new()) };
    let sections = &survey.config.sections;
    let named = |unit: &str| {
        sections.iter().any(|section| section.get("unit") == Some(unit))
            || drivers::packaged().any(|(name, own)| {
                own == unit && sections.iter().any(|section| section.get("driver") == Some(name))
            })
    };
    let mut found: BTreeMap<String, (&str, Vec<PathBuf>)> = BTreeMap::new();
    for (driver, unit) in drivers::packaged() {
        if units.unit(unit)?.is_some() {
            found.insert(unit.to_string(), (driver, Vec::new()));
        }
    }
    let libvirt = survey.profile.hypervisor.as_ref().map(|found| found.daemon_unit.as_str());
    for Socket { path, endpoint, other, .. } in endpoints::of_others(root, live) {
        let Some(owner) = other.filter(|owner| owner.name != VSWITCHD) else { continue };
        let Some(unit) = owner.unit.filter(|unit| unit.ends_with(".service")) else { continue };
        if endpoint.mode == SocketMode::Client && Some(unit.as_str()) != libvirt {
            found.entry(unit).or_insert_with(|| (DECLARED, Vec::new())).1.push(path);
        }
    }
    let second = second_switch(root, units, live)?;
    found.extend(second.map(|(unit, sockets)| (unit, (second::DRIVER.name, sockets))));
    found.retain(|unit, _| !named(unit));
    Ok(found.into_iter().filter_map(|(unit, (driver, sockets))| proposal(unit, driver, sockets)).collect())
}

/// Another ovs-vswitchd, with the sockets of VMs in its run directory. It is in a network namespace of its own, as two userspace
/// datapaths must be (both have a device `ovs-netdev`), so the kernel tells of no listener.
fn second_switch(root: &Root, units: &dyn Units, live: &Live) -> Result<Option<(String, Vec<PathBuf>)>> {
    let owner = Vswitchd::read(root).second(root, &[]);
    let Some(name) = owner.and_then(|owner| owner.unit).filter(|unit| unit.ends_with(".service")) else {
        return Ok(None);
    };
    let unit = units.unit(&name)?;
    let Some(run) = unit.as_ref().and_then(second::run_directory) else { return Ok(None) };
    let cards = live.domains().flat_map(|domain| &domain.endpoints);
    let cards = cards.filter(|card| is_network_card(card) && card.mode == SocketMode::Client);
    let sockets = cards.filter_map(|card| card.path.clone().filter(|path| path.parent() == Some(run)));
    Ok(Some((name, sockets.collect())))
}

/// None where it would not be a valid section.
fn proposal(unit: String, driver: &str, mut sockets: Vec<PathBuf>) -> Option<Proposal> {
    sockets.sort();
    sockets.dedup();
    let stem: String = unit.trim_end_matches(".service").to_lowercase();
    let in_name = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = stem.chars().map(in_name).take(32).collect();
    let mut section = format!("[dataplane {name}]\ndriver = {driver}\n");
    if !drivers::packaged().any(|(_, own)| own == unit) {
        section.push_str(&format!("unit = {unit}\nsockets = {}\n", pattern(&sockets)?));
    }
    let mut raw = Raw::defaults();
    raw.overlay(Path::new("proposed"), &section).and_then(|()| Config::from_raw(&raw)).ok()?;
    Some(Proposal { unit, sockets, section })
}

/// A pattern for their names in one directory, which is not changed: other files in it may not be for QEMU.
fn pattern(sockets: &[PathBuf]) -> Option<String> {
    let directory = sockets.first()?.parent()?;
    let names: Option<Vec<&str>> = sockets
        .iter()
        .map(|path| path.file_name()?.to_str().filter(|_| path.parent() == Some(directory)))
        .collect();
    let mut common = *names.as_ref()?.first()?;
    for name in names.iter().flatten() {
        while !name.starts_with(common) {
            common = &common[..common.char_indices().next_back()?.0];
        }
    }
    (!common.is_empty()).then(|| format!("{}/{common}*", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_proposed_for_what_a_unit_listens_at() {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        let found = proposal(
            "My.disks@1.service".into(),
            DECLARED,
            paths(&["/run/d/blk1", "/run/d/blk0", "/run/d/blk0"]),
        );
        let section =
            "[dataplane my-disks-1]\ndriver = declared\nunit = My.disks@1.service\nsockets = /run/d/blk*\n";
        assert_eq!(found.map(|found| found.section).as_deref(), Some(section));
        let found = proposal("vpp.service".into(), "vpp", Vec::new());
        assert_eq!(found.map(|found| found.section).as_deref(), Some("[dataplane vpp]\ndriver = vpp\n"));
        // Nothing in common, more than one directory, a directory that no section may have.
        for sockets in [&["/run/d/a", "/run/d/b"], &["/run/d/a", "/run/e/a"], &["/var/a", "/var/a"]] {
            assert_eq!(proposal("a.service".into(), DECLARED, paths(sockets)), None, "{sockets:?}");
        }
    }
}
