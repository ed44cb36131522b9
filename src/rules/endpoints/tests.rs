// SPDX-License-Identifier: Apache-2.0

use std::path::PathBuf;

use super::*;
use crate::base::root::Root;
use crate::config::PortType;
use crate::dataplane::ovs::control::Control;
use crate::dataplane::ovs::ovsdb::VhostPort;
use crate::facts::Known;
use crate::facts::domains::{Endpoint, EndpointKind, SocketMode, parse_domain};
use crate::facts::processes::{Process, Started, parse_status};
use crate::facts::sockets::Liveness;
use crate::node::endpoints::start::Facts;
use crate::node::endpoints::{End, Owner, Waiting};
use crate::rules::start::Operation;
use crate::rules::{Evidence, finding};

const QEMU: u32 = 7;
const SWITCH: u32 = 9;
const STRANGER: u32 = 66;
const MINUTE: u64 = 60_000_000_000;

fn process(pid: u32, since_boot: u64) -> Process {
    let ids = "0 0 0 0";
    let status = format!("Name:\tp\nUid:\t{ids}\nGid:\t{ids}\nGroups:\t\nCapEff:\t0\n");
    Process { pid, status: parse_status(&status).unwrap(), started: Started { since_boot, at: 0 } }
}

fn end(pid: u32) -> End {
    End { inode: u64::from(pid), owner: Some(Owner { pid, name: format!("p{pid}"), unit: None }) }
}

fn socket(mode: SocketMode) -> Socket {
    let path = PathBuf::from("/run/openvswitch/vhu0");
    let endpoint = Endpoint {
        device: EndpointKind::Interface,
        path: Some(path.clone()),
        mode,
        reconnect: None,
        target: None,
        mac: None,
        alias: None,
    };
    Socket { endpoint, path, directory: 0, node: None, id: None, liveness: Liveness::Listening, other: None }
}

/// A VM that runs, connected as it should be; a test breaks one thing.
struct Running {
    endpoints: Endpoints,
    machine: Machine,
    socket: Socket,
    link: Link,
    start: Start,
}

impl Running {
    fn meeting(&self) -> Meeting<'_> {
        let (case, machine) = (StartCase { start: &self.start, facts: &self.machine.start }, &self.machine);
        let Running { endpoints, socket, link, .. } = self;
        Meeting { case, endpoints, machine: Some(machine), port: None, socket, link, sees_vms: true }
    }

    fn found(&self) -> Option<Finding> {
        first(&self.meeting())
    }
}

fn running(mode: SocketMode) -> Running {
    let mut domain = parse_domain("<domain><name>a b</name><uuid>u</uuid></domain>").unwrap();
    domain.running = true;
    let (listener, other) = if mode == SocketMode::Server { (QEMU, SWITCH) } else { (SWITCH, QEMU) };
    let vswitchd = Vswitchd::Running(Some(Box::new(process(SWITCH, MINUTE))));
    let image = tempfile::tempdir().unwrap();
    let root = Root::open(image.path()).unwrap();
    let start = Start::read(&root, Operation::Prepare, domain.clone()).unwrap();
    Running {
        endpoints: Endpoints {
            machines: Vec::new(),
            free: Vec::new(),
            switch: Known::Unknown(String::new()),
            vswitchd,
            control: Control::NotAsked,
            unmade: Vec::new(),
            waiting: Vec::new(),
            peers: Known::Known(()),
            unread: Vec::new(),
            now: 10 * MINUTE,
        },
        machine: Machine {
            domain,
            process: Some(process(QEMU, 2 * MINUTE)),
            start: Facts::unknown_yet(),
            links: Vec::new(),
            next: None,
        },
        start,
        socket: socket(mode),
        link: Link { listener: Some(end(listener)), connections: vec![(end(listener), end(other))] },
    }
}

fn said(case: &Running) -> Option<&'static str> {
    case.found().map(|finding| finding.id)
}

fn broken(mode: SocketMode, change: impl FnOnce(&mut Running)) -> Option<&'static str> {
    let mut case = running(mode);
    change(&mut case);
    said(&case)
}

#[test]
fn a_connected_vm_is_not_accused() {
    for mode in [SocketMode::Server, SocketMode::Client] {
        let case = running(mode);
        assert_eq!(said(&case), None);
        assert_eq!(case.meeting().word(), "ok");
    }
}

/// virtiofsd takes one connection, and listens no longer.
#[test]
fn another_back_end_that_is_connected_is_as_it_should_be() {
    let mut case = running(SocketMode::Client);
    case.link = Link { listener: None, connections: vec![(end(STRANGER), end(QEMU))] };
    assert_eq!(case.meeting().word(), "unknown");
    case.socket.endpoint.device = EndpointKind::Disk;
    assert_eq!(case.meeting().word(), "ok");
    case.socket.liveness = Liveness::Stale;
    case.machine.start.sockets = vec![case.socket];
    case.machine.links = vec![case.link];
    let evidence = Evidence::fixed_by("/run/openvswitch/vhu0", "", "").foreign_if(true);
    let mut found = finding("server-socket-stale", evidence).unwrap();
    assert!(is_served(&case.machine, &found));
    found.foreign = false;
    assert!(!is_served(&case.machine, &found), "the switch has to listen again");
    found.foreign = true;
    case.machine.links[0].connections.clear();
    assert!(!is_served(&case.machine, &found));
}

#[test]
fn what_a_running_vm_lost_is_named() {
    use SocketMode::{Client, Server};
    assert_eq!(broken(Client, |case| case.link.connections.clear()), Some("not-connected"));
    let foreign = |case: &mut Running| case.link.listener = Some(end(STRANGER));
    assert_eq!(broken(Server, foreign), Some("listener-is-foreign"));
    let stolen = |case: &mut Running| case.link.connections = vec![(end(QEMU), end(STRANGER))];
    assert_eq!(broken(Server, stolen), Some("not-connected"));
    let gone = |case: &mut Running| {
        case.link = Link::default();
        case.socket.liveness = Liveness::Stale;
    };
    assert_eq!(broken(Server, gone), Some("client-socket-gone"));
}

#[test]
fn only_a_qemu_that_does_not_try_again_is_dead_after_a_restart() {
    let restart = |case: &mut Running| {
        case.link.connections.clear();
        case.machine.process = Some(process(QEMU, 0));
        case.endpoints.now = MINUTE + 1;
    };
    assert_eq!(broken(SocketMode::Client, restart), Some("nic-dead-after-restart"));
    let tries = |case: &mut Running| {
        restart(case);
        case.socket.endpoint.reconnect = Some(1);
    };
    assert_eq!(broken(SocketMode::Client, tries), None, "the switch is young: it may still connect");
    assert_eq!(broken(SocketMode::Server, restart), None);
}

#[test]
fn what_is_not_known_accuses_nobody() {
    let unseen = |case: &mut Running| {
        case.link.connections.clear();
        case.endpoints.peers = Known::Unknown("no sock_diag".to_string());
    };
    assert_eq!(broken(SocketMode::Server, unseen), None);
    assert_eq!(broken(SocketMode::Server, |case| case.machine.process = None), None);
    let elsewhere = |case: &mut Running| case.link.listener = Some(End { inode: 1, owner: None });
    assert_eq!(broken(SocketMode::Client, elsewhere), None);
    let young = |case: &mut Running| {
        case.link.connections.clear();
        case.endpoints.now = 2 * MINUTE + 1;
    };
    assert_eq!(broken(SocketMode::Server, young), None);
}

#[test]
fn a_port_without_a_vm_is_a_leftover_unless_someone_uses_it() {
    let port = VhostPort { ofport: None, ..VhostPort::plain("vhu$(x)", PortType::Dpdkvhostuserclient, None) };
    let mut free_port = FreePort { port, socket: socket(SocketMode::Server), link: Link::default() };
    let Running { mut endpoints, machine, start, .. } = running(SocketMode::Server);
    let free = |endpoints: &Endpoints, free: &FreePort, sees_vms| {
        let case = StartCase { start: &start, facts: &machine.start };
        let (port, socket, link) = (Some(&free.port), &free.socket, &free.link);
        first(&Meeting { case, endpoints, machine: None, port, socket, link, sees_vms })
    };
    let found = free(&endpoints, &free_port, true).unwrap();
    assert_eq!(found.id, "port-without-vm");
    let waiting = Waiting { path: PathBuf::from("/s/vhu$(x)"), domain: "a b".to_string(), pid: QEMU };
    endpoints.waiting.push(waiting);
    assert!(general::waits(&endpoints)[0].fix.contains("ovs-vsctl add-port "));
    endpoints.free.push(free_port.clone());
    assert!(general::waits(&endpoints)[0].fix.starts_with("ovs-vsctl set Interface 'vhu$(x)' type="));
    assert_eq!(found.fix, "ovs-vsctl --if-exists del-port 'vhu$(x)'");
    free_port.port.vm_uuid = Some("5f4b$(x)".to_string());
    let novas = free(&endpoints, &free_port, true).unwrap();
    assert!(
        novas.fix.starts_with("openstack server show '5f4b$(x)' "),
        "nova may be about to use it: {}",
        novas.fix
    );
    free_port.port.vm_uuid = None;
    assert_eq!(free(&endpoints, &free_port, false), None, "who has it is not to be seen");
    free_port.link.connections.push((end(STRANGER), end(SWITCH)));
    assert_eq!(free(&endpoints, &free_port, true), None);
}

#[test]
fn a_name_is_quoted_in_what_fixes() {
    let mut case = running(SocketMode::Server);
    case.link.connections.clear();
    let found = case.found().unwrap();
    assert_eq!(found.fix, "virsh destroy --graceful 'a b' && virsh start 'a b'");
    case.machine.domain.name = "-x".to_string();
    let found = case.found().unwrap();
    assert_eq!(found.fix, "virsh destroy --graceful u && virsh start u");
}
