// SPDX-License-Identifier: Apache-2.0
//! The other end: the port of the switch that is to meet QEMU at the socket.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{Case, Evidence, Rule};
use crate::base::paths::{plain, same_path};
use crate::config::{Family, PortType};
use crate::dataplane::ovs;
use crate::dataplane::ovs::ovsdb::{Join, VhostPort};
use crate::dataplane::ovs::vswitchd::Vswitchd;
use crate::facts::domains::SocketMode;
use crate::facts::domains::is_network_card;
use crate::facts::sockets::Liveness;
use crate::fixes;
use crate::hook::call::Operation;
use crate::node::endpoints::start::Socket;

pub const RULES: &[Rule] = &[
    Rule {
        id: "conversion-port-in-use",
        family: Family::Ports,
        cause: "another process uses this port; converting it for this VM would disconnect that process",
        check: in_use,
    },
    Rule {
        id: "dataplane-not-running",
        family: Family::Ports,
        cause: "no dataplane uses the socket: QEMU would hang or fail to connect",
        check: not_running,
    },
    Rule {
        id: "dpdk-not-initialized",
        family: Family::Ports,
        cause: "without DPDK, Open vSwitch has no vhost-user ports",
        check: not_initialized,
    },
    Rule {
        id: "both-ends-server",
        family: Family::Ports,
        cause: "OVS and QEMU would both create the socket and wait for a connection forever",
        check: both_servers,
    },
    Rule {
        id: "both-ends-client",
        family: Family::Ports,
        cause: "OVS and QEMU would both try to connect, and neither creates the socket",
        check: both_clients,
    },
    Rule {
        id: "port-path-differs",
        family: Family::Ports,
        cause: "OVS and QEMU use different paths",
        check: path_differs,
    },
    Rule {
        id: "port-of-other-type",
        family: Family::Ports,
        cause: "only dpdkvhostuserclient and dpdkvhostuser ports speak vhost-user",
        check: other_type,
    },
    Rule {
        id: "port-missing",
        family: Family::Ports,
        cause: "no port of OVS uses this socket: QEMU would wait forever, and nothing logs an error",
        check: missing,
    },
    Rule {
        id: "port-failed",
        family: Family::Ports,
        cause: "the port is in OVSDB, but OVS could not create it",
        check: failed,
    },
];

/// Is this a socket that Open vSwitch is to meet QEMU at, and nothing else? A node may have another dataplane beside, with
/// sockets wherever it likes: Open vSwitch's are in its own directory, in the agreed one, and where a port of it says so.
fn is_switch_path(case: &Case<'_>, path: &Path) -> bool {
    let subject = case.subject;
    let configured =
        || subject.socket_directory.as_ref().is_some_and(|directory| path.starts_with(directory));
    let claims = |join: &Join| {
        let has = |port: &VhostPort| {
            // os-vif writes into a port which VM it is for, and names it like the socket.
            let is_for = port.vm_uuid.is_some() && port.vm_uuid == subject.domain.uuid;
            same_path(&join.expected_socket(port), path)
                || (is_for && path.file_name() == Some(port.name.as_ref()))
        };
        join.config.has_dpdk() && (configured() || join.ports.iter().any(has))
    };
    let below_run = plain(path).starts_with(ovs::paths::RUN);
    below_run || subject.is_agreed_path(path) || case.facts.switch.known().is_some_and(claims)
}

/// Is the switch to meet QEMU at this socket? What another process serves, or was told to use, is that one's wherever it is,
/// unless a port of the switch says otherwise.
pub fn meets_switch(case: &Case<'_>, socket: &Socket) -> bool {
    let others = || socket.other.is_some() && super::sockets::port_at(case, socket).is_none();
    is_network_card(&socket.endpoint) && is_switch_path(case, &socket.path) && !others()
}

fn on_switch<'a>(case: &Case<'a>) -> impl Iterator<Item = &'a Socket> {
    let case = *case;
    case.facts.sockets.iter().filter(move |socket| meets_switch(&case, socket))
}

/// What OVSDB knows of one socket.
struct Met<'a> {
    socket: &'a Socket,
    join: &'a Join,
    /// The port that has the socket at this path.
    at: Option<&'a VhostPort>,
    /// A port that is named like the socket.
    named: Option<&'a VhostPort>,
}

fn met<'a>(case: &Case<'a>) -> Vec<Met<'a>> {
    let Some(join) = case.facts.switch.known() else { return Vec::new() };
    // As many as a VM may have: looked up, not searched for.
    let by_path: HashMap<PathBuf, &VhostPort> =
        join.ports.iter().map(|port| (plain(&join.expected_socket(port)), port)).collect();
    let by_name: HashMap<&str, &VhostPort> =
        join.ports.iter().map(|port| (port.name.as_str(), port)).collect();
    let meet = |socket: &'a Socket| {
        let at = by_path.get(&plain(&socket.path)).copied();
        let named = file_name(socket).and_then(|name| by_name.get(name).copied());
        Met { socket, join, at, named }
    };
    on_switch(case).map(meet).collect()
}

fn file_name(socket: &Socket) -> Option<&str> {
    socket.path.file_name()?.to_str()
}

/// The type of port that goes with QEMU's side.
fn counterpart(socket: &Socket) -> PortType {
    match socket.endpoint.mode {
        SocketMode::Server => PortType::Dpdkvhostuserclient,
        SocketMode::Client => PortType::Dpdkvhostuser,
    }
}

impl Met<'_> {
    /// The port that this socket is about, whether it fits or not.
    fn port(&self) -> Option<&VhostPort> {
        self.at.or(self.named)
    }

    fn roles_clash(&self, mode: SocketMode) -> bool {
        self.socket.endpoint.mode == mode
            && self.port().is_some_and(|port| port.kind != counterpart(self.socket))
    }

    fn fits(&self) -> bool {
        self.at.is_some_and(|port| port.kind == counterpart(self.socket))
    }

    fn is_served(&self) -> bool {
        self.socket.endpoint.mode == SocketMode::Client && self.socket.liveness == Liveness::Listening
    }
}

pub fn switch_unit(case: &Case<'_>) -> String {
    let agreed = case.subject.agreed.as_ref().and_then(|agreed| agreed.dataplane.as_ref());
    agreed.map_or("openvswitch-switch".to_string(), |dataplane| dataplane.unit.clone())
}

fn in_use(case: &Case<'_>) -> Vec<Evidence> {
    let held = case.subject.held.iter().map(|held| {
        // It shows who is at the port; what is to go is not ours to say.
        Evidence::new(
            &held.path,
            format!("port {} is in use by {}", held.port, held.by),
            "vhost-accord check",
        )
    });
    held.collect()
}

fn not_running(case: &Case<'_>) -> Vec<Evidence> {
    let needed = on_switch(case).any(|socket| socket.liveness != Liveness::Listening);
    if case.facts.vswitchd != Vswitchd::NotRunning || !needed {
        return Vec::new();
    }
    let fix = format!("systemctl start {}", switch_unit(case));
    vec![Evidence::new("ovs-vswitchd", "is not running", fix).passing()]
}

fn not_initialized(case: &Case<'_>) -> Vec<Evidence> {
    let Some(join) = case.facts.switch.known() else { return Vec::new() };
    let running = matches!(case.facts.vswitchd, Vswitchd::Running(_));
    if !running || join.config.dpdk_initialized != Some(false) || on_switch(case).next().is_none() {
        return Vec::new();
    }
    let (seen, fix) = match join.config.other_config.get("dpdk-init").map(String::as_str) {
        None | Some("false") => (
            "other_config:dpdk-init is not set",
            "ovs-vsctl set Open_vSwitch . other_config:dpdk-init=true".to_string(),
        ),
        Some(_) => (
            "dpdk_initialized is false though other_config:dpdk-init is set",
            format!("systemctl restart {}", switch_unit(case)),
        ),
    };
    vec![Evidence::new("Open vSwitch", seen, fix).passing()]
}

fn both_servers(case: &Case<'_>) -> Vec<Evidence> {
    let clash = |met: &Met<'_>| {
        let port = met.port()?;
        let seen = format!(
            "the domain has mode='server' and port {} is a {} at {}",
            port.name,
            port.kind,
            met.join.expected_socket(port).display()
        );
        let fix = ovs::fixes::convert_port(&port.name, SocketMode::Server, &met.socket.path);
        Some(Evidence::of(met.socket, seen, fix))
    };
    met(case).iter().filter(|met| met.roles_clash(SocketMode::Server)).filter_map(clash).collect()
}

fn both_clients(case: &Case<'_>) -> Vec<Evidence> {
    let clash = |met: &Met<'_>| {
        let port = met.port()?;
        let path = met.join.expected_socket(port);
        let seen = format!(
            "the domain has mode='client' and port {} is a {} at {}",
            port.name,
            port.kind,
            path.display()
        );
        let fix = fixes::convert_domain(&case.subject.domain, &met.socket.path, port.kind, &path);
        Some(Evidence::of(met.socket, seen, fix))
    };
    let clashing = |met: &&Met<'_>| met.roles_clash(SocketMode::Client) && !met.is_served();
    met(case).iter().filter(clashing).filter_map(clash).collect()
}

fn path_differs(case: &Case<'_>) -> Vec<Evidence> {
    let differs = |met: &Met<'_>| {
        let port = met.named.filter(|port| met.at.is_none() && port.kind == counterpart(met.socket))?;
        if met.is_served() {
            return None;
        }
        let other = met.join.expected_socket(port);
        let seen = format!("the socket of port {} is {}", port.name, other.display());
        let fix = match port.kind {
            PortType::Dpdkvhostuserclient => {
                ovs::fixes::convert_port(&port.name, SocketMode::Server, &met.socket.path)
            }
            PortType::Dpdkvhostuser => fixes::move_socket(&case.subject.domain, &met.socket.path, &other),
        };
        Some(Evidence::of(met.socket, seen, fix))
    };
    met(case).iter().filter_map(differs).collect()
}

fn other_type(case: &Case<'_>) -> Vec<Evidence> {
    let wrong = |met: &Met<'_>| {
        let name = file_name(met.socket).filter(|_| met.port().is_none() && !met.is_served())?;
        let (_, kind) = met.join.others.iter().find(|(other, _)| other == name)?;
        let seen = format!("interface {name} is of type '{kind}'");
        Some(Evidence::of(
            met.socket,
            seen,
            ovs::fixes::convert_port(name, met.socket.endpoint.mode, &met.socket.path),
        ))
    };
    met(case).iter().filter_map(wrong).collect()
}

fn add_port(socket: &Socket) -> String {
    ovs::fixes::add_port(file_name(socket).unwrap_or("PORT"), socket.endpoint.mode, &socket.path)
}

fn missing(case: &Case<'_>) -> Vec<Evidence> {
    let Some(join) = case.facts.switch.known() else { return missing_by_libvirt(case) };
    let absent = |met: &&Met<'_>| {
        let other = join.others.iter().any(|(name, _)| Some(name.as_str()) == file_name(met.socket));
        met.port().is_none() && !other && !met.is_served()
    };
    // The port may be in the database of another switch, which is not asked.
    let second = case.facts.second.as_ref();
    let seen = second.map(|second| format!(", and {} may have one", second.text())).unwrap_or_default();
    let seen = format!("OVSDB has no port for it{seen}");
    let evidence = |met: &Met<'_>| {
        Evidence::of(met.socket, &seen, add_port(met.socket)).passing().sure_if(second.is_none())
    };
    met(case).iter().filter(absent).map(evidence).collect()
}

/// libvirt asks OVS itself before `start`, and leaves the name empty when there is no port with this path.
fn missing_by_libvirt(case: &Case<'_>) -> Vec<Evidence> {
    if case.subject.operation != Operation::Start || case.facts.vswitchd == Vswitchd::NotRunning {
        return Vec::new();
    }
    let unnamed = |socket: &&Socket| {
        socket.endpoint.target.as_deref() == Some("") && socket.endpoint.mode == SocketMode::Server
    };
    let evidence = |socket: &Socket| {
        let sure = case.facts.second.is_none();
        Evidence::of(socket, "libvirt found no port for it in OVS", add_port(socket)).sure_if(sure)
    };
    on_switch(case).filter(unnamed).map(evidence).collect()
}

fn failed(case: &Case<'_>) -> Vec<Evidence> {
    let broken = |met: &Met<'_>| {
        let port = met.at.filter(|_| met.fits() && !met.is_served())?;
        let seen = match (&port.error, port.ofport) {
            (Some(error), _) => format!("port {}: {error}", port.name),
            (None, Some(-1)) => format!("port {} has no OpenFlow number", port.name),
            (None, _) => return None,
        };
        let fix = ovs::fixes::remake(port);
        Some(Evidence::of(met.socket, seen, fix).passing())
    };
    met(case).iter().filter_map(broken).collect()
}
