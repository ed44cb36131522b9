// SPDX-License-Identifier: Apache-2.0
//! A dataplane that the configuration declares (`[dataplane NAME]`): its unit says whom it runs as, and of its sockets only
//! what lies in its directory is known. Ports are not asked.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::base::root::{Handle, Kind, Root};
use crate::config::{Config, Declared, Sockets};
use crate::facts::accounts::Accounts;
use crate::systemd::Units;

/// One, as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// What the configuration says.
    pub declared: Declared,
    /// Its unit exists.
    pub has_unit: bool,
    /// The user it runs as.
    pub user: String,
    /// Its number; none where it does not exist.
    pub uid: Option<u32>,
    /// The group it runs with, in words.
    pub group: Option<String>,
    /// Its number.
    pub gid: Option<u32>,
    /// The directory of its sockets is a `RuntimeDirectory=` of the unit: systemd gives it back at each start.
    pub is_runtime_directory: bool,
}

/// Looks at their units and accounts.
pub fn look(units: &dyn Units, accounts: &Accounts, config: &Config) -> Result<Vec<Found>> {
    config.declared.iter().map(|declared| one(units, accounts, declared)).collect()
}

fn one(units: &dyn Units, accounts: &Accounts, declared: &Declared) -> Result<Found> {
    let unit = units.unit(&declared.unit)?;
    let of_unit = |value: fn(&crate::systemd::UnitFact) -> &Option<String>| {
        unit.as_ref().and_then(|unit| value(unit).clone())
    };
    let user =
        declared.user.clone().or_else(|| of_unit(|unit| &unit.user)).unwrap_or_else(|| "root".to_string());
    let account = match user.parse() {
        Ok(uid) => accounts.user_by_id(uid),
        Err(_) => accounts.user(&user),
    };
    let group = declared.group.clone().or_else(|| of_unit(|unit| &unit.group));
    let gid = match group.as_deref() {
        Some(name) => name.parse().ok().or_else(|| Some(accounts.group(name)?.gid)),
        None => account.as_ref().map(|account| account.gid),
    };
    let is_at =
        |directory: &String| Path::new("/run").join(directory).starts_with(&declared.sockets.directory);
    Ok(Found {
        has_unit: unit.is_some(),
        uid: account.map(|account| account.uid),
        gid,
        is_runtime_directory: unit.is_some_and(|unit| unit.runtime_directory.iter().any(is_at)),
        declared: declared.clone(),
        user,
        group,
    })
}

/// The sockets that are there.
pub fn sockets(root: &Root, sockets: &Sockets) -> Result<Vec<Handle>> {
    let mut found = Vec::new();
    for name in root.list(&sockets.directory)? {
        if !name.to_str().is_some_and(|name| sockets.has(name)) {
            continue;
        }
        let socket = root.find_nofollow(&sockets.directory.join(name))?;
        found.extend(socket.filter(|socket| socket.kind() == Kind::Socket));
    }
    Ok(found)
}
