// SPDX-License-Identifier: Apache-2.0
//! What this node is, found by looking: which units run the dataplane and how they take a user, which daemon runs QEMU and
//! as whom, which hugetlbfs mounts are declared. Never concluded from a distribution's name or a version: units were
//! changed in maintenance releases (OVS 3.2 to 3.5 got 3.6's `chown -R`).
//!
//! Everything is read without this program's own drop-ins: the profile is the node the accord is made for, and must
//! be the same before and after `apply`.

mod hooks;
mod hypervisor;
mod mounts;

pub use hooks::MainHook;
pub use hypervisor::{Hypervisor, QemuConf, configured};
pub use mounts::DeclaredMount;

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::base::paths;
use crate::base::root::{Root, told};
use crate::config::{Config, DataplaneUser, QemuGroup};
use crate::dataplane::ovs::units::{Dataplane, OWN_ID, OWN_USER};
use crate::dataplane::{declared, ovs};
use crate::facts::accounts::{Accounts, Group, Source, User};
use crate::systemd::Units;

/// The node as its distribution and administrator made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// OVS, if it is installed.
    pub dataplane: Option<Dataplane>,
    /// libvirt's QEMU driver, if it is installed.
    pub hypervisor: Option<Hypervisor>,
    /// hugetlbfs mounts that a unit or fstab declares.
    pub mounts: Vec<DeclaredMount>,
    /// Dataplanes that the configuration declares.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub declared: Vec<declared::Found>,
    /// Sections of the configuration that do not count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<declared::Problem>,
    /// The accounts the configuration names.
    pub accounts: NamedAccounts,
    /// The service that watches is installed: it comes with the packages.
    pub watcher: bool,
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
    /// uid or gid of the dataplane's own user that we would make is someone else's.
    pub own_id_taken: bool,
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
        let (found, problems) = declared::look(root, units, accounts, config)?;
        let mut profile = Profile {
            dataplane: ovs::units::look(root, units)?,
            hypervisor: hypervisor::look(root, units, accounts)?,
            declared: found,
            problems,
            mounts: mounts::look(root, units)?,
            accounts: NamedAccounts { recorded_gid, ..NamedAccounts::default() },
            watcher: told(root.find(&Path::new(paths::PACKAGED_UNITS[0]).join(paths::WATCH_UNIT)))?
                .flatten()
                .is_some(),
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
        let id = OWN_ID;
        // A group of that name without the user is ours, from an apply that was killed between the two.
        let others = |group: Group| group.name != OWN_USER;
        named.own_id_taken =
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
