// SPDX-License-Identifier: Apache-2.0
//! Unknown never accuses: whatever a node is like, no finding appears because one of the sources falls silent.

use std::path::{Path, PathBuf};

use super::endpoints;
use super::node::Node;
use super::pair::{ON, Pair};
use super::{BREAKAGES, SOUND};
use vhost_accord::base::root::Root;
use vhost_accord::dataplane::ovs::vswitchd::Vswitchd;
use vhost_accord::facts::Known;
use vhost_accord::facts::domains::{BrokenFile, Domains};
use vhost_accord::facts::sockets::Liveness;
use vhost_accord::node::endpoints::start::{Facts, Shared};
use vhost_accord::node::endpoints::{FreePort, Link, Machine};
use vhost_accord::rules::Finding;

type Silence<T> = (&'static str, fn(&mut T));

fn unknown<T>() -> Known<T> {
    Known::Unknown("no answer".to_string())
}

/// What says of the silence that there is one.
const SAID: [&str; 2] = ["switch-unknown", "domain-unreadable"];

fn unread() -> Vec<BrokenFile> {
    vec![BrokenFile { path: PathBuf::from("/run/libvirt/qemu/on.xml"), error: "no XML".to_string() }]
}

const OF_NODE: &[Silence<Node>] = &[
    ("OVSDB", |node| {
        node.live().switch = unknown();
        node.live().sockets.clear();
    }),
    ("/proc", |node| {
        let live = node.live();
        live.dataplane.clear();
        live.hidden = true;
        live.libvirt = None;
        live.guests.iter_mut().for_each(|guest| guest.process = None);
    }),
    ("libvirt", |node| {
        let live = node.live();
        (live.guests, live.next, live.defined) = (Vec::new(), Vec::new(), Domains::default());
        live.unread = unread();
    }),
    ("systemd", |node| {
        let live = node.live();
        live.units.clear();
        (live.libvirt_reloaded, live.libvirt) = (None, None);
    }),
    // Of libvirt's unit it says who it is, and not when it was reloaded.
    ("systemd's times", |node| node.live().libvirt_reloaded = None),
];

fn starts(machine: &mut Machine) -> impl Iterator<Item = &mut Facts> {
    std::iter::once(&mut machine.start).chain(machine.next.as_mut().map(|next| &mut next.start))
}

fn every_start(pair: &mut Pair, change: impl Fn(&mut Facts)) {
    pair.endpoints.machines.iter_mut().flat_map(starts).for_each(change);
}

fn every_link(pair: &mut Pair) -> impl Iterator<Item = &mut Link> {
    let machines = pair.endpoints.machines.iter_mut().flat_map(|machine| &mut machine.links);
    machines.chain(pair.endpoints.free.iter_mut().map(|port| &mut port.link))
}

const OF_PAIR: &[Silence<Pair>] = &[
    ("OVSDB", |pair| {
        every_start(pair, |start| start.switch = unknown());
        pair.endpoints.switch = unknown();
        pair.endpoints.free.clear();
        OF_NODE[0].1(&mut pair.node);
    }),
    ("/proc", |pair| {
        pair.vswitchd(&Vswitchd::Running(None));
        pair.endpoints.machines.iter_mut().for_each(|machine| machine.process = None);
        for link in every_link(pair) {
            let ends = link.connections.iter_mut().flat_map(|(one, other)| [one, other]);
            ends.chain(&mut link.listener).for_each(|end| end.owner = None);
        }
        OF_NODE[1].1(&mut pair.node);
    }),
    ("a VM's status file", |pair| {
        // Its ports are nobody's then.
        let machine = pair.endpoints.machines.remove(ON);
        let ports = machine.start.switch.known().map(|join| join.ports.clone()).unwrap_or_default();
        let sockets = machine.start.sockets.into_iter().zip(machine.links);
        for (port, (socket, link)) in ports.into_iter().zip(sockets) {
            pair.endpoints.free.push(FreePort { port, socket, link });
        }
        pair.endpoints.unread = unread();
    }),
    ("the kernel", |pair| {
        pair.endpoints.peers = unknown();
        every_link(pair).for_each(|link| *link = Link::default());
    }),
    ("the file tree", |pair| {
        every_start(pair, |start| {
            start.directories.iter_mut().for_each(|directory| directory.fact = unknown());
            for socket in &mut start.sockets {
                (socket.node, socket.id) = (None, None);
                socket.liveness = Liveness::Unknown("no answer".to_string());
            }
        });
    }),
    ("the pools of huge pages", |pair| every_start(pair, |start| start.memory = unknown())),
];

/// What is accused although nothing was said of it while every source spoke. A cause that is no longer known may leave
/// what follows from it to be named.
fn accused(before: &[Finding], after: Vec<Finding>) -> Vec<Finding> {
    let is_new = |finding: &Finding| before.iter().all(|other| other.subject != finding.subject);
    after.into_iter().filter(|finding| is_new(finding) && !SAID.contains(&finding.id)).collect()
}

#[test]
fn no_rule_about_the_node_accuses_by_silence() {
    let sound: super::Breakage = ("sound", |_| {});
    for (what, change) in BREAKAGES.iter().chain(SOUND).chain([&sound]) {
        let mut node = Node::sound();
        change(&mut node);
        let (before, live) = (node.findings(), node.live.clone());
        for (silent, silence) in OF_NODE {
            silence(&mut node);
            assert_eq!(accused(&before, node.findings()), [], "{what}, {silent} is silent");
            node.live.clone_from(&live);
        }
    }
}

#[test]
fn no_rule_about_both_ends_accuses_by_silence() {
    let sound: endpoints::Breakage = ("sound", |_| {});
    for (what, change) in endpoints::BREAKAGES.iter().chain([&sound]) {
        let mut pair = Pair::sound();
        change(&mut pair);
        let (before, live) = (pair.judged().findings, pair.node.live.clone());
        let endpoints = pair.endpoints.clone();
        for (silent, silence) in OF_PAIR {
            silence(&mut pair);
            assert_eq!(accused(&before, pair.judged().findings), [], "{what}, {silent} is silent");
            pair.node.live.clone_from(&live);
            pair.endpoints.clone_from(&endpoints);
        }
    }
}

/// Whose identity is not known is not accused of what that identity leads to.
#[test]
fn an_unseen_switch_may_still_need_what_it_owns() {
    let mut node = Node::sound();
    node.owner("/var/lib/openvswitch").uid = 0;
    node.live().dataplane.clear();
    let ids = |node: &Node| node.findings().iter().map(|finding| finding.id).collect::<Vec<_>>();
    assert_eq!(ids(&node), ["dataplane-state-owner"], "it does not run");
    node.live().hidden = true;
    assert_eq!(ids(&node), [""; 0]);
}

/// A directory that cannot be examined, whoever looks: the kernel knows no name of 300 bytes.
#[test]
fn a_directory_that_cannot_be_read_is_no_missing_socket() {
    let image = tempfile::tempdir().unwrap();
    let root = Root::open(image.path()).unwrap();
    let mut endpoint = Pair::sound().endpoints.machines[ON].domain.endpoints[0].clone();
    let mut liveness = |path: &Path| {
        endpoint.path = Some(path.to_path_buf());
        let (_, mut sockets) = Shared::default().places(&root, std::slice::from_ref(&endpoint));
        sockets.remove(0).liveness
    };
    let seen = liveness(&PathBuf::from(format!("/{}/vhu", "x".repeat(300))));
    assert!(matches!(seen, Liveness::Unknown(_)), "{seen:?}");
    assert_eq!(liveness(Path::new("/nowhere/vhu")), Liveness::Missing);
}
