// SPDX-License-Identifier: Apache-2.0
//! The configuration: what the operator wants, and where each value came from.
//!
//! Files in the order systemd's own daemons read theirs: the vendor's, the administrator's, then the drop-ins of both
//! sorted by name, where one in `/etc` masks its namesake in `/usr/lib`. A later value wins.

mod dataplane;
mod effective;
mod hook;
mod keys;
mod layers;
mod value;
mod watch;

#[cfg(test)]
mod tests;

pub use dataplane::{DECLARED, Declaration, Declared, MadeBy, Sockets};
pub use effective::{Effective, Origin};
pub use hook::{Action, Family, HookConfig};
pub use keys::{DATAPLANE, Key, SECTIONS, commented};
pub use layers::{Proposed, Raw};
pub use value::{DataplaneUser, GidMismatch, Managed, PortType, QemuGroup, ServerAccess};
pub use watch::{Drift, WatchConfig};

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::base::root::Root;
use value::one_of;

/// The whole configuration, typed and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The port types that must work on this node. Where it `looks`, those that always must; what is found joins them.
    pub modes: Vec<PortType>,
    /// `modes = look`: what the node has decides.
    pub looks: bool,
    /// Where `modes` was set.
    pub modes_from: Origin,
    /// Where `manage` was set.
    pub managed_from: Origin,
    /// The group dataplane and QEMU share.
    pub group: String,
    /// Its number: the contract with containers, whose names for it may differ.
    pub gid: u32,
    /// What to do when the group exists with another number.
    pub gid_mismatch: GidMismatch,
    /// Where QEMU makes the sockets of `dpdkvhostuserclient` ports.
    pub socket_directory: PathBuf,
    /// How QEMU is let in to the sockets OVS makes for `dpdkvhostuser` ports.
    pub server_access: ServerAccess,
    /// Whom the dataplane runs as.
    pub dataplane_user: DataplaneUser,
    /// The group in qemu.conf.
    pub qemu_group: QemuGroup,
    /// The numbers QEMU runs with where libvirt is in a container: names there are others.
    pub qemu_ids: Option<(u32, u32)>,
    /// What `apply` may touch.
    pub managed: Managed,
    /// What the check at a VM's start does.
    pub hook: HookConfig,
    /// What a restarted switch has to run, and VMs then to reconnect.
    pub restart_deadline: Duration,
    /// May the scripts of packages apply?
    pub auto_apply: bool,
    /// The sections of dataplanes that are not found by looking.
    pub sections: Vec<Declaration>,
    /// What the watching service does.
    pub watch: WatchConfig,
}

impl Config {
    /// Reads and checks all layers beneath `root`.
    pub fn read(root: &Root) -> Result<Config> {
        Config::with(root, None)
    }

    /// The same with a drop-in that may be added.
    pub fn with(root: &Root, proposed: Option<&Proposed>) -> Result<Config> {
        Config::from_raw(&Raw::read(root, proposed)?)
    }

    /// Checks the merged values.
    pub fn from_raw(raw: &Raw) -> Result<Config> {
        let listed = raw.parse("modes", value::modes)?;
        let possible = listed.as_deref().unwrap_or(&PortType::ALL);
        let socket_directory = raw.parse("socket-directory", value::directory)?;
        for section in raw.dataplanes() {
            Declared::check(section, &socket_directory)?;
        }
        let config = Config {
            sections: raw.dataplanes().cloned().collect(),
            hook: HookConfig::parse(raw, possible)?,
            looks: listed.is_none(),
            modes_from: raw.origin("modes"),
            managed_from: raw.origin("manage"),
            modes: listed.unwrap_or_else(|| vec![PortType::Dpdkvhostuserclient]),
            group: raw.parse("group", value::account_name)?,
            gid: raw.parse("gid", value::gid)?,
            gid_mismatch: raw.parse("gid-mismatch", one_of(value::GID_MISMATCHES))?,
            socket_directory,
            server_access: raw.parse("server-access", one_of(value::SERVER_ACCESSES))?,
            dataplane_user: raw.parse("dataplane-user", value::dataplane_user)?,
            qemu_group: raw.parse("qemu-group", value::qemu_group)?,
            qemu_ids: raw.parse("qemu-ids", value::qemu_ids)?,
            managed: raw.parse("manage", value::managed)?,
            restart_deadline: raw.parse("restart-deadline", value::seconds(5.0..=600.0))?,
            auto_apply: raw.parse("auto-apply", one_of(value::YES_OR_NO))?,
            watch: WatchConfig::parse(raw)?,
        };
        Ok(config)
    }

    /// The port type that the configuration leaves out, and where.
    pub fn excluded(&self) -> Option<(PortType, &Origin)> {
        let left_out = PortType::ALL.into_iter().find(|kind| !self.looks && !self.has(*kind))?;
        Some((left_out, &self.modes_from))
    }

    /// True when ports of this type must work.
    pub fn has(&self, mode: PortType) -> bool {
        self.modes.contains(&mode)
    }
}
