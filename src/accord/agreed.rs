// SPDX-License-Identifier: Apache-2.0
//! What the hook must know of the accord, in a file: it has no time to ask systemd, and must not ask a name service on
//! the network. Numbers only, so that it holds in a container with other names as well.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::{Accord, Given, QemuAccord};
use crate::base::paths;
use crate::base::root::{Kind, Root};
use crate::base::text::log_line;
use crate::config::{PortType, ServerAccess, Sockets};
use crate::dataplane::ovs::second::Second;
use crate::items::{Item, Owner, Subject};

const VERSION: u32 = 1;

/// QEMU, unless a domain has a DAC label of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreedQemu {
    /// The user.
    pub uid: u32,
    /// The group it runs with.
    pub gid: u32,
    /// All its groups.
    pub groups: Vec<u32>,
    /// The group that `dpdkvhostuser` sockets are granted to; none if we do not grant them.
    pub grant_gid: Option<u32>,
}

/// The dataplane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreedDataplane {
    /// The user.
    pub uid: u32,
    /// The only group it has.
    pub gid: u32,
    /// It keeps root's capabilities.
    pub privileged: bool,
    /// The unit to restart.
    pub unit: String,
}

/// The part of the accord that counts when a VM starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Agreed {
    version: u32,
    note: String,
    /// The number of the shared group.
    pub gid: u32,
    /// Where QEMU makes its sockets.
    pub socket_directory: PathBuf,
    /// That directory and its parents, to be created where missing; empty if they are not ours.
    pub directories: Vec<Owner>,
    /// QEMU.
    pub qemu: Option<AgreedQemu>,
    /// The dataplane.
    pub dataplane: Option<AgreedDataplane>,
    /// The group of sockets that QEMU creates in the directory; none if we do not set it. Files of older versions have
    /// neither this nor the next field.
    #[serde(default)]
    pub shared_gid: Option<u32>,
    /// What the dataplane must own before it starts; none in a file of an older version, which did not keep it.
    #[serde(default)]
    pub state: Option<Vec<Owner>>,
    /// Declared dataplanes whose sockets we grant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declared: Vec<Given>,
    /// Second switches of the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seconds: Vec<Second>,
}

impl Agreed {
    pub(super) fn of(accord: &Accord, items: &[Item]) -> Agreed {
        let is_ours = |owner: &Owner| {
            accord.socket_directory.starts_with(&owner.path)
                && matches!(owner.subject, Subject::Parent | Subject::SocketDirectory)
        };
        let owners = || {
            let owner = |item: &Item| if let Item::Owner(owner) = item { Some(owner.clone()) } else { None };
            items.iter().filter_map(owner)
        };
        let gives = accord.gives;
        let grants =
            gives && accord.has(PortType::Dpdkvhostuser) && accord.server_access == Some(ServerAccess::Grant);
        let qemu = |qemu: &QemuAccord| AgreedQemu {
            uid: qemu.uid,
            gid: qemu.gid,
            groups: qemu.groups.clone(),
            grant_gid: grants.then_some(qemu.grant_gid),
        };
        Agreed {
            version: VERSION,
            note: "written by 'vhost-accord apply', removed by 'vhost-accord revert'".to_string(),
            gid: accord.group.gid,
            socket_directory: accord.socket_directory.clone(),
            directories: owners().filter(is_ours).collect(),
            qemu: accord.qemu.as_ref().map(qemu),
            dataplane: accord.dataplane.as_ref().map(|dataplane| AgreedDataplane {
                uid: dataplane.uid,
                gid: dataplane.gid,
                privileged: dataplane.privileged,
                unit: dataplane.switch_unit.clone(),
            }),
            shared_gid: (gives && accord.has(PortType::Dpdkvhostuserclient)).then_some(accord.group.gid),
            declared: accord.declared.clone(),
            seconds: accord.seconds.clone(),
            state: Some(owners().filter(Owner::is_state).collect()),
        }
    }

    /// Is this path one at which the node's switch has its sockets?
    pub fn is_socket_of_switch(&self, path: &Path) -> bool {
        self.dataplane.is_some() && path.starts_with(&self.socket_directory)
    }

    /// Sections of the configuration, and where their sockets are.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &Sockets)> {
        let given = self.declared.iter().map(|given| (given.name.as_str(), &given.sockets));
        given.chain(self.seconds.iter().map(|second| (second.name.as_str(), &second.sockets)))
    }

    /// The file's content.
    pub(super) fn text(&self) -> String {
        // Numbers, paths and texts can always be written as JSON.
        serde_json::to_string_pretty(self).map(|text| text + "\n").unwrap_or_default()
    }

    /// Reads the file that `apply` wrote; `None` if it did not run yet. A file that others than root could have written is an
    /// error.
    pub fn read(root: &Root) -> Result<Option<Agreed>> {
        let path = Path::new(paths::AGREED);
        let Some(file) = root.find_nofollow(path)? else { return Ok(None) };
        file.known()?;
        if file.kind() != Kind::File || file.uid() != 0 || file.mode() & 0o022 != 0 {
            bail!("{} is not a file that root alone may write", path.display());
        }
        let agreed: Agreed = serde_json::from_slice(&file.read()?)
            .with_context(|| format!("{}: not what this program writes", path.display()))?;
        if agreed.version != VERSION {
            bail!("{}: version {}, expected {VERSION}", path.display(), agreed.version);
        }
        Ok(Some(agreed))
    }

    /// The same; none, and a warning, if others could have written it.
    pub fn trusted(root: &Root) -> Option<Agreed> {
        Agreed::read(root).unwrap_or_else(|error| {
            tracing::warn!("{}", log_line(&format!("{error:#}; fix: vhost-accord apply")));
            None
        })
    }
}
