// SPDX-License-Identifier: Apache-2.0
//! What this node is, found by looking: which units run the dataplane and how they take a user, which daemon runs QEMU and
//! as whom, which hugetlbfs mounts are declared. Never concluded from a distribution's name or a version: units were
//! changed in maintenance releases (OVS 3.2 to 3.5 got 3.6's `chown -R`).
//!
//! Everything is read without this program's own drop-ins: the profile is the node the accord is made for, and must
//! be the same before and after `apply`.

mod dataplane;
mod hooks;
mod hypervisor;
mod modes;
mod mounts;

pub use dataplane::{DatabaseSocket, Dataplane, IdentityBy};
pub use hooks::{Hooks, MainHook};
pub use hypervisor::{Hypervisor, QemuConf, configured};
pub use modes::Modes;
pub use mounts::{DeclaredMount, escape_path};

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::base::root::{Kind, Root};
use crate::config::{Config, DataplaneUser, QemuGroup};
use crate::edit::unit::UnitText;
use crate::facts::accounts::{Accounts, Group, Source, User};
use crate::systemd::{UnitFact, Units};

/// uid and gid of a user `openvswitch` that we make: the numbers kolla, TripleO's successor and their images use
/// (openstack/kolla kolla/common/users.py, edpm-ansible roles/edpm_ovs).
pub const OPENVSWITCH_ID: u32 = 42476;

/// Where packages put their units.
pub const PACKAGED_UNITS: [&str; 2] = ["/usr/lib/systemd/system", "/lib/systemd/system"];

/// The base name of every drop-in this program writes.
pub const DROP_IN: &str = "50-vhost-accord.conf";

/// The node as its distribution and administrator made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// OVS, if it is installed.
    pub dataplane: Option<Dataplane>,
    /// libvirt's QEMU driver, if it is installed.
    pub hypervisor: Option<Hypervisor>,
    /// hugetlbfs mounts that a unit or fstab declares.
    pub mounts: Vec<DeclaredMount>,
    /// The accounts the configuration names.
    pub accounts: NamedAccounts,
}

/// The accounts that matter, as they are now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NamedAccounts {
    /// The shared group.
    pub shared: Option<Group>,
    /// The number an earlier `apply` settled on for it.
    pub recorded_gid: Option<u32>,
    /// Another group that has the shared group's configured number.
    pub gid_holder: Option<Group>,
    /// The user the dataplane shall run as.
    pub dataplane_user: Option<User>,
    /// uid or gid of the user `openvswitch` that we would make is someone else's.
    pub openvswitch_id_taken: bool,
    /// What each NSS source says of the shared group.
    pub sources: Vec<Source>,
    /// Other groups the configuration or the distribution names.
    pub named: Vec<Group>,
}

impl Profile {
    /// Looks at the node.
    /// `recorded_gid` is what an earlier `apply` settled on for the shared group.
    pub fn look(
        root: &Root,
        units: &dyn Units,
        accounts: &Accounts,
        config: &Config,
        recorded_gid: Option<u32>,
    ) -> Result<Profile> {
        let mut profile = Profile {
            dataplane: dataplane::look(root, units)?,
            hypervisor: hypervisor::look(root, units, accounts)?,
            mounts: mounts::look(root, units)?,
            accounts: NamedAccounts { recorded_gid, ..NamedAccounts::default() },
        };
        profile.name_accounts(accounts, config);
        profile.accounts.sources = accounts.group_sources(&config.group)?;
        Ok(profile)
    }

    fn name_accounts(&mut self, accounts: &Accounts, config: &Config) {
        let named = &mut self.accounts;
        named.shared = accounts.group(&config.group);
        named.gid_holder = accounts.group_by_id(config.gid).filter(|holder| holder.name != config.group);
        let mut groups = Vec::new();
        let user = match &config.dataplane_user {
            DataplaneUser::Named(user, group) => {
                groups.extend(group.clone());
                Some(user.clone())
            }
            DataplaneUser::Keep => self.dataplane.as_ref().map(|dataplane| dataplane.user.clone()),
            DataplaneUser::Root => None,
        };
        named.dataplane_user = user.and_then(|user| accounts.user(&user));
        let id = OPENVSWITCH_ID;
        // A group of that name without the user is ours, from an apply that was killed between the two.
        let others = |group: Group| group.name != "openvswitch";
        named.openvswitch_id_taken =
            accounts.user_by_id(id).is_some() || accounts.group_by_id(id).is_some_and(others);
        if let QemuGroup::Named(group) = &config.qemu_group {
            groups.push(group.clone());
        }
        let socket = self.dataplane.as_ref().and_then(|dataplane| dataplane.socket.as_ref());
        groups.extend(socket.map(|socket| socket.group.clone()));
        groups.extend(self.hypervisor.as_ref().map(|hypervisor| hypervisor.own_group.name.clone()));
        named.named = groups.iter().filter_map(|name| accounts.group(name)).collect();
    }
}

/// What fragment and drop-ins of a unit declare together, ours left out.
fn declared(root: &Root, unit: &UnitFact) -> Result<UnitText> {
    let foreign = |path: &&Path| path.file_name().is_none_or(|name| name != DROP_IN);
    let drop_ins = unit.drop_ins.iter().map(|path| path.as_path()).filter(foreign);
    // A masked unit leads to /dev/null; what it is comes back as its package has it.
    let packaged = PACKAGED_UNITS.map(|directory| Path::new(directory).join(&unit.name));
    let mut fragment = unit.fragment.as_deref();
    if unit.load_state == "masked" {
        fragment = None;
        for path in &packaged {
            let is_file = root.find(path)?.is_some_and(|found| found.kind() == Kind::File);
            fragment = fragment.or(Some(path.as_path()).filter(|_| is_file));
        }
    }
    let mut texts = Vec::new();
    for path in fragment.into_iter().chain(drop_ins) {
        if let Some(text) = root.read_text(path)? {
            texts.push(UnitText::parse(&text));
        }
    }
    Ok(UnitText::merge(texts))
}
