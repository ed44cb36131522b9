// SPDX-License-Identifier: Apache-2.0
//! What runs on the node right now. An image has none of it.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::Known;
use super::domains::{self, BrokenFile, Domain, Domains};
use super::hooks::{self, Hook};
use super::ovsdb::{Ovsdb, SwitchConfig, VhostPort, plain, report};
use super::paths::{Neighbours, PathFact, read_chain};
use super::processes::{self, Process};
use super::sockets::{self, Liveness};
use crate::accord::{Accord, Item};
use crate::config::PortType;
use crate::paths;
use crate::profile::Profile;
use crate::root::{Kind, Report, Root, told};
use crate::systemd::{UnitFact, Units};

/// OVSDB answers in milliseconds; a node that takes longer is reported as unknown.
pub(super) const OVSDB_LIMIT: Duration = Duration::from_secs(2);

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

impl Live {
    /// Reads what runs.
    pub fn read(root: &Root, units: &dyn Units, profile: &Profile, accord: &Accord) -> Result<Live> {
        // The database takes longest to answer, and most of that is its own work.
        let (switch, vms) = std::thread::scope(|scope| {
            let asked = scope.spawn(|| read_switch(root));
            let vms = Vms::read(root);
            (asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), vms)
        });
        let Vms { guests, unread, defined, next } = vms?;
        let ports = switch.known().map(|switch| switch.ports.as_slice()).unwrap_or_default();
        let sockets = port_sockets(root, ports);
        let wanted = profile.hypervisor.as_ref().and_then(|found| found.daemon_unit.strip_suffix(".service"));
        let daemons = processes::by_name(root, &["ovs-vswitchd", "ovsdb-server", "libvirtd", "virtqemud"])?;
        let (dataplane, libvirt): (Vec<Process>, Vec<Process>) =
            daemons.into_iter().partition(|process| process.status.name.starts_with("ovs"));
        let libvirt = libvirt.into_iter().find(|process| Some(process.status.name.as_str()) == wanted);
        let conf = told(root.find(Path::new(paths::QEMU_CONF)))?.flatten();
        let daemon = profile.hypervisor.as_ref().map(|found| units.unit(&found.daemon_unit)).transpose()?;
        let daemon = daemon.flatten();
        let changed = daemon.as_ref().and_then(|unit| unit.state_change_timestamp);
        let our_units = our_units(units, accord)?;
        if let Some(report) = root.report() {
            note_missing(report, our_units.iter().chain(&daemon));
        }
        Ok(Live {
            hooks: hooks::read(root)?,
            libvirt_reloaded: changed.map(|microseconds| i128::from(microseconds) * 1000),
            units: our_units,
            dataplane,
            libvirt,
            guests,
            unread,
            defined,
            next,
            guarded: guarded(root, &sockets, switch.known().is_some())?,
            sockets,
            switch,
            qemu_conf_modified: conf.map(|conf| told(conf.known_modified())).transpose()?.flatten(),
        })
    }

    /// True while the dataplane runs with other ids than the accord's and without root's capabilities: it could not go on
    /// with a database, logs or a run directory that are already its successor's.
    pub fn keeps_its_state(&self, accord: &Accord) -> bool {
        let Some(wanted) = &accord.dataplane else { return false };
        self.dataplane.iter().any(|process| {
            process.status.uid.effective != wanted.uid && !process.identity().has_dac_override()
        })
    }

    /// ovs-vswitchd.
    pub fn vswitchd(&self) -> Option<&Process> {
        self.dataplane.iter().find(|process| process.status.name == "ovs-vswitchd")
    }
}

/// Asks OVSDB, within its limit.
pub fn read_switch(root: &Root) -> Known<Switch> {
    let ask = || {
        if let Some(report) = root.report() {
            let (config, ports) = report::switch(report)?;
            return Ok(Switch { config, ports });
        }
        let mut ovsdb = Ovsdb::connect(root, Path::new(paths::OVSDB_SOCKET), OVSDB_LIMIT)?;
        Ok(Switch { config: ovsdb.switch()?, ports: ovsdb.ports()? })
    };
    Known::from(ask())
}

/// Where the switch's sockets are and what is there.
pub fn port_sockets(root: &Root, ports: &[VhostPort]) -> Vec<PortSocket> {
    let mut found = Vec::new();
    let mut neighbours = Neighbours::default();
    for port in ports {
        let Some(path) = socket_path(port) else { continue };
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

/// OVS says where a `dpdkvhostuser` socket is once it made it; before, it is named after the port.
fn socket_path(port: &VhostPort) -> Option<PathBuf> {
    match port.kind {
        PortType::Dpdkvhostuserclient => port.server_path.clone().filter(|path| path.is_absolute()),
        PortType::Dpdkvhostuser => {
            let said = port.socket.clone().filter(|path| path.is_absolute());
            // OVS says `/var/run`, whatever a domain says.
            Some(said.map_or_else(|| Path::new(paths::OVS_RUN).join(&port.name), |path| plain(&path)))
        }
    }
}

/// A daemon that systemd has and whose state is not in the report could be the one that does not agree.
fn note_missing<'a>(report: &Report, units: impl Iterator<Item = &'a UnitFact>) {
    for pid in units.filter_map(|unit| unit.main_pid) {
        let _noted = report.file(&format!("/proc/{pid}/status"));
    }
}

fn our_units(units: &dyn Units, accord: &Accord) -> Result<Vec<UnitFact>> {
    let mut names: Vec<&str> = Vec::new();
    for item in &accord.items {
        if let Item::File(file) = item
            && let Some(unit) = &file.unit
            && !names.contains(&unit.as_str())
        {
            names.push(unit);
        }
    }
    let facts: Result<Vec<Option<UnitFact>>> = names.into_iter().map(|name| units.unit(name)).collect();
    Ok(facts?.into_iter().flatten().collect())
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
        let (next, domains) = domains.into_iter().partition(runs);
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

/// Where ports are not known, only what no port can be.
fn guarded(root: &Root, sockets: &[PortSocket], ports_are_known: bool) -> Result<Vec<Guarded>> {
    let mut found = Vec::new();
    let databases = [paths::OVS_ETC, paths::OVS_LIB].map(|directory| Path::new(directory).join("conf.db"));
    let run = Path::new(paths::OVS_RUN);
    let in_run = root.list(run)?.into_iter().map(|name| run.join(name));
    let is_server =
        |socket: &&PortSocket| socket.kind == PortType::Dpdkvhostuser && is_switch_place(&socket.path);
    let servers = sockets.iter().filter(is_server);
    let servers: HashSet<&OsStr> = servers.filter_map(|socket| socket.path.file_name()).collect();
    for path in in_run.chain(databases) {
        if path.file_name().is_some_and(|name| servers.contains(name)) {
            continue;
        }
        if !ports_are_known && path.strip_prefix(run).is_ok_and(|below| !is_kept(below)) {
            continue;
        }
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
    fn what_the_switch_keeps_is_guarded_whatever_a_port_is_called() {
        let tree = tempfile::tempdir().unwrap();
        let run = tree.path().join("run/openvswitch");
        std::fs::create_dir_all(&run).unwrap();
        for name in ["db.sock", "vhuc0"] {
            drop(std::os::unix::net::UnixListener::bind(run.join(name)).unwrap());
        }
        let root = Root::open(tree.path()).unwrap();
        let port = |name: &str| PortSocket {
            port: name.to_string(),
            kind: PortType::Dpdkvhostuser,
            path: Path::new(paths::OVS_RUN).join(name),
            fact: PathFact::Missing { first: PathBuf::new(), above: Vec::new() },
            liveness: Liveness::Missing,
            followed: false,
        };
        let found = guarded(&root, &["db.sock", "vhuc0"].map(port), true).unwrap();
        let found: Vec<&Path> = found.iter().map(|guarded| guarded.path.as_path()).collect();
        assert_eq!(found, [Path::new(paths::OVSDB_SOCKET)]);
        // A VM's own socket is not accused where the database is silent.
        let found = guarded(&root, &[], false).unwrap();
        assert_eq!(
            found.iter().map(|guarded| &guarded.path).collect::<Vec<_>>(),
            [Path::new(paths::OVSDB_SOCKET)]
        );
    }
}
