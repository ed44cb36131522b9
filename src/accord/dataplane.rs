// SPDX-License-Identifier: Apache-2.0
//! Whom OVS runs as, and what its units, environment and state need for that.

mod socket;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Accord, Agreed, Ground, Obstacle, SharedGroup};
use crate::base::paths;
use crate::base::paths::DROP_IN;
use crate::config::{Action, Config, DataplaneUser, PortType, ServerAccess};
use crate::dataplane::ovs;
use crate::dataplane::ovs::units::{Dataplane, IdentityBy, OWN_ID};
use crate::edit::shell;
use crate::items::{Absent, File, Item, LogOwner, Owner, Subject, User};
use crate::profile::Profile;

/// The dataplane's identity and units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DataplaneAccord {
    /// The user's name.
    pub user: String,
    /// Its number.
    pub uid: u32,
    /// The group's name. OVS drops all others (capng_change_id with CAPNG_DROP_SUPP_GRP, lib/daemon-unix.c).
    pub group: String,
    /// Its number.
    pub gid: u32,
    /// It keeps root's capabilities: no owner or mode keeps it from anything.
    pub privileged: bool,
    /// The umask ovs-vswitchd makes its sockets with.
    pub umask: u32,
    /// The unit to restart for a new identity.
    pub switch_unit: String,
    /// The unit of ovs-vswitchd.
    pub vswitchd_unit: String,
    /// The unit of ovsdb-server, where it has one of its own.
    pub ovsdb_unit: Option<String>,
    /// The unit of the database's socket, where systemd holds it.
    pub socket_unit: Option<String>,
    /// The account to create, if it does not exist.
    pub(super) to_be_made: Option<User>,
    /// The group must list the user.
    pub(super) needs_membership: bool,
    /// The group its units are told.
    unit_group: String,
    /// The distribution or the administrator would run it as another user.
    switched: bool,
    /// It must not start if our entries before its start fail (`on-error = refuse`).
    insists: bool,
}

impl DataplaneAccord {
    /// Would the distribution or the administrator run it as another user?
    pub fn is_switched(&self) -> bool {
        self.switched
    }

    /// Its units: the database's socket, where systemd has it, then the one that stands for all of them.
    pub fn units(&self) -> impl Iterator<Item = &str> {
        let daemons = [Some(&self.vswitchd_unit), self.ovsdb_unit.as_ref()].into_iter().flatten();
        let others = daemons.filter(|unit| **unit != self.switch_unit);
        self.socket_unit.iter().chain([&self.switch_unit]).chain(others).map(String::as_str)
    }

    /// Does it need permission by owner and mode, having no capability that overrides them?
    pub fn is_confined(&self) -> bool {
        !self.privileged
    }
}

pub(super) fn decide(
    config: &Config,
    profile: &Profile,
    shared: &SharedGroup,
) -> Result<Option<DataplaneAccord>, Obstacle> {
    let Some(dataplane) = &profile.dataplane else { return Ok(None) };
    let shared_name = || shared.name.clone();
    let (user, group) = match &config.dataplane_user {
        DataplaneUser::Keep => (dataplane.user.clone(), shared_name()),
        DataplaneUser::Root => ("root".to_string(), shared_name()),
        DataplaneUser::Named(user, group) => (user.clone(), group.clone().unwrap_or_else(shared_name)),
    };
    let is_root = user == "root";
    let privileged = is_root && !dataplane.always_drops;
    let group = if privileged { "root".to_string() } else { group };
    if !is_root && dataplane.identity_by == IdentityBy::Neither {
        return Err(Obstacle {
            id: "dataplane-user-not-supported",
            what: format!("{} cannot run its daemons as another user", dataplane.vswitchd_unit),
            fix: "set dataplane-user=keep".to_string(),
        });
    }
    let account = if is_root { (0, None) } else { account(profile, &user)? };
    let classical = config.has(PortType::Dpdkvhostuser) && config.server_access == ServerAccess::Umask;
    let group = match &profile.hypervisor {
        // The classical recipe for a root dataplane: it runs with QEMU's own group.
        Some(hypervisor) if privileged && classical => hypervisor.own_group.name.clone(),
        Some(_) | None => group,
    };
    let gid = group_number(profile, shared, &group)?;
    let by_units = dataplane.identity_by == IdentityBy::OvsUserId;
    let unit_group = if by_units && privileged { shared.name.clone() } else { group.clone() };
    let group_is_told = by_units || !privileged;
    let unchanged =
        dataplane.user == user && (!group_is_told || dataplane.group.as_ref() == Some(&unit_group));
    Ok(Some(DataplaneAccord {
        needs_membership: !privileged && !primary(profile, &user, gid),
        privileged,
        unit_group,
        uid: account.0,
        to_be_made: account.1,
        user,
        gid,
        group,
        umask: if classical { 0o002 } else { 0o022 },
        switch_unit: dataplane.switch_unit.clone(),
        vswitchd_unit: dataplane.vswitchd_unit.clone(),
        ovsdb_unit: dataplane.ovsdb_unit.clone(),
        socket_unit: dataplane.socket.as_ref().map(|socket| socket.unit.clone()),
        switched: !unchanged,
        insists: config.hook.on_error == Action::Refuse,
    }))
}

fn primary(profile: &Profile, user: &str, gid: u32) -> bool {
    profile.accounts.dataplane_user.as_ref().is_some_and(|now| now.name == user && now.gid == gid)
}

fn account(profile: &Profile, user: &str) -> Result<(u32, Option<User>), Obstacle> {
    let made = User { name: user.to_string(), uid: OWN_ID, gid: OWN_ID };
    if let Some(existing) = profile.accounts.dataplane_user.as_ref().filter(|existing| existing.name == user)
    {
        // An account with our numbers was created by an earlier apply, and remains an item.
        let ours = existing.uid == OWN_ID && existing.gid == OWN_ID;
        return Ok((existing.uid, ours.then_some(made)));
    }
    if user == ovs::units::OWN_USER && !profile.accounts.own_id_taken {
        return Ok((OWN_ID, Some(made)));
    }
    Err(Obstacle {
        id: "dataplane-user-missing",
        what: format!("dataplane-user names the user '{user}', which does not exist"),
        fix: format!("create it (useradd --system --no-create-home {user}), or set dataplane-user=keep"),
    })
}

fn group_number(profile: &Profile, shared: &SharedGroup, group: &str) -> Result<u32, Obstacle> {
    let known = profile.accounts.named.iter().find(|known| known.name == group);
    match known {
        _ if group == shared.name => Ok(shared.gid),
        _ if group == "root" => Ok(0),
        Some(known) => Ok(known.gid),
        None => Err(Obstacle {
            id: "group-missing",
            what: format!("dataplane-user names the group '{group}', which does not exist"),
            fix: format!("create it (groupadd --system {group}), or set dataplane-user=keep"),
        }),
    }
}

pub(super) fn items(accord: &Accord, ground: &Ground<'_>) -> Vec<Item> {
    let (Some(wanted), Some(found)) = (&accord.dataplane, &ground.profile.dataplane) else {
        return Vec::new();
    };
    let mut items = Vec::new();
    if wanted.switched {
        items.push(file(paths::DATAPLANE_ENVIRONMENT, environment(wanted, found), None));
    }
    for unit in found.units() {
        let mut lines = service_lines(accord, wanted, found, unit, ground.program);
        if !lines.is_empty() {
            lines.insert(0, "[Service]".to_string());
        }
        let overtakes = found.overtakes && wanted.is_confined() && unit == found.vswitchd_unit;
        let ovsdb = found.ovsdb_unit.as_ref().filter(|_| overtakes);
        lines.splice(..0, ovsdb.map(|ovsdb| format!("[Unit]\nAfter={ovsdb}")));
        if !lines.is_empty() {
            items.push(drop_in(unit, &format!("{}\n", lines.join("\n"))));
        }
    }
    if wanted.is_confined() {
        let logs = |path: &PathBuf| LogOwner { path: path.clone(), user: wanted.user.clone() };
        items.extend(found.logrotate.iter().map(logs).map(Item::LogOwner));
        // systemd would create it for root, to put the database's socket there.
        let is_sockets = found.socket.is_some() && !found.changes_run_directory;
        if is_sockets || found.needs_run_directory && resets_run_directory(found) {
            let line = format!("d {} 0755 {} {} -\n", ovs::paths::RUN, wanted.user, wanted.group);
            items.push(file(paths::TMPFILES, line, None));
        }
        items.extend(state(accord, wanted, found));
    }
    items.extend(socket::items(accord, wanted, ground));
    items
}

/// In ovs-vswitchd's unit whenever `dpdkvhostuser` ports must work, whatever `server-access` is.
const VSWITCHD_PRE: &str = "service vswitchd-pre";

/// Is this item there because `dpdkvhostuser` ports must work?
pub fn is_for_server_ports(item: &Item) -> bool {
    let Item::File(file) = item else { return false };
    let of_unit = file.unit.is_some() && file.content.lines().any(|line| line.ends_with(VSWITCHD_PRE));
    let agreed = || serde_json::from_str::<Agreed>(&file.content).ok()?.qemu?.grant_gid;
    of_unit || (file.path == Path::new(paths::AGREED) && agreed().is_some())
}

fn resets_run_directory(found: &Dataplane) -> bool {
    !found.runtime_directory_units.is_empty()
}

/// The variable that carries the identity, with the administrator's options.
fn environment(wanted: &DataplaneAccord, found: &Dataplane) -> String {
    let told = (!wanted.privileged).then_some((wanted.user.as_str(), wanted.group.as_str()));
    let (name, value) = found.variable(told, (&wanted.user, &wanted.unit_group));
    format!("{name}={}\n", shell::quote(&value).unwrap_or(value))
}

fn service_lines(
    accord: &Accord,
    wanted: &DataplaneAccord,
    found: &Dataplane,
    unit: &str,
    program: &str,
) -> Vec<String> {
    let is_vswitchd = unit == found.vswitchd_unit;
    let mut lines = Vec::new();
    let mut line = |wished: bool, text: String| {
        if wished {
            lines.push(text);
        }
    };
    let keeps_run_directory = found.runtime_directory_units.iter().any(|name| name == unit);
    line(wanted.is_confined() && keeps_run_directory, "RuntimeDirectory=".to_string());
    line(wanted.switched, format!("EnvironmentFile={}", paths::DATAPLANE_ENVIRONMENT));
    // What the new identity must own gets its owner between the stop and the start of the dataplane, whoever restarts it.
    let first = found.ovsdb_unit.as_deref().unwrap_or(&found.vswitchd_unit) == unit;
    // "+": with full privileges whatever the unit runs as; "-": a failure does not stop the dataplane's start.
    let before = if wanted.insists { "ExecStartPre=+" } else { "ExecStartPre=-+" };
    line(wanted.switched && first, format!("{before}{program} service dataplane-pre"));
    // Where DPDK keeps its run-time files for a user that is not root; else it takes /tmp (lib/eal/unix/eal_filesystem.c).
    line(
        wanted.switched && wanted.uid != 0 && is_vswitchd,
        format!("Environment=XDG_RUNTIME_DIR={}", ovs::paths::RUN),
    );
    if is_vswitchd && let Some(access) = accord.server_access {
        line(true, format!("{before}{program} {VSWITCHD_PRE}"));
        let classical = access == ServerAccess::Umask;
        line(classical && wanted.privileged, format!("Group={}", wanted.group));
        line(classical, "UMask=0002".to_string());
        // A failure after the start must not stop a running dataplane.
        line(!classical, format!("ExecStartPost=-+{program} service vswitchd-post"));
    }
    lines
}

/// What a dataplane that is not root must own. Names are taken as they are, links are not followed.
fn state(accord: &Accord, wanted: &DataplaneAccord, found: &Dataplane) -> Vec<Item> {
    let owned = |path: PathBuf, subject: Subject, gid: Option<u32>, mode: Option<u32>| {
        Item::Owner(Owner { path, subject, uid: Some(wanted.uid), gid, mode, absent: Absent::Fine })
    };
    let data = |path: PathBuf, mode| owned(path, Subject::DataplaneState, None, mode);
    // If QEMU is in the dataplane's group, it must not read the database: the group gets no access to its directory.
    let qemu_in_group = accord.qemu.as_ref().is_some_and(|qemu| qemu.is_in(wanted.gid));
    let private = qemu_in_group.then_some(0o700);
    let state = found.state().into_iter().enumerate();
    // The first is the database's directory.
    let mut items: Vec<Item> = state.map(|(at, path)| data(path, private.filter(|_| at == 0))).collect();
    // Not if the units change the owner themselves, while nothing runs: a root without capabilities could not remove its
    // pid file from a directory that no longer belongs to root.
    if !found.changes_run_directory && (wanted.switched || resets_run_directory(found)) {
        let run = PathBuf::from(ovs::paths::RUN);
        items.push(owned(run, Subject::RunDirectory, Some(wanted.gid), Some(0o755)));
    }
    items
}

const HEADER: &str =
    "# Written by 'vhost-accord apply', removed by 'vhost-accord revert'. Changes here are overwritten.\n";

/// A file of ours.
pub(super) fn file(path: &str, content: String, unit: Option<String>) -> Item {
    Item::File(File { path: PathBuf::from(path), content: format!("{HEADER}{content}"), unit })
}

/// A drop-in of a unit, ours.
pub(super) fn drop_in(unit: &str, content: &str) -> Item {
    let path = format!("{}/{unit}.d/{DROP_IN}", paths::UNIT_DIRECTORY);
    file(&path, content.to_string(), Some(unit.to_string()))
}
