// SPDX-License-Identifier: Apache-2.0
//! A node's accord in a form that another node can compare with its own: what `check --json` has as `fingerprint`. It is
//! read by other versions of this program: new fields are options or have a default, and what changes the meaning of one
//! raises [`VERSION`].

mod read;
mod take;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::accord::Agreed;
use crate::facts::domains::Domain;
use crate::node::endpoints::place::Place;

pub use read::{MAX_FILE, parse};

/// Of the format.
pub const VERSION: u32 = 1;

/// What another node has to know. `None` is what could not be known, and is compared with nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Of the format: [`VERSION`] of the program that wrote it.
    pub version: u32,
    /// That program's own version.
    pub program: String,
    /// The node's name.
    pub host: Option<String>,
    /// Port types that must work. Texts: a type to come is one that is not here.
    pub modes: Vec<String>,
    /// The type that the hook turns what comes in to; `None` where it keeps what it is.
    pub incoming: Option<String>,
    /// Where QEMU makes the sockets of `dpdkvhostuserclient` ports.
    pub socket_directory: PathBuf,
    /// Where OVS makes the sockets of `dpdkvhostuser` ports, by OVSDB.
    pub server_directory: Option<PathBuf>,
    /// The shared group.
    pub group: Account,
    /// Whom QEMU runs as, unless a domain has a label of its own.
    pub qemu: Option<Identity>,
    /// Whom the dataplane runs as.
    pub dataplane: Option<Identity>,
    /// Huge pages, by size.
    #[serde(default)]
    pub pages: Vec<Pages>,
    /// Their size where a VM does not say one, in bytes.
    #[serde(default)]
    pub default_page_size: Option<u64>,
    /// What is installed.
    #[serde(default)]
    pub versions: Versions,
    /// What `apply` settled; `None` before the first one.
    #[serde(default)]
    pub agreed: Option<Agreed>,
    /// What VMs that come find here.
    #[serde(default)]
    pub place: Place,
    /// The VMs with vhost-user endpoints that run here.
    #[serde(default)]
    pub vms: Vec<Vm>,
}

/// A VM that runs on the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vm {
    /// As it runs. Its numbers of processes are left out: they are that node's own.
    pub domain: Domain,
    /// Ports of it that os-vif made for nova, by name: nova has them made on the target, too, before it migrates.
    #[serde(default)]
    pub nova_ports: Vec<String>,
}

/// A user or a group: names are for people, numbers count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u32,
}

/// Whom a process runs as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its user.
    pub user: Account,
    /// Its group.
    pub group: Account,
    /// All groups it is in.
    #[serde(default)]
    pub groups: Vec<Account>,
}

/// Huge pages of one size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pages {
    /// Their size in bytes.
    pub size: u64,
    /// How many there are.
    pub total: u64,
    /// How many a process could still get.
    pub available: u64,
    /// How many the kernel may make on demand.
    #[serde(default)]
    pub on_demand: u64,
    /// Free pages of each NUMA node, reserved or not.
    #[serde(default)]
    pub nodes: Vec<(u32, u64)>,
    /// Where a writable hugetlbfs of that size is mounted.
    #[serde(default)]
    pub mounts: Vec<PathBuf>,
}

/// What is installed; of libvirt and QEMU as libvirt found out itself, of the rest as OVSDB has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// libvirt's.
    pub libvirt: Option<String>,
    /// QEMU's.
    pub qemu: Option<String>,
    /// Open vSwitch's.
    pub ovs: Option<String>,
    /// That of the DPDK in it.
    pub dpdk: Option<String>,
}

impl Fingerprint {
    /// The node as a line calls it.
    pub fn name(&self) -> String {
        self.host.clone().unwrap_or_else(|| "the other node".to_string())
    }
}
