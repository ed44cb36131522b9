// SPDX-License-Identifier: Apache-2.0
//! The switch's own settings: the one row of the table Open_vSwitch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::client::{rows, select};
use super::value::{boolean, map, string, strings};
use super::{Ovsdb, VhostPort};
use crate::base::paths::plain;
use crate::config::PortType;
use crate::dataplane::ovs::paths;

const TABLE: &str = "Open_vSwitch";
/// There since OVS 2.5, and what older schemas do not know.
const COLUMNS: [&str; 5] = ["other_config", "ovs_version", "iface_types", "dpdk_initialized", "dpdk_version"];
const OLD_COLUMNS: usize = 3;

/// The switch's settings and what it said about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchConfig {
    /// `other_config`: `dpdk-init`, `vhost-sock-dir`...
    pub other_config: BTreeMap<String, String>,
    /// Whether DPDK came up. Written by ovs-vswitchd when it starts: stays `true` after it died. `None` before OVS 2.9.
    pub dpdk_initialized: Option<bool>,
    /// The version of Open vSwitch.
    pub ovs_version: Option<String>,
    /// The version of DPDK in it.
    pub dpdk_version: Option<String>,
    /// The types of interface that this ovs-vswitchd can make.
    pub iface_types: Vec<String>,
    /// Its run directory as the node sees it, where that is not the usual one: of a second switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<PathBuf>,
}

impl SwitchConfig {
    /// Where OVS has, or will have, a port's socket: the one place that says so. OVS tells of a `dpdkvhostuser` socket once
    /// it made it, and always below `/var/run`; before, it is named after the port. Empty: the port has no path.
    pub fn expected_socket(&self, port: &VhostPort) -> PathBuf {
        match port.kind {
            PortType::Dpdkvhostuserclient => port.server_path.clone().unwrap_or_default(),
            PortType::Dpdkvhostuser => {
                let said =
                    port.socket.as_deref().filter(|path| path.is_absolute()).map(|path| self.seen(path));
                said.unwrap_or_else(|| self.server_directory().join(&port.name))
            }
        }
    }

    /// Where OVS makes the sockets of `dpdkvhostuser` ports.
    pub fn server_directory(&self) -> PathBuf {
        let below = self.other_config.get("vhost-sock-dir").map(String::as_str).unwrap_or_default();
        self.run.as_deref().unwrap_or(Path::new(paths::RUN)).join(below)
    }

    /// A path that OVS says. In a container its run directory is the usual one, and another on the node.
    fn seen(&self, path: &Path) -> PathBuf {
        let path = plain(path);
        match (&self.run, path.strip_prefix(paths::RUN)) {
            (Some(run), Ok(below)) => run.join(below),
            _ => path,
        }
    }

    /// DPDK is asked for: Open vSwitch may be the one that all network cards are meant for.
    pub fn has_dpdk(&self) -> bool {
        self.other_config.get("dpdk-init").is_some_and(|value| value != "false")
    }
}

impl Ovsdb {
    /// The switch's settings.
    pub fn switch(&mut self) -> Result<SwitchConfig> {
        // An old schema refuses the columns it does not know. If something else is wrong, so is it the second time.
        let found = self.transact(&[question()]).or_else(|_| self.transact(&[old_question()]));
        settings(&rows(found?.pop())?)
    }
}

/// The question for the settings, as one operation of a transaction.
pub(super) fn question() -> Value {
    select(TABLE, json!([]), &COLUMNS)
}

/// The same for a schema that does not know all columns.
pub(super) fn old_question() -> Value {
    select(TABLE, json!([]), &COLUMNS[..OLD_COLUMNS])
}

/// The settings in the table's rows.
pub(super) fn settings(rows: &[Value]) -> Result<SwitchConfig> {
    let row = rows.first().context("the table Open_vSwitch is empty")?;
    Ok(SwitchConfig {
        other_config: map(&row["other_config"]),
        dpdk_initialized: boolean(&row["dpdk_initialized"]),
        ovs_version: string(&row["ovs_version"]),
        dpdk_version: string(&row["dpdk_version"]),
        iface_types: strings(&row["iface_types"]),
        run: None,
    })
}
