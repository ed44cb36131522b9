// SPDX-License-Identifier: Apache-2.0
//! Ports by path and by name: as many as a node may have are looked up, not searched for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{SwitchConfig, VhostPort};
use crate::base::paths::plain;

/// The ports of a switch.
#[derive(Debug, Default)]
pub struct PortIndex<'a> {
    by_path: HashMap<PathBuf, &'a VhostPort>,
    by_name: HashMap<&'a str, &'a VhostPort>,
}

impl<'a> PortIndex<'a> {
    /// Of these ports.
    pub fn new(config: &SwitchConfig, ports: &'a [VhostPort]) -> PortIndex<'a> {
        PortIndex {
            by_path: ports.iter().map(|port| (plain(&config.expected_socket(port)), port)).collect(),
            by_name: ports.iter().map(|port| (port.name.as_str(), port)).collect(),
        }
    }

    /// The port that has its socket at this path.
    pub fn at(&self, path: &Path) -> Option<&'a VhostPort> {
        self.by_path.get(&plain(path)).copied()
    }

    /// The port that is named like it.
    pub fn named(&self, path: &Path) -> Option<&'a VhostPort> {
        self.by_name.get(path.file_name()?.to_str()?).copied()
    }

    /// The port that a socket's path is about: whose socket is there, else the one named like it.
    pub fn port(&self, path: &Path) -> Option<&'a VhostPort> {
        self.at(path).or_else(|| self.named(path))
    }
}
