// SPDX-License-Identifier: Apache-2.0
//! OVS's units: their names, how they take a user, what they do to the run directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use super::paths;
use crate::base::paths::{DATAPLANE_ENVIRONMENT, plain};
use crate::base::root::{Kind, Root};
use crate::edit::shell::EnvFile;
use crate::edit::unit::UnitText;
use crate::systemd::{UnitFact, Units, declared};

/// Units that run ovs-vswitchd; the second is of OVS 2.5 (RHEL).
const VSWITCHD_UNITS: [&str; 2] = ["ovs-vswitchd.service", "openvswitch-nonetwork.service"];
const OVSDB_UNIT: &str = "ovsdb-server.service";
/// Since OVS 4.0 it has the database's socket, and starts the database for whoever connects.
const SOCKET_UNIT: &str = "ovsdb-server.socket";
/// Units that stand for the whole switch: Debian's, RHEL's.
const SWITCH_UNITS: [&str; 2] = ["openvswitch-switch.service", "openvswitch.service"];
/// Where the units look for whom to run as, on Debian and on RHEL.
pub const ENVIRONMENTS: [&str; 2] = ["/etc/default/openvswitch-switch", "/etc/sysconfig/openvswitch"];
/// The units that take a user.
pub const UNITS: [&str; 4] =
    ["ovs-vswitchd.service", "ovsdb-server.service", "openvswitch.service", "openvswitch-nonetwork.service"];
/// Debian's variable for options of ovs-ctl.
const OVS_CTL_OPTS: &str = "OVS_CTL_OPTS";
/// RHEL's variable for the daemons' user and group.
const OVS_USER_ID: &str = "OVS_USER_ID";

/// uid and gid of a user `openvswitch` that we make: the numbers kolla, TripleO's successor and their images use
/// (openstack/kolla kolla/common/users.py, edpm-ansible roles/edpm_ovs).
pub const OWN_ID: u32 = 42476;

/// What is installed, in words.
pub const PACKAGE: &str = "openvswitch";

/// The user's name, as packages have it.
pub const OWN_USER: &str = "openvswitch";

/// How the units take the user the daemons shall run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityBy {
    /// `OVS_USER_ID=user:group` (RHEL's units since OVS 2.8).
    OvsUserId,
    /// `--ovs-user=user:group` among the options in `OVS_CTL_OPTS` (Debian's units).
    OvsCtlOpts,
    /// The units pass neither: the daemons run as root.
    Neither,
}

/// The database's socket as its unit creates it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DatabaseSocket {
    /// The unit.
    pub unit: String,
    /// The socket's owner.
    pub user: String,
    /// Its group.
    pub group: String,
    /// Its permission bits.
    pub mode: u32,
}

/// OVS as its units run it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dataplane {
    /// The unit to restart: it takes the others with it.
    pub switch_unit: String,
    /// The unit of ovs-vswitchd.
    pub vswitchd_unit: String,
    /// The unit of ovsdb-server; none where one unit runs both.
    pub ovsdb_unit: Option<String>,
    /// The database's socket, where systemd creates it.
    pub socket: Option<DatabaseSocket>,
    /// How the units take a user.
    pub identity_by: IdentityBy,
    /// The units pass a user even where it is root: OVS then drops root's capabilities as well (OVS 2.8 and 2.9), and
    /// root may write only what its ids may.
    pub always_drops: bool,
    /// The user distribution and administrator run it as.
    pub user: String,
    /// The group they run it with; none: the user's own.
    pub group: Option<String>,
    /// Options for ovs-ctl in the variable that a new value would replace, without `--ovs-user`.
    pub options: String,
    /// Units with `RuntimeDirectory=openvswitch`: systemd gives the tree back to root before each of their commands
    /// (systemd 242 and later, issue 12713), so a user of OVS's own cannot keep it.
    pub runtime_directory_units: Vec<String>,
    /// ovs-vswitchd is told its user in a file that ovsdb-server's unit writes, and its unit does not wait for that one
    /// (the RPM of OVS 4.0): it runs as root where it is the first.
    pub overtakes: bool,
    /// A unit changes the run directory's owner before anything made it, so the directory must be there.
    pub needs_run_directory: bool,
    /// A unit changes the run directory's owner itself, each time it starts.
    pub changes_run_directory: bool,
    /// logrotate's configuration of OVS's package.
    pub logrotate: Option<PathBuf>,
    /// Where the database is: beside the configuration before OVS 3.1's packages.
    pub database_directory: PathBuf,
    /// The files the units are read from.
    pub fragments: Vec<PathBuf>,
}

impl Dataplane {
    /// The units whose daemons take the identity.
    pub fn units(&self) -> impl Iterator<Item = &str> {
        self.ovsdb_unit.as_deref().into_iter().chain([self.vswitchd_unit.as_str()])
    }

    /// The variable that carries the identity, and its value: `told` is the user and group that the daemons change to, none
    /// where they stay root's, and `named` what RHEL's units are told in any case. A later `EnvironmentFile=` wins over an
    /// earlier one and over `Environment=` (systemd.exec(5)); it replaces the whole value, so the administrator's options
    /// are carried along.
    pub fn variable(&self, told: Option<(&str, &str)>, named: (&str, &str)) -> (&'static str, String) {
        match self.identity_by {
            // RHEL's units take the group from here for the hugepages too, also where the daemons stay root's.
            IdentityBy::OvsUserId => (OVS_USER_ID, format!("{}:{}", named.0, named.1)),
            IdentityBy::OvsCtlOpts | IdentityBy::Neither => {
                let option = |(user, group)| format!(" {USER_OPTION}{user}:{group}");
                let value = format!("{}{}", self.options, told.map(option).unwrap_or_default());
                (OVS_CTL_OPTS, value.trim().to_string())
            }
        }
    }

    /// What daemons that are not root's must own beside their run directory; the database's directory is the first.
    pub fn state(&self) -> Vec<PathBuf> {
        let database = &self.database_directory;
        let mut paths = vec![
            database.clone(),
            database.join(paths::DATABASE),
            database.join(".conf.db.~lock~"),
            Path::new(paths::ETC).join("system-id.conf"),
            PathBuf::from(paths::LOG),
            Path::new(paths::LOG).join("ovs-vswitchd.log"),
            Path::new(paths::LOG).join("ovsdb-server.log"),
        ];
        if database != Path::new(paths::ETC) {
            paths.push(PathBuf::from(paths::ETC));
        }
        paths
    }
}

/// Looks for its units.
pub fn look(root: &Root, units: &dyn Units) -> Result<Option<Dataplane>> {
    let Some(vswitchd) = first(units, &VSWITCHD_UNITS)? else { return Ok(None) };
    let ovsdb = units.unit(OVSDB_UNIT)?;
    let switch = first(units, &SWITCH_UNITS)?;
    let mut declarations = Vec::new();
    for unit in ovsdb.iter().chain([&vswitchd]) {
        declarations.push((unit.name.clone(), declared(root, unit)?));
    }
    let variables = variables(root, &declarations)?;
    let identity_by = identity_by(&declarations);
    let options = variables.get(OVS_CTL_OPTS).map(String::as_str).unwrap_or_default();
    let user_id = match identity_by {
        IdentityBy::OvsUserId => variables.get(OVS_USER_ID).cloned(),
        IdentityBy::OvsCtlOpts => user_option(options),
        IdentityBy::Neither => None,
    };
    let (user, group) = split_user(user_id.as_deref().unwrap_or("root:root"));
    let socket = database_socket(root, units, group.as_ref().unwrap_or(&user))?;
    let fragments =
        ovsdb.iter().chain([&vswitchd]).chain(&switch).filter_map(|unit| unit.fragment.clone()).collect();
    let passes_always = |(_, text): &(String, UnitText)| {
        text.list("Service", "ExecStart").iter().any(|line| line.contains("--ovs-user=${OVS_USER_ID}"))
    };
    let chowns: Vec<&str> = declarations
        .iter()
        .flat_map(|(_, text)| text.list("Service", "ExecStartPre"))
        .filter(|line| line.contains("chown") && line.contains("run/openvswitch"))
        .collect();
    let needs_run_directory = chowns.iter().any(|line| !line.starts_with('-'));
    let changes_run_directory = !chowns.is_empty();
    Ok(Some(Dataplane {
        switch_unit: switch.map_or_else(|| vswitchd.name.clone(), |unit| unit.name),
        vswitchd_unit: vswitchd.name,
        ovsdb_unit: ovsdb.map(|unit| unit.name),
        socket,
        identity_by,
        always_drops: declarations.iter().any(passes_always),
        user,
        group,
        options: without_user_option(options),
        database_directory: database_directory(root)?,
        fragments,
        overtakes: identity_by == IdentityBy::OvsUserId && overtakes(&declarations),
        runtime_directory_units: with_runtime_directory(&declarations),
        needs_run_directory,
        changes_run_directory,
        logrotate: logrotate(root)?,
    }))
}

/// `ovs_group`: the group of `OVS_USER_ID`, which RHEL's unit gives the socket to once it is there.
fn database_socket(root: &Root, units: &dyn Units, ovs_group: &str) -> Result<Option<DatabaseSocket>> {
    let Some(unit) = units.unit(SOCKET_UNIT)? else { return Ok(None) };
    let text = declared(root, &unit)?;
    let is_database = |path: &&str| plain(Path::new(path)) == Path::new(paths::OVSDB_SOCKET);
    if !text.list("Socket", "ListenStream").iter().any(is_database) {
        return Ok(None);
    }
    let value = |key: &str| text.last("Socket", key);
    let is_given = |line: &&str| line.contains("chgrp") && line.contains(OVS_USER_ID);
    let given = text.list("Socket", "ExecStartPost").iter().any(is_given);
    let group = if given { ovs_group } else { value("SocketGroup").unwrap_or("root") };
    // systemd.socket(5): 0666 where nothing is said.
    let mode = value("SocketMode").and_then(|mode| u32::from_str_radix(mode, 8).ok()).unwrap_or(0o666);
    Ok(Some(DatabaseSocket {
        unit: unit.name,
        user: value("SocketUser").unwrap_or("root").to_string(),
        group: group.to_string(),
        mode,
    }))
}

fn database_directory(root: &Root) -> Result<PathBuf> {
    let beside = root.find_nofollow(&Path::new(paths::ETC).join(paths::DATABASE))?;
    let is_file = beside.is_some_and(|database| database.kind() == Kind::File);
    Ok(PathBuf::from(if is_file { paths::ETC } else { paths::LIB }))
}

fn logrotate(root: &Root) -> Result<Option<PathBuf>> {
    for name in ["openvswitch-switch", "openvswitch"] {
        let path = Path::new("/etc/logrotate.d").join(name);
        if root.find_nofollow(&path)?.is_some_and(|found| found.kind() == Kind::File) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn first(units: &dyn Units, names: &[&str]) -> Result<Option<UnitFact>> {
    for name in names {
        if let Some(unit) = units.unit(name)? {
            return Ok(Some(unit));
        }
    }
    Ok(None)
}

fn identity_by(declarations: &[(String, UnitText)]) -> IdentityBy {
    let commands = |text: &UnitText| text.list("Service", "ExecStart").join(" ");
    let starts: Vec<String> = declarations.iter().map(|(_, text)| commands(text)).collect();
    if starts.iter().any(|line| line.contains("OVS_USER_ID") || line.contains("OVS_USER_OPT")) {
        IdentityBy::OvsUserId
    } else if starts.iter().any(|line| line.contains(OVS_CTL_OPTS)) {
        IdentityBy::OvsCtlOpts
    } else {
        IdentityBy::Neither
    }
}

fn overtakes(declarations: &[(String, UnitText)]) -> bool {
    let [(ovsdb, _), (_, vswitchd)] = declarations else { return false };
    let mut after = vswitchd.list("Unit", "After").into_iter().flat_map(str::split_whitespace);
    let mut files = vswitchd.list("Service", "EnvironmentFile").into_iter();
    files.any(|file| file.trim_start_matches('-').starts_with("/run/")) && !after.any(|unit| unit == ovsdb)
}

fn with_runtime_directory(declarations: &[(String, UnitText)]) -> Vec<String> {
    let has = |text: &UnitText| {
        let values = text.list("Service", "RuntimeDirectory");
        values.iter().flat_map(|value| value.split_whitespace()).any(|directory| directory == "openvswitch")
    };
    declarations.iter().filter(|(_, text)| has(text)).map(|(name, _)| name.clone()).collect()
}

/// The variables the units' daemons get: `Environment=`, then the files in their order, a later one wins
/// (systemd.exec(5)). Files below `/run` are made by the units themselves from the others.
fn variables(root: &Root, declarations: &[(String, UnitText)]) -> Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    let mut add = |text: &str| {
        variables
            .extend(EnvFile::parse(text).iter().map(|(name, value)| (name.to_string(), value.to_string())));
    };
    for (_, text) in declarations {
        text.list("Service", "Environment").iter().for_each(|words| add(words.trim_matches('"')));
    }
    for (_, text) in declarations {
        for file in text.list("Service", "EnvironmentFile") {
            let path = Path::new(file.trim_start_matches('-'));
            let ours = path == Path::new(DATAPLANE_ENVIRONMENT);
            if ours || !path.is_absolute() || path.starts_with("/run") {
                continue;
            }
            root.read_text(path)?.iter().for_each(|text| add(text));
        }
    }
    Ok(variables)
}

const USER_OPTION: &str = "--ovs-user=";

fn user_option(options: &str) -> Option<String> {
    options.split_whitespace().rev().find_map(|word| word.strip_prefix(USER_OPTION)).map(str::to_string)
}

fn without_user_option(options: &str) -> String {
    let others: Vec<&str> =
        options.split_whitespace().filter(|word| !word.starts_with(USER_OPTION)).collect();
    others.join(" ")
}

fn split_user(text: &str) -> (String, Option<String>) {
    match text.split_once(':') {
        Some((user, "")) => (user.to_string(), None),
        Some((user, group)) => (user.to_string(), Some(group.to_string())),
        None => (text.to_string(), None),
    }
}
