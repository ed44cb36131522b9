// SPDX-License-Identifier: Apache-2.0

mod others;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;
use crate::access::{Identity, Node};
use crate::base::root::{Kind, Root};
use crate::config::PortType;
use crate::dataplane::ovs::ovsdb::{Join, SwitchConfig, VhostPort};
use crate::dataplane::ovs::vswitchd::Vswitchd;
use crate::facts::Known;
use crate::facts::domains::{SocketMode, parse_domain};
use crate::facts::hugepages::Pool;
use crate::facts::paths::PathFact;
use crate::facts::processes::{Process, Started, parse_status};
use crate::facts::sockets::Liveness;
use crate::node::endpoints::needs::Need;
use crate::node::endpoints::{Directory, Socket, start::Facts};

use crate::convert::Held;

const QEMU: (u32, u32) = (64055, 42477);
const DATAPLANE: (u32, u32) = (990, 42477);
const CLIENT_PORT: &str = "/var/lib/vhost_sockets/vhu1";
const SERVER_PORT: &str = "/run/openvswitch/vhu2";

/// A node on which everything is as it should be; a test breaks one thing.
struct Node0 {
    start: Start,
    facts: Facts,
}

fn node(path: &str, kind: Kind, (uid, gid): (u32, u32), mode: u32) -> Node {
    Node { path: PathBuf::from(path), kind, uid, gid, mode, acl: None, read_only: false }
}

fn port(name: &str, kind: PortType, server_path: Option<&str>) -> VhostPort {
    VhostPort::plain(name, kind, server_path.map(PathBuf::from))
}

fn vswitchd((uid, gid): (u32, u32)) -> Vswitchd {
    let ids = |id: u32| format!("{id} {id} {id} {id}");
    let (name, uid, gid) = ("ovs-vswitchd", ids(uid), ids(gid));
    let status = format!("Name:\t{name}\nUmask:\t0022\nUid:\t{uid}\nGid:\t{gid}\nGroups:\t\nCapEff:\t0\n");
    let (status, started) = (parse_status(&status).unwrap(), Started { since_boot: 0, at: 0 });
    Vswitchd::Running(Some(Box::new(Process { pid: 1, status, started })))
}

fn healthy(operation: Operation) -> Node0 {
    let xml = format!(
        "<domain><name>vm</name><memory>4096</memory>
         <memoryBacking><hugepages/><access mode='shared'/></memoryBacking><devices>
         <interface type='vhostuser'><source type='unix' path='{CLIENT_PORT}' mode='server'/></interface>
         <interface type='vhostuser'><source type='unix' path='{SERVER_PORT}' mode='client'/></interface>
         </devices></domain>"
    );
    let image = tempfile::tempdir().unwrap();
    let root = Root::open(image.path()).unwrap();
    let domain = parse_domain(&xml).unwrap();
    let mut start = Start::read(&root, Operation::Prepare, domain).unwrap();
    start.operation = operation;
    start.socket_directory = Some(PathBuf::from("/var/lib/vhost_sockets"));
    if operation == Operation::Start {
        start.qemu = Some(Identity::unprivileged(QEMU.0, QEMU.1, vec![]));
        start.groups_are_known = true;
    }
    let top = node("/", Kind::Directory, (0, 0), 0o755);
    let directory = |path: &str, owner, mode| Directory {
        path: PathBuf::from(path),
        fact: Known::Known(PathFact::Present {
            chain: vec![top.clone(), node(path, Kind::Directory, owner, mode)],
            id: (1, 1),
        }),
        default_acl: None,
    };
    let socket = |number: usize, node: Option<Node>, liveness| {
        let endpoint = start.domain.endpoints[number].clone();
        Socket {
            path: endpoint.path.clone().unwrap(),
            endpoint,
            directory: number,
            node,
            id: Some((1, 2)),
            liveness,
            other: None,
        }
    };
    let granted = node(SERVER_PORT, Kind::Socket, (990, QEMU.1), 0o775);
    let sockets = vec![socket(0, None, Liveness::Missing), socket(1, Some(granted), Liveness::Listening)];
    let other_config = BTreeMap::from([("dpdk-init".to_string(), "true".to_string())]);
    let config = SwitchConfig { other_config, dpdk_initialized: Some(true), ..SwitchConfig::default() };
    let ports = vec![
        port("vhu1", PortType::Dpdkvhostuserclient, Some(CLIENT_PORT)),
        port("vhu2", PortType::Dpdkvhostuser, None),
    ];
    let pool = Pool { page_size: 2 << 20, available: 100, on_demand: 0, nodes: vec![] };
    let need = Need { page_size: 2 << 20, pages: 2, nodes: vec![], mounted: true, pool: Some(pool) };
    let directories = vec![
        directory("/var/lib/vhost_sockets", (QEMU.0, 42477), 0o2775),
        directory("/run/openvswitch", (990, 42477), 0o755),
    ];
    let facts = Facts {
        switch: Known::Known(Join { config, ports, others: Vec::new() }),
        asks_switch: true,
        vswitchd: vswitchd(DATAPLANE),
        directories,
        sockets,
        memory: Known::Known(vec![need]),
        seconds: Vec::new(),
        second: None,
    };
    Node0 { start, facts }
}

type Break = fn(&mut Node0);

fn problems(node: &Node0) -> Vec<Finding> {
    run(&StartCase { start: &node.start, facts: &node.facts })
}

fn ids(node: &Node0) -> Vec<&'static str> {
    problems(node).into_iter().map(|problem| problem.id).collect()
}

fn broken_at(operation: Operation, change: impl FnOnce(&mut Node0)) -> Vec<&'static str> {
    let mut node = healthy(operation);
    change(&mut node);
    ids(&node)
}

/// What is found at `start` after one thing was broken.
fn broken(change: impl FnOnce(&mut Node0)) -> Vec<&'static str> {
    broken_at(Operation::Start, change)
}

fn join(node: &mut Node0) -> &mut Join {
    match &mut node.facts.switch {
        Known::Known(join) => join,
        Known::Unknown(why) => panic!("{why}"),
    }
}

fn directory(node: &mut Node0, number: usize) -> &mut Node {
    match &mut node.facts.directories[number].fact {
        Known::Known(PathFact::Present { chain, .. }) => chain.last_mut().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn need(node: &mut Node0) -> &mut Need {
    match &mut node.facts.memory {
        Known::Known(needs) => &mut needs[0],
        Known::Unknown(why) => panic!("{why}"),
    }
}

#[test]
fn nothing_is_said_of_a_healthy_node() {
    assert_eq!(ids(&healthy(Operation::Prepare)), [""; 0]);
    assert_eq!(ids(&healthy(Operation::Start)), [""; 0]);
}

#[test]
fn a_port_that_someone_has_is_not_converted() {
    let held = |node: &mut Node0| {
        let (path, port, by) = (CLIENT_PORT.to_string(), "vhu1".to_string(), "VM other".to_string());
        node.start.held.push(Held { path, port, by });
    };
    assert_eq!(broken_at(Operation::Prepare, held), ["conversion-port-in-use"]);
}

#[test]
fn without_ovsdb_libvirt_knows_that_a_port_is_missing() {
    let unnamed = |node: &mut Node0| {
        node.facts.switch = Known::Unknown("no answer in time".to_string());
        node.facts.sockets[0].endpoint.target = Some(String::new());
        // Without OVSDB only what was agreed tells whose path it is.
        node.facts.sockets[0].path = PathBuf::from("/run/openvswitch/vhu1");
    };
    assert_eq!(broken(unnamed), ["port-missing"]);
}

#[test]
fn what_stayed_unknown_is_no_problem() {
    assert_eq!(broken(|node| node.facts.switch = Known::Unknown("no answer".to_string())), [""; 0]);
    assert_eq!(broken(|node| node.facts.vswitchd = Vswitchd::Unknown("no answer".to_string())), [""; 0]);
    assert_eq!(broken(|node| node.facts.memory = Known::Unknown("no answer".to_string())), [""; 0]);
}

#[test]
fn var_run_is_run() {
    let spelled = |node: &mut Node0| node.facts.sockets[1].path = PathBuf::from("/var/run/openvswitch/vhu2");
    assert_eq!(broken(spelled), [""; 0]);
}

#[test]
fn paths_are_judged() {
    let path = |path: String| {
        move |node: &mut Node0| {
            join(node).ports.clear();
            join(node).config.other_config.clear();
            node.facts.sockets.truncate(1);
            node.facts.sockets[0].path = PathBuf::from(path);
        }
    };
    assert_eq!(broken(path(format!("/{}", "a".repeat(106)))), [""; 0]);
    for dirty in ["vhu1", "/var/lib/vhu\n1", "/var/lib/vhu1/", "/var/lib/vhu1/."] {
        assert_eq!(broken(path(dirty.to_string())), ["socket-path-not-clean"]);
    }
    let gone = |node: &mut Node0| {
        let first = PathBuf::from("/var/lib/vhost_sockets");
        node.facts.directories[0].fact = Known::Known(PathFact::Missing { first, above: Vec::new() });
    };
    assert_eq!(broken(gone), ["socket-directory-missing"]);
    for odd in ["/var/lib/vhu1 ", "/var/lib/vhu1\u{2019}"] {
        let mut node = healthy(Operation::Start);
        path(odd.to_string())(&mut node);
        let found = &problems(&node)[0];
        assert_eq!((found.id, found.sure), ("socket-path-not-clean", false), "both ends may have it so");
    }
}

#[test]
fn sockets_of_the_switch_are_judged() {
    fn liveness(liveness: Liveness) -> impl FnOnce(&mut Node0) {
        |node| node.facts.sockets[1].liveness = liveness
    }
    assert_eq!(broken_at(Operation::Prepare, liveness(Liveness::Missing)), ["server-socket-missing"]);
    assert_eq!(broken(liveness(Liveness::Stale)), ["server-socket-stale"]);
    let stock = |node: &mut Node0| {
        node.facts.sockets[1].node = Some(self::node(SERVER_PORT, Kind::Socket, (0, 0), 0o755))
    };
    assert_eq!(broken(stock), ["server-socket-refuses-qemu"]);
    assert_eq!(broken_at(Operation::Prepare, stock), [""; 0], "whom QEMU runs as is known at start");
}

#[test]
fn what_is_not_sure_is_never_refused() {
    let mut node = healthy(Operation::Start);
    node.facts.sockets[1].node = Some(self::node(SERVER_PORT, Kind::Socket, (0, 0), 0o755));
    node.start.groups_are_known = false;
    let problems = problems(&node);
    assert_eq!(
        problems.iter().map(|problem| (problem.id, problem.sure)).collect::<Vec<_>>(),
        [("server-socket-refuses-qemu", false)]
    );
}

#[test]
fn the_socket_qemu_will_make_is_judged() {
    assert_eq!(broken(|node| directory(node, 0).uid = 0), [""; 0], "the group lets QEMU in");
    // QEMU in a group of its own, in a directory that gives no group: OVS could not connect.
    let hang = |node: &mut Node0| {
        node.start.qemu = Some(Identity::unprivileged(QEMU.0, QEMU.0, vec![]));
        directory(node, 0).mode = 0o777;
        node.facts.sockets.truncate(1);
    };
    assert_eq!(broken(hang), ["client-socket-refuses-dataplane"]);
}

#[test]
fn memory_is_judged() {
    let by_command_line = |node: &mut Node0| {
        node.start.domain.memory.access = None;
        node.start.domain.shares_by_command_line = true;
    };
    assert_eq!(broken(by_command_line), [""; 0]);
    let on_node = |free: u64| {
        move |node: &mut Node0| {
            need(node).nodes = vec![1];
            need(node).pool.as_mut().unwrap().nodes = vec![(1, free)];
        }
    };
    assert_eq!(broken(on_node(2)), [""; 0]);
    assert_eq!(broken(on_node(1)), ["hugepages-not-on-node"]);
}

#[test]
fn a_line_says_id_what_cause_and_command() {
    let mut node = healthy(Operation::Start);
    join(&mut node).ports.clear();
    let problems = problems(&node);
    assert_eq!(
        problems[0].text(),
        "port-missing: /var/lib/vhost_sockets/vhu1: OVSDB has no port for it; no port of OVS uses this socket: \
         QEMU would wait forever, and nothing logs an error; fix: ovs-vsctl add-port \"$(ovs-vsctl --bare --columns=name find Bridge datapath_type=netdev | head -n 1)\" vhu1 -- set Interface vhu1 \
         type=dpdkvhostuserclient options:vhost-server-path=/var/lib/vhost_sockets/vhu1"
    );
}
