// SPDX-License-Identifier: Apache-2.0
//! What runs on the node right now. An image has none of it.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::domains::{self, BrokenFile, Domain, Domains};
use super::hooks::{self, Hook};
use super::ovsdb::{OVSDB_LIMIT, SwitchConfig, VhostPort, plain, report};
use super::paths::{Neighbours, PathFact, read_chain};
use super::processes::{self, Process};
use super::sockets::{self, Liveness};
use super::vswitchd::Vswitchd;
use super::{Known, database};
use crate::base::paths;
use crate::base::root::{Kind, Report, Root, told};
use crate::config::PortType;
use crate::systemd::{UnitFact, Units};

/// The switch as OVSDB tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Switch {
    /// Its settings.
    pub config: SwitchConfig,
    /// Its vhost-user ports.
    pub ports: Vec<VhostPort>,
}

/// A vhost-user socket that the switch has, or expects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortSocket {
    /// The port.
    pub port: String,
    /// Which side makes it.
    pub kind: PortType,
    /// Where.
    pub path: PathBuf,
    /// What is there.
    pub fact: PathFact,
    /// Whether someone listens.
    pub liveness: Liveness,
    /// There is nothing, or a symlink in its directory was followed.
    pub followed: bool,
}

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
    /// What QEMU must not reach: control sockets, the database and its socket.
    pub guarded: Vec<Guarded>,
    /// libvirt's hooks for VMs.
    pub hooks: Vec<Hook>,
    /// When libvirt's unit changed its state last (a start, a reload), in nanoseconds since 1970.
    pub libvirt_reloaded: Option<i128>,
    /// When qemu.conf was changed last, in nanoseconds since 1970.
    pub qemu_conf_modified: Option<i128>,
}

/// Something of the switch's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Guarded {
    /// Where.
    pub path: PathBuf,
    /// A socket is connected to, a file is read.
    pub kind: Kind,
    /// What is there.
    pub fact: PathFact,
}

/// The units that are to be looked at.
#[derive(Debug, Clone, Default)]
pub struct Asked<'a> {
    /// libvirt's, where it is here.
    pub libvirt: Option<&'a str>,
    /// Others, by name.
    pub units: Vec<&'a str>,
}

impl Asked<'_> {
    /// Looks at the others.
    pub fn units(&self, units: &dyn Units) -> Result<Vec<UnitFact>> {
        let facts: Result<Vec<Option<UnitFact>>> = self.units.iter().map(|name| units.unit(name)).collect();
        Ok(facts?.into_iter().flatten().collect())
    }
}

impl Live {
    /// Reads what runs. `asked` are the units to look at.
    pub fn read(root: &Root, units: &dyn Units, asked: &Asked<'_>) -> Result<Live> {
        // The database takes longest to answer, and most of that is its own work.
        let (switch, vms) = std::thread::scope(|scope| {
            let asked = scope.spawn(|| read_switch(root, OVSDB_LIMIT));
            let vms = Vms::read(root);
            (asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), vms)
        });
        let Vms { guests, unread, defined, next } = vms?;
        let sockets = switch.known().map(|switch| port_sockets(root, switch)).unwrap_or_default();
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
            guarded: guarded(root)?,
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

    /// ovs-vswitchd.
    pub fn vswitchd(&self) -> Option<&Process> {
        self.dataplane.iter().find(|process| process.status.name == "ovs-vswitchd")
    }
}

/// Asks OVSDB, within a limit.
pub fn read_switch(root: &Root, limit: Duration) -> Known<Switch> {
    let ask = || {
        if let Some(report) = root.report() {
            let (config, ports) = report::switch(report)?;
            return Ok(Switch { config, ports });
        }
        let mut ovsdb = database::connect(root, limit)?;
        Ok(Switch { config: ovsdb.switch()?, ports: ovsdb.ports()? })
    };
    Known::from(ask())
}

/// Where the switch's sockets are and what is there.
pub fn port_sockets(root: &Root, switch: &Switch) -> Vec<PortSocket> {
    let mut found = Vec::new();
    let mut neighbours = Neighbours::default();
    for port in &switch.ports {
        let path = switch.config.expected_socket(port);
        if !path.is_absolute() {
            continue;
        }
        let (fact, liveness, followed) = match neighbours.read(root, &path) {
            Ok((fact, Some(handle))) => (fact, sockets::liveness_of(&handle), false),
            Ok((fact, None)) => (fact, sockets::liveness(root, &path), true),
            // Whoever may put a symlink there, or name a port, shall not keep us from all others.
            Err(error) => {
                let nothing = PathFact::Missing { first: path.clone(), above: Vec::new() };
                (nothing, Liveness::Unknown(format!("{error:#}")), true)
            }
        };
        found.push(PortSocket { port: port.name.clone(), kind: port.kind, path, fact, liveness, followed });
    }
    found
}

/// Whether a `dpdkvhostuser` socket may be at this path: OVS makes them in its run directory and nowhere else
/// (lib/netdev-dpdk.c, `vhost_sock_dir`), and not where it has what it keeps for itself. OVSDB can name any other path;
/// that is no reason to touch it.
pub fn is_switch_place(path: &Path) -> bool {
    plain(path).strip_prefix(paths::OVS_RUN).is_ok_and(|below| !is_kept(below))
}

/// What the switch's daemons, and OVN's, keep for themselves below the run directory: sockets of databases (`db.sock`,
/// `ovnnb_db.sock`), of control (`ovs-vswitchd.123.ctl`), of a bridge's OpenFlow (`br-int.mgmt`, `br-int.snoop`), and
/// DPDK's own directory; and the run directory itself.
fn is_kept(below: &Path) -> bool {
    let Some(name) = below.file_name() else { return true };
    let ends = |end: &&str| name.as_bytes().ends_with(end.as_bytes());
    name == "db.sock" || below.starts_with("dpdk") || ["_db.sock", ".ctl", ".mgmt", ".snoop"].iter().any(ends)
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
        let running = domains::running(root)?;
        let Domains { domains, broken } = domains::persistent(root)?;
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
    let guest = |domain: Domain| {
        let process = domain.pid.and_then(|pid| processes::by_pid(root, pid));
        Guest { domain, process }
    };
    running.into_iter().map(guest).collect()
}

/// Told by name: what else lies in the run directory may be a port's socket, and OVSDB does not always say so.
fn guarded(root: &Root) -> Result<Vec<Guarded>> {
    let mut found = Vec::new();
    let databases = [paths::OVS_ETC, paths::OVS_LIB].map(|directory| Path::new(directory).join("conf.db"));
    let run = Path::new(paths::OVS_RUN);
    let in_run = root.list(run)?.into_iter().map(|name| run.join(name));
    for path in in_run.filter(|path| !is_switch_place(path)).chain(databases) {
        // A link into another tree is judged there; one that is not to be trusted is no way in for us to judge.
        let Ok(fact) = read_chain(root, &path) else { continue };
        if let Some(kind) =
            fact.node().map(|node| node.kind).filter(|kind| matches!(kind, Kind::Socket | Kind::File))
        {
            let is_database = path.extension().is_some_and(|extension| extension == "db");
            if kind == Kind::Socket || is_database {
                found.push(Guarded { path, kind, fact });
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_ovsdb_is_no_reason_to_give_away_what_the_switch_keeps() {
        for own in [
            "db.sock",
            "ovnsb_db.sock",
            "ovs-vswitchd.123.ctl",
            "ovsdb-server.7.ctl",
            "br-int.mgmt",
            "br-int.snoop",
            "sub/db.sock",
            "dpdk/rte/mp_socket",
            "dpdk",
            "",
        ] {
            let path = Path::new(paths::OVS_RUN).join(own);
            assert!(!is_switch_place(&path), "{own}");
            assert!(!is_switch_place(&Path::new("/var").join(path.strip_prefix("/").unwrap())), "{own}");
        }
        for port in ["vhuc0", "sub/vhuc0", "vm.sock", "mgmt", "my-dpdk", "dpdkvhostuser0", "br-int.mgmt.1"] {
            assert!(is_switch_place(&Path::new(paths::OVS_RUN).join(port)), "{port}");
        }
    }

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

    #[test]
    fn what_the_switch_keeps_is_guarded_whatever_else_is_there() {
        let tree = tempfile::tempdir().unwrap();
        let run = tree.path().join("run/openvswitch");
        std::fs::create_dir_all(&run).unwrap();
        for name in ["db.sock", "vhuc0"] {
            drop(std::os::unix::net::UnixListener::bind(run.join(name)).unwrap());
        }
        let root = Root::open(tree.path()).unwrap();
        let found = guarded(&root).unwrap();
        let found: Vec<&Path> = found.iter().map(|guarded| guarded.path.as_path()).collect();
        assert_eq!(found, [Path::new(paths::OVSDB_SOCKET)]);
    }
}
