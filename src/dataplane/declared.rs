// SPDX-License-Identifier: Apache-2.0
//! Dataplanes that the configuration declares (`[dataplane NAME]`). The unit says as which user one runs; its sockets are those
//! in its directory.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::driver::{Looking, unclear};
use super::{drivers, ovs};
use crate::base::root::{Handle, Kind, Root};
use crate::config::{Config, Declaration, Declared, MadeBy, Sockets};
use crate::facts::accounts::Accounts;
use crate::systemd::{UnitFact, Units};

/// One, as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// What the configuration says.
    pub declared: Declared,
    /// The user it runs as.
    pub user: String,
    /// Its number.
    pub uid: u32,
    /// The number of the group it runs with.
    pub gid: u32,
    /// The directory of its sockets is a `RuntimeDirectory=` of the unit: systemd gives it back at each start.
    pub is_runtime_directory: bool,
    /// The umask that its unit is to have.
    pub umask: Option<u32>,
}

impl Found {
    /// Its section, and where its sockets are.
    pub fn sockets(&self) -> (&str, &Sockets) {
        (&self.declared.name, &self.declared.sockets)
    }
}

/// Why a section is ignored; all other sections are used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The section.
    pub section: String,
    /// The finding's id.
    pub id: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub fix: String,
    /// What apply created for it stays.
    pub kept: bool,
}

impl Problem {
    /// Says that it is ignored, and why.
    pub fn text(&self) -> String {
        let kept = if self.kept { "; what apply created for it stays" } else { "" };
        format!("does not count: {}{kept}", self.what)
    }
}

/// Looks at their units and accounts.
pub fn look(
    root: &Root,
    units: &dyn Units,
    accounts: &Accounts,
    config: &Config,
) -> Result<(Vec<Found>, Vec<Problem>)> {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for section in &config.sections {
        match one(root, units, accounts, section, &config.socket_directory) {
            Ok(one) => found.push(one),
            Err(Looking::Failed(error)) => return Err(error),
            Err(Looking::Problem(id, what, fix)) => {
                problems.push(Problem { section: section.name().to_string(), id, what, fix, kept: false });
            }
        }
    }
    Ok((found, problems))
}

/// Keeps sections that are ignored now as an earlier `apply` used them, so that VMs work while a package is upgraded or a
/// container is not built yet. Not if the directory belongs to another section by now.
pub fn keep(found: &mut Vec<Found>, problems: &mut [Problem], before: &[Found], config: &Config) {
    for problem in problems {
        let Some(kept) = before.iter().find(|kept| kept.declared.name == problem.section) else { continue };
        let sockets = &kept.declared.sockets;
        let meets =
            |other: &Path| sockets.directory.starts_with(other) || other.starts_with(&sockets.directory);
        let mut others = found.iter().map(|other| &other.declared.sockets);
        let taken = others
            .any(|other| sockets.pattern.is_none() && other.pattern.is_none() && meets(&other.directory));
        problem.kept = !taken && !meets(&config.socket_directory);
        if problem.kept {
            found.push(kept.clone());
        }
    }
}

fn one(
    root: &Root,
    units: &dyn Units,
    accounts: &Accounts,
    section: &Declaration,
    directory: &Path,
) -> Result<Found, Looking> {
    let mut section = section.clone();
    let driver = drivers::find(section.get("driver").unwrap_or_default()).map_err(unclear)?;
    if let Some(unit) = driver.unit {
        section.fill("unit", unit, "its package");
    }
    let missing = || unclear("set unit: the service that runs the dataplane".to_string());
    let name = section.get("unit").ok_or_else(missing)?;
    let Some(unit) = units.unit(name)? else {
        let what = format!("unit = {name}: there is no such unit");
        return problem("dataplane-unit-missing", what, "correct its name, or remove the section");
    };
    (driver.look)(root, &unit, &mut section)?;
    let declared = Declared::parse(&section, directory).map_err(|error| unclear(format!("{error:#}")))?;
    if declared.sockets.directory.starts_with(ovs::paths::RUN) {
        let what =
            format!("sockets = {}: Open vSwitch has this directory", declared.sockets.directory.display());
        return problem("dataplane-directory-taken", what, "set sockets to another directory");
    }
    let (user, uid, gid) = identity(accounts, &declared, &unit)?;
    let creates = declared.made_by == MadeBy::Dataplane;
    let is_at = |name: &String| Path::new("/run").join(name).starts_with(&declared.sockets.directory);
    Ok(Found {
        is_runtime_directory: unit.runtime_directory.iter().any(is_at),
        umask: driver.umask.filter(|_| creates),
        declared,
        user,
        uid,
        gid,
    })
}

/// The user and group that it runs as: from the section, else from its unit.
fn identity(
    accounts: &Accounts,
    declared: &Declared,
    unit: &UnitFact,
) -> Result<(String, u32, u32), Looking> {
    let named = declared.user.as_ref().or(unit.user.as_ref());
    let user = named.map_or("root", String::as_str);
    let group = declared.group.as_ref().or(unit.group.as_ref());
    let number = user.parse().ok();
    let account = match number {
        Some(uid) => accounts.user_by_id(uid).map(|account| (account.uid, Some(account.gid))),
        None => accounts.user(user).map(|account| (account.uid, Some(account.gid))),
    };
    // A container's number has no name here; its group is said as well then.
    let Some((uid, own)) = account.or_else(|| Some((number?, None))) else {
        let what = format!("runs as the user '{user}', which does not exist");
        let fix = format!("create it (useradd --system --no-create-home {user}), or set user");
        return problem("dataplane-user-missing", what, &fix);
    };
    let Some(group) = group else {
        let what = || unclear(format!("set group: no account has the number {uid}"));
        return own.map(|gid| (user.to_string(), uid, gid)).ok_or_else(what);
    };
    match group.parse().ok().or_else(|| Some(accounts.group(group)?.gid)) {
        Some(gid) => Ok((user.to_string(), uid, gid)),
        None => {
            let what = format!("runs with the group '{group}', which does not exist");
            let fix = format!("create it (groupadd --system {group}), or set group");
            problem("group-missing", what, &fix)
        }
    }
}

fn problem<T>(id: &'static str, what: String, fix: &str) -> Result<T, Looking> {
    Err(Looking::Problem(id, what, fix.to_string()))
}

/// The existing sockets.
pub fn sockets(root: &Root, sockets: &Sockets) -> Result<Vec<Handle>> {
    let mut found = Vec::new();
    let names = root.list(&sockets.directory)?.into_iter();
    for name in names.filter(|name| name.to_str().is_some_and(|name| sockets.has(name))) {
        let socket = root.find_nofollow(&sockets.directory.join(name))?;
        found.extend(socket.filter(|socket| socket.kind() == Kind::Socket));
    }
    Ok(found)
}
