// SPDX-License-Identifier: Apache-2.0
//! What is known of the switch, and of second ones, ready for many VMs.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Result;

use super::start::{SecondFacts, switch_paths};
use super::{Machine, all_paths};
use crate::base::root::Root;
use crate::dataplane::ovs::database;
use crate::dataplane::ovs::ovsdb::{Join, OVSDB_LIMIT, PortIndex, VhostPort, report};
use crate::dataplane::ovs::second::{Looked, Second};
use crate::dataplane::ovs::sockets::Switch;
use crate::facts::Known;
use crate::facts::domains::Domain;
use crate::node::live::Live;

/// What is known of a switch.
#[derive(Debug)]
pub(super) struct Index<'a> {
    pub switch: &'a Known<Switch>,
    pub ports: PortIndex<'a>,
    others: HashMap<String, String>,
    seconds: Vec<(&'a Second, Index<'a>)>,
}

impl<'a> Index<'a> {
    /// Of what is known of the switch.
    pub fn of(
        switch: &'a Known<Switch>,
        others: HashMap<String, String>,
        seconds: &'a [Looked],
    ) -> Index<'a> {
        let of_second = |looked: &'a Looked| (&looked.second, Index::of(&looked.switch, HashMap::new(), &[]));
        let seconds = seconds.iter().map(of_second).collect();
        let ports = |switch: &'a Switch| PortIndex::new(&switch.config, &switch.ports);
        let ports = switch.known().map(ports).unwrap_or_default();
        Index { switch, ports, others, seconds }
    }

    /// For these domains of the node.
    pub fn new<'d>(root: &Root, live: &'a Live, domains: impl Iterator<Item = &'d Domain>) -> Index<'a> {
        let mut index = Index::of(&live.switch, HashMap::new(), &live.seconds);
        let paths: Vec<&Path> = domains.flat_map(switch_paths).collect();
        if index.lacks_one(paths.iter().copied()) {
            index.others = others(root).unwrap_or_default();
        }
        for (second, index) in &mut index.seconds {
            if index.lacks_one(paths.iter().copied().filter(|path| second.sockets.is_at(path))) {
                let ask = || second.connect(root, OVSDB_LIMIT)?.others();
                index.others = ask().unwrap_or_default().into_iter().collect();
            }
        }
        index
    }

    fn lacks_one<'d>(&self, mut paths: impl Iterator<Item = &'d Path>) -> bool {
        self.switch.known().is_some() && paths.any(|path| self.ports.port(path).is_none())
    }

    /// The same of the second switches.
    pub fn seconds(&self, domain: &Domain) -> Vec<SecondFacts> {
        let of_second = |(second, index): &(&Second, Index<'_>)| {
            let second = Second::clone(second);
            SecondFacts { second, join: index.join(domain) }
        };
        self.seconds.iter().map(of_second).collect()
    }

    /// What the hook would be told when this domain starts.
    pub fn join(&self, domain: &Domain) -> Known<Join> {
        self.switch.map(|switch| {
            let mut join = Join { config: switch.config.clone(), ports: Vec::new(), others: Vec::new() };
            for path in switch_paths(domain) {
                for port in [self.ports.at(path), self.ports.named(path)].into_iter().flatten() {
                    if !join.ports.contains(port) {
                        join.ports.push(port.clone());
                    }
                }
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                join.others.extend(self.others.get(name).map(|kind| (name.to_string(), kind.clone())));
            }
            join
        })
    }

    /// The ports that no VM has, neither by path nor by name.
    pub fn free(&self, machines: &[Machine]) -> Vec<&'a VhostPort> {
        let paths = machines.iter().flat_map(all_paths);
        let taken: std::collections::HashSet<&str> = paths
            .flat_map(|path| [self.ports.at(path), self.ports.named(path)])
            .flatten()
            .map(|port| port.name.as_str())
            .collect();
        let ports = self.switch.known().map(|switch| switch.ports.as_slice()).unwrap_or_default();
        ports.iter().filter(|port| !taken.contains(port.name.as_str())).collect()
    }
}

/// Asked only where a VM's port is not among the vhost-user ones.
pub(super) fn others(root: &Root) -> Result<HashMap<String, String>> {
    if let Some(report) = root.report() {
        return Ok(report::others(report)?.into_iter().collect());
    }
    let found = database::connect(root, OVSDB_LIMIT)?.others()?;
    Ok(found.into_iter().collect())
}
