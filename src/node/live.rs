// SPDX-License-Identifier: Apache-2.0
//! What runs on the node right now. An image has none of it.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use crate::base::parts::in_parts;
use crate::base::paths;
use crate::base::root::{Report, Root, told};
use crate::config::{Declared, PortType};
use crate::dataplane::drivers::Ports;
use crate::dataplane::ovs::modes::Modes;
use crate::dataplane::ovs::ovsdb::OVSDB_LIMIT;
use crate::dataplane::ovs::second::{Looked, Second};
use crate::dataplane::ovs::sockets::{Switch, guarded, port_sockets, read_switch};
use crate::dataplane::ovs::vswitchd::{VSWITCHD, Vswitchd};
use crate::dataplane::{Guarded, PortSocket};
use crate::facts::Known;
use crate::facts::domains::{self, BrokenFile, Domain, Domains};
use crate::facts::hooks::{self, Hook};
use crate::facts::processes::{self, Process};
use crate::systemd::{UnitFact, Units};

/// A running domain and its process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Guest {
    /// The domain.
    pub domain: Domain,
    /// QEMU, where it was found.
    pub process: Option<Process>,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Live {
    /// The units our drop-ins are for.
    pub units: Vec<UnitFact>,
    /// ovs-vswitchd and ovsdb-server.
    pub dataplane: Vec<Process>,
    /// One of them runs, or may, and its process is not seen.
    pub hidden: bool,
    /// libvirtd or virtqemud.
    pub libvirt: Option<Process>,
    /// Running domains with their processes.
    pub guests: Vec<Guest>,
    /// Status files that could not be read.
    pub unread: Vec<BrokenFile>,
    /// Defined domains that do not run.
    pub defined: Domains,
    /// Definitions of those that run: what their next start goes by.
    pub next: Vec<Domain>,
    /// OVSDB.
    pub switch: Known<Switch>,
    /// The switch's sockets.
    pub sockets: Vec<PortSocket>,
    /// What dataplanes of the configuration say of their ports.
    pub declared: Vec<Ports>,
    /// Second switches of the configuration, with their ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub seconds: Vec<Looked>,
    /// What QEMU must not reach: control sockets, the database and its socket.
    pub guarded: Vec<Guarded>,
    /// libvirt's hooks for VMs.
    pub hooks: Vec<Hook>,
    /// When libvirt's unit changed its state last (a start, a reload), in nanoseconds since 1970.
    pub libvirt_reloaded: Option<i128>,
    /// When qemu.conf was changed last, in nanoseconds since 1970.
    pub qemu_conf_modified: Option<i128>,
}

/// The units that are to be looked at.
#[derive(Debug, Clone, Default)]
pub struct Asked<'a> {
    /// libvirt's, where it is here.
    pub libvirt: Option<&'a str>,
    /// Others, by name.
    pub units: Vec<&'a str>,
    /// Dataplanes of the configuration.
    pub declared: Vec<&'a Declared>,
}

impl Asked<'_> {
    /// Looks at the others.
    pub fn units(&self, units: &dyn Units) -> Result<Vec<UnitFact>> {
        let facts: Result<Vec<Option<UnitFact>>> = self.units.iter().map(|name| units.unit(name)).collect();
        Ok(facts?.into_iter().flatten().collect())
    }

    /// Asks the dataplanes of the configuration for their ports.
    fn ports(&self, root: &Root, units: &dyn Units) -> Result<Vec<Ports>> {
        let ask = |declared: &&Declared| {
            let runs = units.unit(&declared.unit)?.is_some_and(|unit| unit.is_active());
            Ok(Ports::ask(root, declared, runs))
        };
        self.declared.iter().map(ask).collect()
    }

    /// Asks the second switches among them.
    fn seconds(&self, root: &Root, units: &dyn Units) -> Result<Vec<Looked>> {
        let runs = |unit: &str| Ok(units.unit(unit)?.is_some_and(|unit| unit.is_active()));
        Looked::all(root, self.declared.iter().copied(), runs)
    }

    /// What QEMU must not reach, each once.
    fn guarded(&self, root: &Root) -> Result<Vec<Guarded>> {
        let mut found = guarded(root)?;
        for section in &self.declared {
            let control: Vec<&Path> = section.control.iter().map(PathBuf::as_path).collect();
            let kept = Second::of(section).map(|second| second.guarded(root)).transpose()?;
            let of_section = kept.into_iter().flatten().chain(Guarded::among(root, &control));
            for guarded in of_section {
                if found.iter().all(|known| known.path != guarded.path) {
                    found.push(guarded);
                }
            }
        }
        Ok(found)
    }
}

impl Live {
    /// Reads what runs. `asked` are the units to look at.
    pub fn read(root: &Root, units: &dyn Units, asked: &Asked<'_>) -> Result<Live> {
        // The database takes longest to answer, and most of that is its own work.
        let ((switch, sockets), vms) = std::thread::scope(|scope| {
            let asked = scope.spawn(|| {
                let switch = read_switch(root, OVSDB_LIMIT);
                let sockets = switch.known().map(|switch| port_sockets(root, switch)).unwrap_or_default();
                (switch, sockets)
            });
            let vms = Vms::read(root);
            (asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), vms)
        });
        let Vms { guests, unread, defined, next } = vms?;
        let daemons = [Vswitchd::read(root), Vswitchd::database(root)];
        let conf = told(root.find(Path::new(paths::QEMU_CONF)))?.flatten();
        let daemon = asked.libvirt.map(|unit| units.unit(unit)).transpose()?;
        let daemon = daemon.flatten();
        let changed = daemon.as_ref().and_then(|unit| unit.state_change_timestamp);
        let our_units = asked.units(units)?;
        if let Some(report) = root.report() {
            note_missing(report, our_units.iter().chain(&daemon));
        }
        Ok(Live {
            hooks: hooks::read(root)?,
            libvirt_reloaded: changed.map(|microseconds| i128::from(microseconds) * 1000),
            units: our_units,
            dataplane: daemons.iter().filter_map(Vswitchd::process).cloned().collect(),
            hidden: daemons.iter().any(Vswitchd::is_hidden),
            // A session's libvirtd has the same name.
            libvirt: daemon.and_then(|unit| processes::by_pid(root, unit.main_pid?)),
            guests,
            unread,
            defined,
            next,
            guarded: asked.guarded(root)?,
            declared: asked.ports(root, units)?,
            seconds: asked.seconds(root, units)?,
            sockets,
            switch,
            qemu_conf_modified: conf.map(|conf| told(conf.known_modified())).transpose()?.flatten(),
        })
    }

    /// VMs and sockets as they are by now; all else as it was, what OVSDB said included.
    pub fn again(&self, root: &Root) -> Result<Live> {
        let Vms { guests, unread, defined, next } = Vms::read(root)?;
        let sockets = self.switch.known().map(|switch| port_sockets(root, switch)).unwrap_or_default();
        Ok(Live { sockets, guests, unread, defined, next, ..self.clone() })
    }

    /// Which port types must work here. `incoming` and `before` as in [`Modes::look`].
    pub fn modes(&self, incoming: Option<PortType>, before: bool) -> Modes {
        let broken = self.unread.iter().chain(&self.defined.broken).next();
        Modes::look(&self.switch, self.domains(), broken.map(|file| file.path.as_path()), incoming, before)
    }

    /// All VMs: as they run, as they start the next time, and those that are off.
    pub fn domains(&self) -> impl Iterator<Item = &Domain> {
        let guests = self.guests.iter().map(|guest| &guest.domain);
        guests.chain(&self.next).chain(&self.defined.domains)
    }

    /// ovs-vswitchd.
    pub fn vswitchd(&self) -> Option<&Process> {
        self.dataplane.iter().find(|process| process.status.name == VSWITCHD)
    }
}

/// A daemon that systemd has and whose state is not in the report could be the one that does not agree.
fn note_missing<'a>(report: &Report, units: impl Iterator<Item = &'a UnitFact>) {
    for pid in units.filter_map(|unit| unit.main_pid) {
        let _noted = report.file(&format!("/proc/{pid}/status"));
    }
}

/// libvirt's part of [`Live`].
struct Vms {
    guests: Vec<Guest>,
    unread: Vec<BrokenFile>,
    defined: Domains,
    next: Vec<Domain>,
}

impl Vms {
    fn read(root: &Root) -> Result<Vms> {
        let (Domains { domains, broken }, running) = (domains::persistent(root)?, domains::running(root)?);
        let names: HashSet<&str> = running.domains.iter().map(|domain| domain.name.as_str()).collect();
        let runs = |domain: &Domain| names.contains(domain.name.as_str());
        // libvirt names the file after the domain. Whether that one runs is not known: it is neither here nor there.
        let unread: HashSet<&OsStr> =
            running.broken.iter().filter_map(|file| file.path.file_stem()).collect();
        let known = |domain: &Domain| !unread.contains(OsStr::new(&domain.name));
        let (next, domains) = domains.into_iter().filter(known).partition(runs);
        let defined = Domains { domains, broken };
        Ok(Vms { defined, next, unread: running.broken, guests: guests(root, running.domains) })
    }
}

fn guests(root: &Root, running: Vec<Domain>) -> Vec<Guest> {
    let process = |domain: &Domain| domain.pid.and_then(|pid| processes::by_pid(root, pid));
    let found = in_parts(&running, |part| part.iter().map(process).collect::<Vec<_>>());
    let guest = |(domain, process)| Guest { domain, process };
    running.into_iter().zip(found.into_iter().flatten()).map(guest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_whose_status_cannot_be_read_is_not_taken_for_off() {
        let tree = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("run/libvirt/qemu/one.xml", "<domstatus state='running'");
        for name in ["one", "two"] {
            write(&format!("etc/libvirt/qemu/{name}.xml"), &format!("<domain><name>{name}</name></domain>"));
        }
        let vms = Vms::read(&Root::open(tree.path()).unwrap()).unwrap();
        let off: Vec<&str> = vms.defined.domains.iter().map(|domain| domain.name.as_str()).collect();
        assert_eq!((off, vms.next.len(), vms.unread.len()), (vec!["two"], 0, 1));
    }
}
