// SPDX-License-Identifier: Apache-2.0
//! What should hold on this node: a value made from configuration and profile alone, without looking again.

mod accounts;
mod agreed;
mod dataplane;
mod declared;
mod first_boot;
mod hook;
mod paths;
mod settings;
mod watch;

pub use accounts::SharedGroup;
pub use agreed::Agreed;
pub use dataplane::{DataplaneAccord, is_for_server_ports};
pub use declared::{Given, is_drop_in};
pub use first_boot::is_left_to;
pub use settings::QemuAccord;
pub use watch::is_watch_link;

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::config::{Config, PortType, ServerAccess};
use crate::dataplane::ovs::second::Second;
use crate::dataplane::ovs::units::ENVIRONMENTS;
use crate::facts::surroundings::Concern;
use crate::items::{File, Item, Owner, Subject};
use crate::node::live::Live;
use crate::profile::Profile;

/// The accord of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Accord {
    /// The port types that must work.
    pub modes: Vec<PortType>,
    /// The group dataplane and QEMU share.
    pub group: SharedGroup,
    /// Where QEMU makes its sockets.
    pub socket_directory: PathBuf,
    /// The dataplane's identity, if there is one.
    pub dataplane: Option<DataplaneAccord>,
    /// QEMU's identity, if there is libvirt.
    pub qemu: Option<QemuAccord>,
    /// How QEMU gets access to `dpdkvhostuser` sockets; none if no such port must work.
    pub server_access: Option<ServerAccess>,
    /// We grant sockets of the switch's ports.
    pub gives: bool,
    /// Declared dataplanes whose sockets we grant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub declared: Vec<Given>,
    /// Second switches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub seconds: Vec<Second>,
    /// Everything that must hold, in the order in which it is made. None of it is about processes or sockets.
    pub items: Vec<Item>,
}

/// The items of one part that may be managed or not.
type Part = fn(&Accord, &Ground<'_>) -> Vec<Item>;

/// Why no accord can be made, and what the operator must decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    /// A stable id, as findings have.
    pub id: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub fix: String,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.id, self.what, self.fix)
    }
}

impl std::error::Error for Obstacle {}

/// What the node is now, as far as the accord depends on it beyond the profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ground<'a> {
    /// The node by looking.
    pub profile: &'a Profile,
    /// The hugetlbfs mounts that are there now.
    pub mounted: &'a [PathBuf],
    /// The program's path, for units.
    pub program: &'a str,
    /// An image that is not booted.
    pub image: bool,
}

impl Accord {
    /// Makes the accord.
    pub fn new(config: &Config, ground: &Ground<'_>) -> Result<Accord, Obstacle> {
        let group = SharedGroup::decide(config, ground.profile)?;
        let dataplane = dataplane::decide(config, ground.profile, &group)?;
        let qemu = settings::decide(config, ground.profile, &group)?;
        let server = config.has(PortType::Dpdkvhostuser);
        let mut accord = Accord {
            modes: config.modes.clone(),
            group,
            socket_directory: config.socket_directory.clone(),
            dataplane,
            qemu,
            server_access: server.then_some(config.server_access),
            gives: config.managed.has("sockets"),
            declared: Vec::new(),
            seconds: declared::seconds(&ground.profile.declared),
            items: Vec::new(),
        };
        accord.declared = declared::given(&accord, &ground.profile.declared);
        let parts: [(&str, Part); 9] = [
            ("accounts", accounts::items),
            ("sockets", paths::socket_directory),
            ("sockets", declared::directories),
            ("hugepages", paths::hugepages),
            ("qemu-conf", settings::items),
            ("legacy", settings::legacy),
            ("dataplane", dataplane::items),
            ("dataplane", declared::drop_ins),
            ("hook", hook::items),
        ];
        let managed = parts.into_iter().filter(|(part, _)| config.managed.has(part));
        let mut items: Vec<Item> = managed.flat_map(|(_, items)| items(&accord, ground)).collect();
        // The units' entries go by it as well.
        if config.managed.has("hook") || config.managed.has("dataplane") {
            items.extend(hook::agreed(&accord, &items));
            items.extend(watch::items(&accord, ground, &config.watch));
        }
        if ground.image {
            items.extend(first_boot::items(&accord, &items));
        }
        accord.items = paths::with_directories(items);
        Ok(accord)
    }

    /// The units that it has drop-ins for, and the watch service.
    pub fn units(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for item in &self.items {
            if let Item::File(file) = item
                && let Some(unit) = &file.unit
                && !names.contains(&unit.as_str())
            {
                names.push(unit);
            }
        }
        if self.items.iter().any(|item| matches!(item, Item::Link(link) if is_watch_link(link))) {
            names.push(crate::base::paths::WATCH_UNIT);
        }
        names
    }

    /// What else on the node may affect it.
    pub fn concern(&self) -> Concern<'_> {
        let mut concern = Concern {
            socket_directory: &self.socket_directory,
            directories: Vec::new(),
            drop_ins: Vec::new(),
            group: (&self.group.name, self.group.gid),
            environments: &ENVIRONMENTS,
        };
        for item in &self.items {
            match item {
                Item::Owner(Owner {
                    path, subject: Subject::SocketDirectory | Subject::Hugepages, ..
                }) => {
                    concern.directories.push(path);
                }
                Item::File(File { path, unit: Some(unit), .. }) => concern.drop_ins.push((unit, path)),
                _ => {}
            }
        }
        concern
    }

    /// True while the dataplane runs with other ids than the accord's and without root's capabilities: it could not continue
    /// if its database, logs or run directory already belonged to the new user.
    pub fn waits_for_stop(&self, live: &Live) -> bool {
        let Some(wanted) = &self.dataplane else { return false };
        live.dataplane.iter().any(|process| {
            process.status.uid.effective != wanted.uid && !process.identity().has_dac_override()
        })
    }

    /// True when ports of this type must work.
    pub fn has(&self, mode: PortType) -> bool {
        self.modes.contains(&mode)
    }
}
