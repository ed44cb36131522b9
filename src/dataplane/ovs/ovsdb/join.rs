// SPDX-License-Identifier: Apache-2.0
//! Both ends of a socket, in as few questions as can be: what a hook asks.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

use super::client::{rows, select};
use super::ports::{COLUMNS, TABLE, port};
use super::switch::{self, SwitchConfig};
use super::value::string;
use super::{Ovsdb, VhostPort};
use crate::base::paths::same_path;
use crate::config::PortType;

/// What OVSDB knows of some sockets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Join {
    /// The switch's settings.
    pub config: SwitchConfig,
    /// vhost-user ports that are named like a socket, or meant for it.
    pub ports: Vec<VhostPort>,
    /// Interfaces that are named like a socket and are of another type: name and type.
    pub others: Vec<(String, String)>,
}

/// A question that was sent and not answered yet.
#[derive(Debug)]
pub struct Question<'a> {
    ovsdb: Ovsdb,
    paths: Vec<&'a Path>,
    names: Vec<&'a str>,
    operations: Vec<Value>,
}

impl Ovsdb {
    /// Asks what is known of the sockets at these paths. neutron and os-vif name a port like its socket, so ports are looked
    /// for by name first; only for paths that are left, in a second question, by the path that OVS was given.
    pub fn ask<'a>(mut self, paths: &[&'a Path]) -> Result<Question<'a>> {
        let names: Vec<&str> = paths.iter().map(|path| name(path)).collect::<Result<_>>()?;
        let mut operations = vec![switch::question()];
        operations.extend(names.iter().map(|name| select(TABLE, json!([["name", "==", name]]), &COLUMNS)));
        self.begin(&operations)?;
        Ok(Question { ovsdb: self, paths: paths.to_vec(), names, operations })
    }
}

impl Question<'_> {
    /// Waits for the answer.
    pub fn answer(mut self) -> Result<Join> {
        let mut results = match self.ovsdb.finish(self.operations.len()) {
            Ok(results) => results.into_iter(),
            // A schema from before OVS 2.9: it does not know all columns of the switch.
            Err(_) => {
                self.operations[0] = switch::old_question();
                self.ovsdb.transact(&self.operations)?.into_iter()
            }
        };
        let config = switch::settings(&rows(results.next())?)?;
        let mut join = Join { config, ports: Vec::new(), others: Vec::new() };
        for result in results {
            join.add(rows(Some(result))?)?;
        }
        if join.is_complete(&self.names) {
            return Ok(join);
        }
        let found: HashSet<&Path> =
            join.ports.iter().filter_map(|port| port.server_path.as_deref()).collect();
        let is_left = |path: &&&Path| !found.contains(**path);
        let by_path: Vec<Value> =
            self.paths.iter().filter(is_left).filter_map(|path| at_path(path)).collect();
        if by_path.is_empty() {
            return Ok(join);
        }
        for result in self.ovsdb.transact(&by_path)? {
            join.add(rows(Some(result))?)?;
        }
        Ok(join)
    }
}

impl Join {
    /// Where OVS has, or will have, a port's socket.
    pub fn expected_socket(&self, port: &VhostPort) -> PathBuf {
        self.config.expected_socket(port)
    }

    /// The port whose socket this is.
    pub fn port_at(&self, path: &Path) -> Option<&VhostPort> {
        self.ports.iter().find(|port| same_path(&self.expected_socket(port), path))
    }

    /// Each name is that of a vhost-user port: nothing is left to look for.
    fn is_complete(&self, names: &[&str]) -> bool {
        let found: HashSet<&str> = self.ports.iter().map(|port| port.name.as_str()).collect();
        names.iter().all(|name| found.contains(name))
    }

    fn add(&mut self, found: Vec<Value>) -> Result<()> {
        for row in found {
            let kind = string(&row["type"]).unwrap_or_default();
            if PortType::named(&kind).is_none() {
                self.others.extend(string(&row["name"]).map(|name| (name, kind)));
                continue;
            }
            let port = port(&row).context("reading a row of the table Interface")?;
            if !self.ports.contains(&port) {
                self.ports.push(port);
            }
        }
        Ok(())
    }
}

fn name(path: &Path) -> Result<&str> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8 text", path.display()))?;
    Ok(text.rsplit('/').next().unwrap_or_default())
}

fn at_path(path: &Path) -> Option<Value> {
    let options = json!(["map", [["vhost-server-path", path.to_str()?]]]);
    let conditions =
        json!([["type", "==", PortType::Dpdkvhostuserclient.as_str()], ["options", "includes", options]]);
    Some(select(TABLE, conditions, &COLUMNS))
}
