// SPDX-License-Identifier: Apache-2.0
//! A VM's definition and the ports of its cards as they are now: what a conversion changes.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::database;
use super::domains::{Endpoint, EndpointKind, SocketMode, parse_domain};
use super::libvirt;
use super::live::OVSDB_LIMIT;
use super::ovsdb::{PortState, same_path};
use crate::accord::item::{Conversion, Side};
use crate::base::paths;
use crate::base::root::Root;
use crate::config::PortType;

/// The definition, none where libvirt has no such VM, and those of the ports that are there.
pub fn read(root: &Root, item: &Conversion) -> Result<(Option<String>, Vec<PortState>)> {
    let mut ports = Vec::new();
    if !item.ports.is_empty() && has_switch(root)? {
        let mut ovsdb = database::connect(root, OVSDB_LIMIT)?;
        for port in &item.ports {
            ports.extend(ovsdb.port_named(&port.name)?.map(|(found, _)| found.state()));
        }
    }
    Ok((libvirt::definition(&item.uuid)?, ports))
}

/// A database of a switch, running or not: without one there are no ports either. Its name is enough, and where a link of
/// that name leads does not matter: RHEL's packages have one beside the configuration, which the switch's user can change.
fn has_switch(root: &Root) -> Result<bool> {
    let databases = [paths::OVS_ETC, paths::OVS_LIB].map(|directory| Path::new(directory).join("conf.db"));
    for path in databases.iter().map(PathBuf::as_path).chain([Path::new(paths::OVSDB_SOCKET)]) {
        if root.find_nofollow(path)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Does the definition have each card as it shall be?
pub fn has_cards(definition: &str, item: &Conversion) -> bool {
    let Ok(domain) = parse_domain(definition) else { return false };
    item.cards.iter().all(|card| domain.endpoints.iter().any(|endpoint| card.to.is(endpoint)))
}

impl Side {
    /// What an endpoint has now; none without a path.
    pub fn of(endpoint: &Endpoint) -> Option<Side> {
        let kind = match endpoint.mode {
            SocketMode::Server => PortType::Dpdkvhostuserclient,
            SocketMode::Client => PortType::Dpdkvhostuser,
        };
        Some(Side { kind, path: endpoint.path.clone()? })
    }

    /// Is this network card so?
    pub fn is(&self, endpoint: &Endpoint) -> bool {
        let found = Side::of(endpoint).filter(|_| endpoint.device == EndpointKind::Interface);
        found.is_some_and(|found| found.kind == self.kind && same_path(&found.path, &self.path))
    }
}
