// SPDX-License-Identifier: Apache-2.0
//! QEMU's identity, and what is set in files of others: qemu.conf, and packaged files that were patched.

use std::path::PathBuf;

use serde::Serialize;

use super::{Accord, Ground, Obstacle, SharedGroup};
use crate::base::paths;
use crate::base::paths::PACKAGED_UNITS;
use crate::config::{Config, PortType, QemuGroup};
use crate::dataplane::ovs;
use crate::dataplane::ovs::legacy;
use crate::items::{Item, Patch, Setting};
use crate::profile::{Profile, QemuConf};

/// The identity that QEMU runs with, unless a domain has a DAC label of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QemuAccord {
    /// The user.
    pub user: String,
    /// Its number.
    pub uid: u32,
    /// The group's name.
    pub group: String,
    /// The group it runs with.
    pub gid: u32,
    /// All groups it will have: libvirt adds those of the account databases (src/util/virutil.c, virGetGroupList).
    pub groups: Vec<u32>,
    /// The group that `dpdkvhostuser` sockets are granted to.
    pub grant_gid: u32,
    /// That group's name.
    pub grant_group: String,
    /// The daemon to restart for a new qemu.conf; none where libvirt is in a container.
    pub daemon_unit: Option<String>,
    /// The value of `group` in qemu.conf that the accord asks for.
    conf_group: Option<String>,
}

impl QemuAccord {
    /// Is QEMU in this group?
    pub fn is_in(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}

pub(super) fn decide(
    config: &Config,
    profile: &Profile,
    shared: &SharedGroup,
) -> Result<Option<QemuAccord>, Obstacle> {
    let Some(hypervisor) = &profile.hypervisor else { return Ok(config.qemu_ids.map(in_a_container)) };
    let conf_group = match &config.qemu_group {
        QemuGroup::Shared if config.has(PortType::Dpdkvhostuserclient) => Some(shared.name.clone()),
        QemuGroup::Shared | QemuGroup::Keep => None,
        QemuGroup::Named(name) => Some(name.clone()),
    };
    let conf_group =
        conf_group.filter(|_| config.managed.has("qemu-conf") && hypervisor.conf != QemuConf::Missing);
    let named = conf_group.as_deref().map(|name| group_number(profile, shared, name)).transpose()?;
    // Members of the shared group stay in it when it gets another number.
    let before = profile.accounts.shared.as_ref().map(|group| group.gid);
    let settled = |gid: u32| if Some(gid) == before { shared.gid } else { gid };
    let (group, gid) =
        named.unwrap_or_else(|| (hypervisor.group.name.clone(), settled(hypervisor.group.gid)));
    Ok(Some(QemuAccord {
        user: hypervisor.user.name.clone(),
        uid: hypervisor.user.uid,
        group,
        gid,
        groups: hypervisor.groups.iter().map(|gid| settled(*gid)).collect(),
        grant_gid: settled(hypervisor.own_group.gid),
        grant_group: hypervisor.own_group.name.clone(),
        daemon_unit: Some(hypervisor.daemon_unit.clone()),
        conf_group,
    }))
}

/// libvirt is in a container: only numbers matter, and none of its files are on this node.
fn in_a_container((uid, gid): (u32, u32)) -> QemuAccord {
    QemuAccord {
        user: format!("+{uid}"),
        uid,
        group: format!("+{gid}"),
        gid,
        groups: vec![gid],
        grant_gid: gid,
        grant_group: format!("+{gid}"),
        daemon_unit: None,
        conf_group: None,
    }
}

/// libvirtd does not start if qemu.conf names a group that does not exist, so such a name is never written.
fn group_number(profile: &Profile, shared: &SharedGroup, name: &str) -> Result<(String, u32), Obstacle> {
    if name == shared.name {
        return Ok((shared.name.clone(), shared.gid));
    }
    let known = profile.accounts.named.iter().find(|group| group.name == name);
    known.map(|group| (group.name.clone(), group.gid)).ok_or_else(|| Obstacle {
        id: "group-missing",
        what: format!("qemu-group = {name}: this group does not exist, and libvirt would not start with it"),
        fix: format!("create it (groupadd --system {name}), or set qemu-group=keep"),
    })
}

pub(super) fn items(accord: &Accord, _ground: &Ground<'_>) -> Vec<Item> {
    let wanted = accord.qemu.as_ref().and_then(|qemu| qemu.conf_group.clone());
    let setting = |value| Setting { path: PathBuf::from(paths::QEMU_CONF), key: "group".to_string(), value };
    wanted.map(|value| Item::Setting(setting(value))).into_iter().collect()
}

pub(super) fn legacy(_accord: &Accord, ground: &Ground<'_>) -> Vec<Item> {
    let Some(dataplane) = &ground.profile.dataplane else { return Vec::new() };
    let packaged = |path: &&PathBuf| PACKAGED_UNITS.iter().any(|directory| path.starts_with(directory));
    let unit = |path: &PathBuf| Item::Patch(Patch { path: path.clone(), of: legacy::Kind::Unit });
    let mut items: Vec<Item> = dataplane.fragments.iter().filter(packaged).map(unit).collect();
    items.push(Item::Patch(Patch { path: ovs::paths::CTL.into(), of: legacy::Kind::OvsCtl }));
    items
}
