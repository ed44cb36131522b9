// SPDX-License-Identifier: Apache-2.0
//! What a VM that comes to this node would find: the switch with its ports, and the directories of sockets with all that is in
//! them, as they were seen once. Another node can read it (`check --json`), and judge by it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::index::{Index, others};
use super::needs::Need;
use super::socket::{Directory, Sight, look_at, places, read_directory};
use super::start::{Facts, Shared, switch_paths};
use super::usage::Usage;
use crate::base::paths::plain;
use crate::base::root::Root;
use crate::dataplane::ovs::second::Looked;
use crate::dataplane::ovs::sockets::Switch;
use crate::dataplane::ovs::vswitchd::Vswitchd;
use crate::facts::Known;
use crate::facts::domains::Domain;
use crate::facts::paths::PathFact;
use crate::node::live::Live;

/// A directory with more entries is not told.
const MOST_ENTRIES: usize = 20_000;

/// All of it. Numbers that are one boot's own, as those of processes and inodes, are 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// OVSDB.
    pub switch: Known<Switch>,
    /// Its other interfaces: names and types.
    pub others: BTreeMap<String, String>,
    /// Second switches of the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seconds: Vec<Looked>,
    /// The switch's daemon.
    pub vswitchd: Vswitchd,
    /// Ports that someone has: who, in words. Looked for where VMs that come are converted.
    pub in_use: Known<BTreeMap<String, String>>,
    /// Directories that were looked at. What is in none of them is unknown.
    pub directories: Vec<Directory>,
    /// What is in them.
    pub entries: BTreeMap<PathBuf, Sight>,
}

impl Place {
    /// Looks at the directories of the switch's sockets, and at these.
    pub fn look(root: &Root, live: &Live, converts: bool, directories: &[&Path]) -> Place {
        let mut wanted: BTreeSet<PathBuf> = directories.iter().map(|path| path.to_path_buf()).collect();
        wanted.extend(live.seconds.iter().map(|looked| looked.second.sockets.directory.clone()));
        if let Known::Known(switch) = &live.switch {
            wanted.insert(switch.config.server_directory().components().collect());
            let sockets = switch.ports.iter().map(|port| switch.config.expected_socket(port));
            wanted.extend(
                sockets.filter(|path| path.is_absolute()).filter_map(|path| Some(path.parent()?.into())),
            );
        }
        let mut place = Place {
            switch: told(&live.switch),
            others: others(root).unwrap_or_default().into_iter().collect(),
            seconds: with_switches(&live.seconds, told),
            vswitchd: timeless(Vswitchd::read(root)),
            in_use: match converts {
                true => Known::from(in_use(root, live)),
                false => Known::Unknown("not asked for".to_string()),
            },
            directories: Vec::new(),
            entries: BTreeMap::new(),
        };
        let shared = Shared::with(&live.sockets);
        for path in wanted.into_iter().filter(|path| path.to_str().is_some()) {
            place.add(root, &shared, path);
        }
        place
    }

    fn add(&mut self, root: &Root, shared: &Shared, path: PathBuf) {
        let (mut directory, handle) = read_directory(root, path);
        if let Known::Known(PathFact::Present { id, .. }) = &mut directory.fact {
            *id = (0, 0);
        }
        let names = handle.as_ref().map(|handle| match handle.names()? {
            names if names.len() > MOST_ENTRIES => {
                bail!("{} has {} entries", directory.path.display(), names.len())
            }
            names => Ok(names),
        });
        match names.transpose() {
            Err(error) => directory.fact = Known::Unknown(format!("{error:#}")),
            Ok(names) => {
                // A name that no line can show is no socket of a port.
                let is_plain =
                    |name: &OsString| name.to_str().is_some_and(|name| !name.chars().any(char::is_control));
                let names = names.unwrap_or_default().into_iter().filter(is_plain);
                let paths = names.map(|name| directory.path.join(name));
                self.entries.extend(paths.map(|path| {
                    let seen = shared.seen.get(&path).cloned();
                    let sight = seen.unwrap_or_else(|| look_at(&directory, handle.as_ref(), &path));
                    (path, Sight { id: None, ..sight })
                }));
            }
        }
        self.directories.push(directory);
    }

    /// The same of a node that has no ports, no other interfaces and no sockets.
    pub fn bare(&self) -> Place {
        Place {
            switch: without_ports(&self.switch),
            others: BTreeMap::new(),
            seconds: with_switches(&self.seconds, without_ports),
            in_use: self.in_use.map(|_| BTreeMap::new()),
            entries: BTreeMap::new(),
            ..self.clone()
        }
    }

    /// Makes it ready for many VMs.
    pub fn ground(&self) -> Ground<'_> {
        let directories =
            self.directories.iter().map(|directory| (directory.path.as_path(), directory)).collect();
        let others = self.others.iter().map(|(name, kind)| (name.clone(), kind.clone())).collect();
        Ground { place: self, index: Index::of(&self.switch, others, &self.seconds), directories }
    }
}

impl Default for Place {
    /// Nothing is known: of an older version.
    fn default() -> Place {
        let why = "its fingerprint is from an older vhost-accord, without ports and directories";
        Place {
            switch: Known::Unknown(why.to_string()),
            others: BTreeMap::new(),
            seconds: Vec::new(),
            vswitchd: Vswitchd::Unknown(why.to_string()),
            in_use: Known::Unknown(why.to_string()),
            directories: Vec::new(),
            entries: BTreeMap::new(),
        }
    }
}

/// A place whose ports and directories can be looked up.
#[derive(Debug)]
pub struct Ground<'a> {
    place: &'a Place,
    index: Index<'a>,
    directories: HashMap<&'a Path, &'a Directory>,
}

impl Ground<'_> {
    /// What a VM's start depends on there.
    pub fn facts(&self, domain: &Domain, memory: Known<Vec<Need>>) -> Facts {
        let directory = |path: &Path| match self.directories.get(plain(path).as_path()) {
            Some(known) => Directory { path: path.to_path_buf(), ..(*known).clone() },
            None => {
                let why =
                    format!("{} was not looked at on the node that the VM would come to", path.display());
                Directory { path: path.to_path_buf(), fact: Known::Unknown(why), default_acl: None }
            }
        };
        let sight = |directory: &Directory, path: &Path| {
            let known = self.place.entries.get(&plain(path)).cloned();
            known.unwrap_or_else(|| look_at(directory, None, path))
        };
        let (directories, sockets) = places(&domain.endpoints, directory, sight);
        Facts {
            switch: self.index.join(domain),
            asks_switch: switch_paths(domain).next().is_some(),
            vswitchd: self.place.vswitchd.clone(),
            directories,
            sockets,
            memory,
            seconds: self.index.seconds(domain),
            second: None,
        }
    }

    /// Who has this port.
    pub fn user_of(&self, port: &str) -> Known<Option<String>> {
        self.place.in_use.map(|ports| ports.get(port).cloned())
    }
}

fn with_switches(seconds: &[Looked], of: fn(&Known<Switch>) -> Known<Switch>) -> Vec<Looked> {
    seconds.iter().map(|looked| Looked { switch: of(&looked.switch), ..looked.clone() }).collect()
}

fn without_ports(switch: &Known<Switch>) -> Known<Switch> {
    switch.map(|switch| Switch { ports: Vec::new(), ..switch.clone() })
}

/// Without settings that no VM's start goes by.
fn told(switch: &Known<Switch>) -> Known<Switch> {
    switch.map(|switch| {
        let mut switch = switch.clone();
        switch.config.other_config.retain(|key, _| ["dpdk-init", "vhost-sock-dir"].contains(&key.as_str()));
        switch.config.iface_types.clear();
        switch
    })
}

fn in_use(root: &Root, live: &Live) -> Result<BTreeMap<String, String>> {
    let usage = Usage::read(root)?;
    let switch = live.switch.known().ok_or_else(|| anyhow!("the ports are unknown"))?;
    let mut found = BTreeMap::new();
    for port in &switch.ports {
        let user = usage.of(root, port, &switch.config.expected_socket(port), None)?;
        found.extend(user.map(|user| (port.name.clone(), user)));
    }
    Ok(found)
}

/// One that runs is no longer young when the VM comes.
fn timeless(vswitchd: Vswitchd) -> Vswitchd {
    let Vswitchd::Running(Some(mut process)) = vswitchd else { return vswitchd };
    (process.pid, process.started.since_boot, process.started.at) = (0, 0, 0);
    Vswitchd::Running(Some(process))
}
