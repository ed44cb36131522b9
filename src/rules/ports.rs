// SPDX-License-Identifier: Apache-2.0
//! The other end: the port of the switch that is to meet QEMU at the socket.

use std::path::Path;

use super::{Evidence, StartCase};
use crate::config::PortType;
use crate::convert::Held;
use crate::dataplane::ovs;
use crate::dataplane::ovs::ovsdb::{Join, PortIndex, VhostPort};
use crate::dataplane::ovs::second::Second;
use crate::dataplane::ovs::vswitchd::{VSWITCHD, Vswitchd};
use crate::facts::domains::SocketMode;
use crate::facts::owners::Owner;
use crate::facts::sockets::Liveness;
use crate::fixes;
use crate::node::endpoints::{Socket, start::SecondFacts};
use crate::rules::start::{Operation, Start};

rules! {
    Broken "conversion-port-in-use" [Incoming<Ports>(in_use)]
        cause: "another process uses this port; converting it for this VM would disconnect that process",
        effect: "the hook refuses a VM that is migrated or restored here: [convert] incoming requires a change of its port",
        see: "vhost-accord check (the line of the port)",
        fix: "give the VM a port of its own, or set incoming = keep in [convert]",
        source: "a change of its type disconnects a port; seen with OVS 3.1 and 3.5",
    Broken "dataplane-not-running" [Start<Ports>(not_running)]
        cause: "without ovs-vswitchd no VM has network, and a VM that starts hangs or fails to connect",
        ahead: "no dataplane uses the socket: QEMU would hang or fail to connect",
        effect: "the VM hangs (if QEMU creates the socket) or does not start (if QEMU connects)",
        see: "systemctl status ovs-vswitchd",
        fix: "start the dataplane",
        source: "seen with OVS 3.1",
    Broken "dpdk-not-initialized" [Start<Ports>(not_initialized)]
        cause: "without DPDK, Open vSwitch has no vhost-user ports",
        effect: "the VM hangs or does not start; no vhost-user port works",
        see: "ovs-vsctl get Open_vSwitch . dpdk_initialized; journalctl -u ovs-vswitchd -g EAL",
        fix: "set other_config:dpdk-init=true, use the DPDK build, fix the errors that EAL logs",
        source: "vswitchd/vswitch.xml; Debian uses the build without DPDK by default",
    Broken "both-ends-server" [Start<Ports>(both_servers)]
        cause: "OVS and QEMU both create the socket and wait for a connection forever",
        ahead: "OVS and QEMU would both create the socket and wait for a connection forever",
        effect: "the VM hangs while it starts; OVS logs nothing",
        see: "virsh dumpxml VM; ovs-vsctl list Interface",
        fix: "use a port of type dpdkvhostuserclient, or convert the VM (vhost-accord convert)",
        source: "QEMU util/qemu-sockets.c (unlink before bind)",
    Broken "both-ends-client" [Start<Ports>(both_clients)]
        cause: "OVS and QEMU both try to connect, and neither creates the socket",
        ahead: "OVS and QEMU would both try to connect, and neither creates the socket",
        effect: "the VM does not start: 'No such file or directory'; typical after an upgrade or a migration",
        see: "virsh dumpxml VM; ovs-vsctl list Interface",
        fix: "set mode='server' in the domain, or convert the VM (vhost-accord convert)",
        source: "RHOSP 10 NFV guide, chapter 8; launchpad 1762473",
    Broken "port-path-differs" [Start<Ports>(path_differs)]
        cause: "OVS and QEMU use different paths",
        effect: "the VM hangs while it starts",
        see: "ovs-vsctl get Interface PORT options:vhost-server-path",
        fix: "set the same path in port and domain",
        source: "neutron's vhostuser_socket_dir; DPDK 'name not found'",
    Broken "port-of-other-type" [Start<Ports>(other_type)]
        cause: "only dpdkvhostuserclient and dpdkvhostuser ports speak vhost-user",
        effect: "the VM hangs or does not start",
        see: "ovs-vsctl get Interface PORT type",
        fix: "use a port of a vhost-user type",
        source: "OVS lib/netdev-dpdk.c",
    Broken "port-missing" [Start<Ports>(missing)]
        cause: "no port of OVS uses this socket: QEMU waits forever, and nothing logs an error",
        ahead: "no port of OVS uses this socket: QEMU would wait forever, and nothing logs an error",
        effect: "the VM hangs while it starts and nothing logs an error: 'QEMU waiting for connection'",
        see: "ovs-vsctl --columns=name,options find Interface type=dpdkvhostuserclient",
        fix: "add the port, or find out why the agent did not add it",
        source: "seen with libvirt 9.0 and QEMU 7.2: they wait without a limit",
    Broken "port-failed" [Start<Ports>(failed)]
        cause: "the port is in OVSDB, but OVS could not create it",
        effect: "the VM hangs or has no network",
        see: "ovs-vsctl get Interface PORT error ofport",
        fix: "fix the error, then delete and add the port",
        source: "OVS lib/netdev-dpdk.c",
}

/// What OVSDB knows of one socket.
struct Met<'a> {
    socket: &'a Socket,
    join: &'a Join,
    /// The port that has the socket at this path.
    at: Option<&'a VhostPort>,
    /// A port that is named like the socket.
    named: Option<&'a VhostPort>,
    /// The second switch whose it is.
    second: Option<&'a Second>,
}

/// What is wrong with sockets of the switch, or of a second one, that nobody serves to QEMU yet.
fn wrong<'a>(case: &StartCase<'a>, find: impl Fn(&Met<'a>) -> Option<Evidence>) -> Vec<Evidence> {
    met(case).iter().filter(|met| !met.is_served()).filter_map(find).collect()
}

fn met<'a>(case: &StartCase<'a>) -> Vec<Met<'a>> {
    let own = case.facts.switch.known().map(|join| at(join, None, case.on_switch()));
    let of_second = |asked: &'a SecondFacts| {
        let is_its = |socket: &&Socket| case.second(socket).is_some_and(|other| std::ptr::eq(other, asked));
        Some(at(asked.join.known()?, Some(&asked.second), case.facts.sockets.iter().filter(is_its)))
    };
    own.into_iter().chain(case.facts.seconds.iter().filter_map(of_second)).flatten().collect()
}

/// What a database has for these sockets.
fn at<'a>(
    join: &'a Join,
    second: Option<&'a Second>,
    sockets: impl Iterator<Item = &'a Socket>,
) -> Vec<Met<'a>> {
    let index = PortIndex::new(&join.config, &join.ports);
    let meet = |socket: &'a Socket| {
        let (at, named) = (index.at(&socket.path), index.named(&socket.path));
        Met { socket, join, at, named, second }
    };
    sockets.map(meet).collect()
}

fn file_name(socket: &Socket) -> Option<&str> {
    socket.path.file_name()?.to_str()
}

impl Met<'_> {
    /// Whose the port is, in words behind it.
    fn whose(&self) -> String {
        self.second.map(|second| format!(" of {}", second.text())).unwrap_or_default()
    }

    /// Another switch than the node's own may be slower to come: it is looked at again.
    fn found(&self, seen: String, fix: String) -> Evidence {
        Evidence::at(&self.socket.path, seen, fix).foreign_if(self.second.is_some())
    }

    /// The port that this socket is about, whether it fits or not.
    fn port(&self) -> Option<&VhostPort> {
        self.at.or(self.named)
    }

    fn is_served(&self) -> bool {
        self.socket.endpoint.mode == SocketMode::Client && self.socket.liveness == Liveness::Listening
    }
}

/// Starts or restarts the switch.
pub fn systemctl(verb: &str, start: &Start) -> String {
    let agreed = start.agreed.as_ref().and_then(|agreed| agreed.dataplane.as_ref());
    ovs::fixes::systemctl(verb, agreed.map(|dataplane| dataplane.unit.as_str()))
}

fn in_use(case: &StartCase<'_>) -> Vec<Evidence> {
    let evidence = |held: &Held| {
        let seen = format!("port {} is in use by {}", held.port, held.by);
        // It shows who is at the port; what is to go is not ours to say.
        Evidence::fixed_by(&held.path, seen, "vhost-accord check")
    };
    case.start.held.iter().map(evidence).collect()
}

fn not_running(case: &StartCase<'_>) -> Vec<Evidence> {
    let needed = case.on_switch().any(|socket| socket.liveness != Liveness::Listening);
    let is_off = case.facts.vswitchd == Vswitchd::NotRunning && needed;
    is_off.then(|| stopped(case.start)).into_iter().collect()
}

/// ovs-vswitchd does not run.
pub fn stopped(start: &Start) -> Evidence {
    Evidence::fixed_by(VSWITCHD, "is not running", systemctl("start", start)).passing()
}

fn not_initialized(case: &StartCase<'_>) -> Vec<Evidence> {
    let Some(join) = case.facts.switch.known() else { return Vec::new() };
    let running = matches!(case.facts.vswitchd, Vswitchd::Running(_));
    if !running || join.config.dpdk_initialized != Some(false) || case.on_switch().next().is_none() {
        return Vec::new();
    }
    let is_set = join.config.other_config.get("dpdk-init").is_some_and(|value| value != "false");
    let (seen, fix) = match is_set {
        true => (
            "dpdk_initialized is false though other_config:dpdk-init is set",
            systemctl("restart", case.start),
        ),
        false => ("other_config:dpdk-init is not set", ovs::fixes::USE_DPDK.to_string()),
    };
    vec![Evidence::fixed_by("Open vSwitch", seen, fix).passing()]
}

/// Both ends are to do the same.
fn clashes(
    case: &StartCase<'_>,
    mode: SocketMode,
    fix: impl Fn(&Met<'_>, &VhostPort, &Path) -> String,
) -> Vec<Evidence> {
    wrong(case, |met| {
        let is_here = met.socket.endpoint.mode == mode;
        let port = met.port().filter(|port| is_here && port.kind != mode.port_type())?;
        let path = met.join.expected_socket(port);
        let seen = format!(
            "the domain has mode='{}' and port {}{} is a {} at {}",
            mode.as_str(),
            port.name,
            met.whose(),
            port.kind,
            path.display()
        );
        Some(met.found(seen, fix(met, port, &path)))
    })
}

fn both_servers(case: &StartCase<'_>) -> Vec<Evidence> {
    clashes(case, SocketMode::Server, |met, port, _| {
        ovs::fixes::convert_port(met.second, &port.name, SocketMode::Server, &met.socket.path)
    })
}

fn both_clients(case: &StartCase<'_>) -> Vec<Evidence> {
    clashes(case, SocketMode::Client, |met, port, path| {
        fixes::convert_domain(&case.start.domain, &met.socket.path, port.kind, path)
    })
}

fn path_differs(case: &StartCase<'_>) -> Vec<Evidence> {
    wrong(case, |met| {
        let port =
            met.named.filter(|port| met.at.is_none() && port.kind == met.socket.endpoint.mode.port_type())?;
        let other = met.join.expected_socket(port);
        let seen = format!("the socket of port {}{} is {}", port.name, met.whose(), other.display());
        let fix = match port.kind {
            PortType::Dpdkvhostuserclient => {
                ovs::fixes::convert_port(met.second, &port.name, SocketMode::Server, &met.socket.path)
            }
            PortType::Dpdkvhostuser => fixes::move_socket(&case.start.domain, &met.socket.path, &other),
        };
        Some(met.found(seen, fix))
    })
}

fn other_type(case: &StartCase<'_>) -> Vec<Evidence> {
    wrong(case, |met| {
        let name = file_name(met.socket).filter(|_| met.port().is_none())?;
        let (_, kind) = met.join.others.iter().find(|(other, _)| other == name)?;
        let seen = format!("interface {name}{} is of type '{kind}'", met.whose());
        let (mode, path) = (met.socket.endpoint.mode, &met.socket.path);
        Some(met.found(seen, ovs::fixes::convert_port(met.second, name, mode, path)))
    })
}

fn add_port(socket: &Socket, second: Option<&Second>) -> String {
    let name = file_name(socket).unwrap_or("PORT");
    ovs::fixes::add_port(second, name, socket.endpoint.mode, &socket.path)
}

fn missing(case: &StartCase<'_>) -> Vec<Evidence> {
    // The port may be in the database of another switch, which was not asked or did not answer.
    let unasked = unasked(case);
    let elsewhere = unasked.as_ref().map(|other| format!(", and {other} may have one")).unwrap_or_default();
    let mut found = wrong(case, |met| {
        let is_other = |(name, _): &(String, String)| Some(name.as_str()) == file_name(met.socket);
        if met.port().is_some() || met.join.others.iter().any(is_other) {
            return None;
        }
        let seen = format!("OVSDB{} has no port for it{elsewhere}", met.whose());
        Some(met.found(seen, add_port(met.socket, met.second)).passing().sure_if(unasked.is_none()))
    });
    if case.facts.switch.known().is_none() {
        found.extend(missing_by_libvirt(case));
    }
    found
}

/// Another switch whose ports are not known.
fn unasked(case: &StartCase<'_>) -> Option<String> {
    let silent = case.facts.seconds.iter().find(|asked| asked.join.known().is_none());
    let second = case.facts.second.as_ref().map(Owner::text);
    second.or_else(|| Some(silent?.second.text()))
}

/// libvirt asks OVS itself before `start`, and leaves the name empty when there is no port with this path.
fn missing_by_libvirt(case: &StartCase<'_>) -> Vec<Evidence> {
    if case.start.operation != Operation::Start || case.facts.vswitchd == Vswitchd::NotRunning {
        return Vec::new();
    }
    let unnamed = |socket: &&Socket| {
        socket.endpoint.target.as_deref() == Some("") && socket.endpoint.mode == SocketMode::Server
    };
    let evidence = |socket: &Socket| {
        let sure = unasked(case).is_none();
        Evidence::at(&socket.path, "libvirt found no port for it in OVS", add_port(socket, None))
            .sure_if(sure)
    };
    case.on_switch().filter(unnamed).map(evidence).collect()
}

fn failed(case: &StartCase<'_>) -> Vec<Evidence> {
    wrong(case, |met| {
        let port = met.at.filter(|port| port.kind == met.socket.endpoint.mode.port_type())?;
        let why = match (&port.error, port.ofport) {
            (Some(error), _) => format!(": {error}"),
            (None, Some(-1)) => " has no OpenFlow number".to_string(),
            (None, _) => return None,
        };
        let seen = format!("port {}{}{why}", port.name, met.whose());
        Some(met.found(seen, ovs::fixes::remake(met.second, port)).passing())
    })
}
