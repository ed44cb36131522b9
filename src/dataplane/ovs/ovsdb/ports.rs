// SPDX-License-Identifier: Apache-2.0
//! The vhost-user ports of the switch. Only their rows and only the columns that count are asked for: a node can have
//! thousands of others.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Ovsdb;
use super::client::{rows, select};
use super::value::{integer, map, string, uuid};
use crate::config::PortType;

pub(super) const TABLE: &str = "Interface";
pub(super) const COLUMNS: [&str; 10] = [
    "_uuid",
    "name",
    "type",
    "options",
    "status",
    "ofport",
    "error",
    "admin_state",
    "link_state",
    "external_ids",
];

/// One vhost-user port, a row of the table Interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VhostPort {
    /// The row's identity.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// Which side makes the socket.
    pub kind: PortType,
    /// `options:vhost-server-path`, where QEMU's socket is to be. Of a `dpdkvhostuserclient` only.
    pub server_path: Option<PathBuf>,
    /// `status:socket`: the path that OVS really uses, there while [`connected`](Self::connected).
    pub socket: Option<PathBuf>,
    /// `status:status`: whether the guest's driver took the device over. Stays false while QEMU is connected but the
    /// guest did not come that far (seen with 3.1).
    pub connected: Option<bool>,
    /// Its OpenFlow port number; -1 when OVS could not make the port, `None` when it did not try yet.
    pub ofport: Option<i64>,
    /// Why OVS could not make it.
    pub error: Option<String>,
    /// `up` or `down`.
    pub admin_state: Option<String>,
    /// `up` or `down`. These two, `socket` and `connected` are from the last run of ovs-vswitchd if it is dead.
    pub link_state: Option<String>,
    /// `external_ids:vm-uuid`: the VM that nova had the port made for. Only os-vif writes it (vif_plug_ovs,
    /// ovsdb/ovsdb_lib.py); `iface-id` and `attached-mac` are set by hand as well.
    #[serde(default)]
    pub vm_uuid: Option<String>,
}

/// What of a port says which side makes the socket, and where: what a conversion changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortState {
    /// The interface's name.
    pub name: String,
    /// Its type.
    pub kind: PortType,
    /// `options:vhost-server-path`.
    pub server_path: Option<PathBuf>,
}

impl VhostPort {
    /// One that the switch has, and nothing else is known of.
    #[cfg(test)]
    pub fn plain(name: &str, kind: PortType, server_path: Option<PathBuf>) -> VhostPort {
        VhostPort {
            uuid: name.to_string(),
            name: name.to_string(),
            kind,
            server_path,
            socket: None,
            connected: None,
            ofport: Some(1),
            error: None,
            admin_state: None,
            link_state: None,
            vm_uuid: None,
        }
    }

    /// Which side makes the socket, and where.
    pub fn state(&self) -> PortState {
        PortState { name: self.name.clone(), kind: self.kind, server_path: self.server_path.clone() }
    }
}

impl Ovsdb {
    /// All vhost-user ports, sorted by name.
    pub fn ports(&mut self) -> Result<Vec<VhostPort>> {
        let of_type = |kind: PortType| select(TABLE, json!([["type", "==", kind.as_str()]]), &COLUMNS);
        self.select_ports(&PortType::ALL.map(of_type))
    }

    /// Names and types of all other interfaces.
    pub fn others(&mut self) -> Result<Vec<(String, String)>> {
        let conditions = PortType::ALL.map(|kind| json!(["type", "!=", kind.as_str()]));
        let rows = self.select(TABLE, json!(conditions), &["name", "type"])?;
        let named = |row: &Value| Some((string(&row["name"])?, string(&row["type"]).unwrap_or_default()));
        Ok(rows.iter().filter_map(named).collect())
    }

    /// The vhost-user port of this name, and its column `options` as OVSDB has it.
    pub fn port_named(&mut self, name: &str) -> Result<Option<(VhostPort, Value)>> {
        let mut found = self.select(TABLE, json!([["name", "==", name]]), &COLUMNS)?;
        let Some(row) = found.pop() else { return Ok(None) };
        let port = port(&row).context("reading a row of the table Interface")?;
        Ok(Some((port, row["options"].clone())))
    }

    fn select_ports(&mut self, operations: &[Value]) -> Result<Vec<VhostPort>> {
        let mut ports = Vec::new();
        for result in self.transact(operations)? {
            for row in rows(Some(result))? {
                ports.push(port(&row).context("reading a row of the table Interface")?);
            }
        }
        ports.sort_by(|a: &VhostPort, b| a.name.cmp(&b.name));
        ports.dedup();
        Ok(ports)
    }
}

/// A port whose name is none for a command is named by it: it is to be one.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
        && !text.starts_with('-')
}

pub(super) fn port(row: &Value) -> Result<VhostPort> {
    let known = columns(row)?;
    let uuid = uuid(&row["_uuid"]).filter(|uuid| is_uuid(uuid)).context("no _uuid")?;
    Ok(VhostPort { uuid: uuid.to_string(), ..known })
}

/// Without its identity, which an update has beside the row.
pub(super) fn columns(row: &Value) -> Result<VhostPort> {
    let kind = string(&row["type"]).unwrap_or_default();
    let kind = PortType::named(&kind).context("not of a type that was asked for")?;
    let mut status = map(&row["status"]);
    Ok(VhostPort {
        uuid: String::new(),
        name: string(&row["name"]).context("no name")?,
        kind,
        server_path: map(&row["options"]).remove("vhost-server-path").map(PathBuf::from),
        socket: status.remove("socket").map(PathBuf::from),
        connected: status.get("status").map(|status| status == "connected"),
        ofport: integer(&row["ofport"]),
        error: string(&row["error"]),
        admin_state: string(&row["admin_state"]),
        link_state: string(&row["link_state"]),
        vm_uuid: map(&row["external_ids"]).remove("vm-uuid"),
    })
}
