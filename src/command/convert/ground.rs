// SPDX-License-Identifier: Apache-2.0
//! What cards are judged by.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::convert::{self, Terms};
use crate::dataplane::ovs::ovsdb::{Join, PortIndex, VhostPort};
use crate::dataplane::ovs::sockets::Switch;
use crate::facts::Known;
use crate::facts::domains::Domain;

/// Who has a port, whose socket is at the path, other than the VM that it is about.
pub type InUse<'a> = dyn Fn(&VhostPort, &Path, &Domain) -> Known<Option<String>> + 'a;

/// What cards are judged by.
pub struct Ground<'a> {
    pub terms: Terms<'a>,
    switch: &'a Switch,
    pub index: PortIndex<'a>,
    /// The VMs that have a port, by its name.
    pub users: BTreeMap<String, BTreeSet<String>>,
    /// Whether someone has a port, whose socket is at the path, whatever VM it is about.
    pub in_use: &'a InUse<'a>,
}

impl<'a> Ground<'a> {
    /// Nobody has a port yet but who `in_use` says.
    pub fn new(terms: Terms<'a>, switch: &'a Switch, in_use: &'a InUse<'a>) -> Ground<'a> {
        let index = PortIndex::new(&switch.config, &switch.ports);
        Ground { terms, switch, index, users: BTreeMap::new(), in_use }
    }

    /// Counts the ports of this VM as in use by it.
    pub fn add_user(&mut self, domain: &Domain) {
        for (_, card) in convert::interfaces(domain) {
            if let Some(port) = card.path.as_deref().and_then(|path| self.index.port(path)) {
                self.users.entry(port.name.clone()).or_default().insert(domain.name.clone());
            }
        }
    }

    /// The part of OVSDB that one path is about.
    pub fn join(&self, path: &Path) -> Join {
        let ports = self.index.port(path).into_iter().cloned().collect();
        Join { config: self.switch.config.clone(), ports, others: Vec::new() }
    }
}
