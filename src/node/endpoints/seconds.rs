// SPDX-License-Identifier: Apache-2.0
//! Second switches of the configuration, as a VM's start meets them.

use std::path::Path;
use std::time::Instant;

use crate::base::root::Root;
use crate::dataplane::ovs::ovsdb::{Join, VhostPort};
use crate::dataplane::ovs::second::Second;
use crate::facts::Known;

/// What the database of a second switch knows of the VM's sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondFacts {
    /// Which.
    pub second: Second,
    /// Its ports.
    pub join: Known<Join>,
}

impl SecondFacts {
    /// The port whose socket this is.
    pub fn port_at(&self, path: &Path) -> Option<&VhostPort> {
        self.join.known()?.port_at(path)
    }
}

/// Each has half of the time that is left then. A database that two sections name is asked once.
pub fn ask(root: &Root, seconds: &[Second], paths: &[&Path], deadline: Instant) -> Vec<SecondFacts> {
    let mut found: Vec<SecondFacts> = Vec::new();
    for second in seconds {
        let known = found.iter().find(|other| other.second.database == second.database);
        let known = known.map(|other| other.join.clone());
        let limit = deadline.saturating_duration_since(Instant::now()) / 2;
        let join = known.unwrap_or_else(|| Known::from(second.ask(root, paths, limit)));
        found.push(SecondFacts { second: second.clone(), join });
    }
    found
}
