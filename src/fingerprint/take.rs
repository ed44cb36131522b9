// SPDX-License-Identifier: Apache-2.0
//! This node's own fingerprint.

use std::path::Path;

use anyhow::Result;

use super::{Account, Fingerprint, Identity, Pages, VERSION, Versions, Vm};
use crate::accord::{Accord, Agreed, DataplaneAccord, QemuAccord};
use crate::base::root::{Root, told};
use crate::config::PortType;
use crate::facts::accounts::Accounts;
use crate::facts::domains::Domain;
use crate::facts::hugepages;
use crate::facts::mounts::{HugetlbMount, read_default_page_size};
use crate::facts::versions;
use crate::node::endpoints::place::Place;
use crate::node::live::Live;

impl Fingerprint {
    /// Of the running node, without what VMs that come find there.
    pub fn take(
        root: &Root,
        (accord, incoming): (&Accord, Option<PortType>),
        live: &Live,
        mounts: &[HugetlbMount],
        names: &Accounts,
    ) -> Result<Fingerprint> {
        let switch = live.switch.known().map(|switch| &switch.config);
        let daemon = accord.qemu.as_ref().and_then(|qemu| qemu.daemon_unit.as_deref());
        // What cannot be read is not known: no reason to tell nothing at all.
        let installed = versions::read(root, daemon).unwrap_or_default();
        let host = root.read_text(Path::new("/proc/sys/kernel/hostname"))?;
        Ok(Fingerprint {
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_string(),
            host: host.map(|name| name.trim().to_string()).filter(|name| !name.is_empty()),
            modes: accord.modes.iter().map(ToString::to_string).collect(),
            incoming: incoming.map(|kind| kind.to_string()),
            socket_directory: accord.socket_directory.clone(),
            server_directory: switch.map(|config| config.server_directory().components().collect()),
            group: Account { name: accord.group.name.clone(), id: accord.group.gid },
            qemu: accord.qemu.as_ref().map(|qemu| of_qemu(qemu, names)),
            dataplane: accord.dataplane.as_ref().map(of_dataplane),
            pages: pages(root, mounts)?,
            default_page_size: read_default_page_size(root)?,
            versions: Versions {
                libvirt: installed.libvirt,
                qemu: installed.qemu,
                ovs: switch.and_then(|config| config.ovs_version.clone()),
                dpdk: switch.and_then(|config| config.dpdk_version.clone()),
            },
            agreed: told(Agreed::read(root)).ok().flatten().flatten(),
            place: Place::default(),
            vms: running(live),
        })
    }

    /// Looks at directories of its own as well, and at those that these VMs have their sockets in.
    pub fn look_around(mut self, root: &Root, live: &Live, coming: &[&Domain]) -> Fingerprint {
        let paths =
            coming.iter().flat_map(|vm| &vm.endpoints).filter_map(|endpoint| endpoint.path.as_deref());
        let directories: Vec<&Path> =
            paths.filter_map(Path::parent).chain([self.socket_directory.as_path()]).collect();
        self.place = Place::look(root, live, self.incoming.is_some(), &directories);
        self
    }
}

fn of_qemu(qemu: &QemuAccord, names: &Accounts) -> Identity {
    let named = |gid: &u32| Account { name: names.group_name(*gid), id: *gid };
    let mut groups = qemu.groups.clone();
    groups.push(qemu.gid);
    groups.sort_unstable();
    groups.dedup();
    Identity {
        user: Account { name: qemu.user.clone(), id: qemu.uid },
        group: Account { name: qemu.group.clone(), id: qemu.gid },
        groups: groups.iter().map(named).collect(),
    }
}

fn of_dataplane(dataplane: &DataplaneAccord) -> Identity {
    let group = Account { name: dataplane.group.clone(), id: dataplane.gid };
    Identity {
        user: Account { name: dataplane.user.clone(), id: dataplane.uid },
        groups: vec![group.clone()],
        group,
    }
}

fn pages(root: &Root, mounts: &[HugetlbMount]) -> Result<Vec<Pages>> {
    let nodes = hugepages::nodes(root)?;
    let mut found = Vec::new();
    for size in hugepages::sizes(root)? {
        let Some(pool) = hugepages::pool(root, size, &nodes)? else { continue };
        let of_size = mounts.iter().filter(|mount| mount.page_size == size && !mount.read_only);
        found.push(Pages {
            size,
            total: hugepages::total(root, size)?,
            available: pool.available,
            on_demand: pool.on_demand,
            nodes: pool.nodes,
            mounts: of_size.map(|mount| mount.path.clone()).collect(),
        });
    }
    Ok(found)
}

fn running(live: &Live) -> Vec<Vm> {
    let domains = live.guests.iter().map(|guest| &guest.domain);
    let vms = domains.filter(|domain| domain.running && !domain.endpoints.is_empty());
    let mut found: Vec<Vm> = vms
        .map(|domain| Vm {
            nova_ports: nova_ports(live, domain),
            domain: Domain { id: None, pid: None, ..domain.clone() },
        })
        .collect();
    found.sort_by(|a, b| a.domain.name.cmp(&b.domain.name));
    found
}

fn nova_ports(live: &Live, domain: &Domain) -> Vec<String> {
    let Some(switch) = live.switch.known() else { return Vec::new() };
    let ports = switch.ports.iter().filter(|port| port.vm_uuid.is_some() && port.vm_uuid == domain.uuid);
    ports.map(|port| port.name.clone()).collect()
}
