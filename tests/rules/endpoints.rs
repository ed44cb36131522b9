// SPDX-License-Identifier: Apache-2.0
//! Every rule about both sides of a socket, on a node that breaks it and on one that does not: the sound node has no
//! finding, and each breakage is named by its own id and accuses nothing else.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::pair::{self, OFF, ON, OVS_MAKES, Pair, QEMU_MAKES, STRANGER, end};
use vhost_accord::config::PortType;
use vhost_accord::dataplane::ovs::control::Control;
use vhost_accord::dataplane::ovs::vswitchd::Vswitchd;
use vhost_accord::facts::Known;
use vhost_accord::facts::domains::{BrokenFile, SocketMode};
use vhost_accord::facts::sockets::Liveness;
use vhost_accord::node::endpoints::{Link, Next, Waiting};
use vhost_accord::rules::{self, Ask, Rule};

pub type Breakage = (&'static str, fn(&mut Pair));

pub const BREAKAGES: &[Breakage] = &[
    ("dataplane-not-running", |pair| pair.vswitchd(&Vswitchd::NotRunning)),
    ("dataplane-hung", |pair| pair.endpoints.control = Control::Silent(Some('T'))),
    ("dpdk-not-initialized", |pair| pair.join(OFF).config.dpdk_initialized = Some(false)),
    ("switch-unknown", |pair| {
        pair.endpoints.switch = Known::Unknown("no answer in 5 s".to_string());
        for machine in &mut pair.endpoints.machines {
            machine.start.switch = Known::Unknown("no answer in 5 s".to_string());
        }
    }),
    ("domain-unreadable", |pair| {
        let path = PathBuf::from("/etc/libvirt/qemu/vm.xml");
        pair.endpoints.unread = vec![BrokenFile { path, error: "not a domain".to_string() }];
    }),
    ("socket-path-too-long", |pair| pair.rename(OFF, &format!("/{}", "a".repeat(107)))),
    ("socket-path-not-clean", |pair| pair.rename(OFF, "/var/lib/vhost_sockets/../vhus0")),
    ("socket-directory-refuses-qemu", |pair| {
        let directory = pair.before_apply().directory(OFF, QEMU_MAKES);
        (directory.uid, directory.gid, directory.mode) = (0, 0, 0o755);
    }),
    ("socket-directory-refuses-dataplane", |pair| {
        let directory = pair.before_apply().directory(OFF, QEMU_MAKES);
        (directory.gid, directory.mode) = (0, 0o2700);
    }),
    ("both-ends-server", |pair| {
        let join = pair.join(OFF);
        join.ports[0] = pair::port("vhus0", PortType::Dpdkvhostuser, None);
    }),
    ("both-ends-client", |pair| {
        let path = pair.socket(OFF, OVS_MAKES).path.clone();
        pair.join(OFF).ports[1] = pair::port("vhuc0", PortType::Dpdkvhostuserclient, Some(&path));
        let socket = pair.socket(OFF, OVS_MAKES);
        (socket.node, socket.liveness) = (None, Liveness::Missing);
        *pair.link(OFF, OVS_MAKES) = Link::default();
    }),
    ("port-path-differs", |pair| {
        pair.join(OFF).ports[0].server_path = Some("/var/lib/vhost_socket/vhus0".into());
    }),
    ("port-of-other-type", |pair| {
        let join = pair.join(OFF);
        join.ports.remove(0);
        join.others.push(("vhus0".to_string(), "tap".to_string()));
    }),
    ("port-missing", |pair| drop(pair.join(OFF).ports.remove(0))),
    ("port-failed", |pair| pair.join(OFF).ports[0].ofport = Some(-1)),
    ("port-not-in-datapath", |pair| {
        let port = pair.join(ON).ports[0].clone();
        pair.endpoints.unmade = vec![port];
    }),
    ("hot-plug-waits", |pair| {
        let path = PathBuf::from("/var/lib/vhost_sockets/vhus9");
        pair.endpoints.waiting = vec![Waiting { path, domain: "on".to_string(), pid: pair::QEMU }];
    }),
    ("port-without-vm", |pair| pair.endpoints.free[0].link.connections.clear()),
    ("server-socket-missing", |pair| {
        let socket = pair.socket(OFF, OVS_MAKES);
        (socket.node, socket.liveness) = (None, Liveness::Missing);
        *pair.link(OFF, OVS_MAKES) = Link::default();
    }),
    ("not-a-socket", |pair| pair.socket(OFF, OVS_MAKES).liveness = Liveness::NotASocket),
    ("client-socket-in-use", |pair| pair.socket(OFF, QEMU_MAKES).liveness = Liveness::Listening),
    ("client-socket-in-the-way", |pair| {
        let directory = pair.before_apply().directory(OFF, QEMU_MAKES);
        (directory.uid, directory.mode) = (0, 0o3775);
        let socket = pair.socket(OFF, QEMU_MAKES);
        socket.node = Some(pair::at(&socket.path, (0, 0, 0o775)));
        socket.liveness = Liveness::Stale;
    }),
    ("listener-is-foreign", |pair| pair.link(ON, OVS_MAKES).listener = Some(end(STRANGER))),
    ("client-socket-gone", |pair| {
        *pair.link(ON, QEMU_MAKES) = Link::default();
        let socket = pair.socket(ON, QEMU_MAKES);
        (socket.node, socket.liveness) = (None, Liveness::Missing);
    }),
    ("nic-dead-after-restart", |pair| {
        pair.link(ON, OVS_MAKES).connections.clear();
        pair.endpoints.machines[ON].process.as_mut().unwrap().started.since_boot = 1;
    }),
    ("not-connected", |pair| pair.link(ON, QEMU_MAKES).connections.clear()),
    ("next-start-fails", |pair| {
        let machine = &mut pair.endpoints.machines[ON];
        let mut next = Next { domain: machine.domain.clone(), start: machine.start.clone() };
        next.domain.endpoints[QEMU_MAKES].mode = SocketMode::Client;
        let socket = &mut next.start.sockets[QEMU_MAKES];
        (socket.endpoint.mode, socket.node, socket.liveness) = (SocketMode::Client, None, Liveness::Missing);
        machine.next = Some(next);
    }),
    ("memory-not-shared", |pair| {
        pair.endpoints.machines[OFF].domain.memory.access = None;
    }),
    ("hugepages-not-mounted", |pair| pair.need(OFF).mounted = false),
    ("hugepages-not-enough", |pair| pair.need(OFF).pages = 101),
    ("hugepages-not-on-node", |pair| pair.need(OFF).nodes = vec![3]),
];

fn ids(pair: &mut Pair) -> BTreeSet<&'static str> {
    pair.judged().findings.iter().map(|finding| finding.id).collect()
}

#[test]
fn a_sound_pair_has_no_findings() {
    let judged = Pair::sound().judged();
    assert_eq!(judged.findings, []);
    let words: Vec<&str> = judged.rows.iter().map(|row| row.verdict.as_str()).collect();
    assert_eq!(words, ["ready", "ready", "ok", "ok", "ok"]);
}

#[test]
fn each_breakage_is_named_and_nothing_else_accused() {
    for (id, breaks) in BREAKAGES {
        let mut pair = Pair::sound();
        breaks(&mut pair);
        assert_eq!(ids(&mut pair), BTreeSet::from([*id]));
    }
}

/// What the VM has not yet and will have: no breakage as long as it meets its port.
#[test]
fn another_definition_that_works_is_no_breakage() {
    let mut pair = Pair::sound();
    let other = pair.endpoints.machines[OFF].clone();
    pair.endpoints.machines[ON].next = Some(Next { domain: other.domain, start: other.start });
    assert_eq!(ids(&mut pair), BTreeSet::new());
}

/// nova has them created before it starts the VM; one that runs has lost them.
#[test]
fn a_vm_of_nova_that_is_off_needs_no_ports() {
    for (machine, expected) in [(OFF, BTreeSet::new()), (ON, BTreeSet::from(["port-missing"]))] {
        let mut pair = Pair::sound();
        pair.endpoints.machines[machine].domain.is_novas = true;
        pair.join(machine).ports.clear();
        if machine == OFF {
            let socket = pair.socket(OFF, OVS_MAKES);
            (socket.node, socket.liveness) = (None, Liveness::Missing);
            *pair.link(OFF, OVS_MAKES) = Link::default();
        }
        assert_eq!(ids(&mut pair), expected);
    }
}

#[test]
fn every_rule_about_endpoints_is_tested() {
    let is_asked = |ask: &Ask| matches!(ask, Ask::Start(..) | Ask::Each(..) | Ask::Sides(_) | Ask::Socket(_));
    // Those of a node as well are in tests/plain_rules.rs.
    let is_here = |rule: &&Rule| {
        rule.asks.iter().any(is_asked)
            && !rule.asks.iter().any(|ask| matches!(ask, Ask::Node(_) | Ask::Once(_) | Ask::Change(_)))
    };
    let rules = rules::all().filter(is_here).map(|rule| rule.id).chain(["next-start-fails"]);
    assert_eq!(rules.collect::<BTreeSet<_>>(), BREAKAGES.iter().map(|(id, _)| *id).collect());
}

#[test]
fn without_libvirt_or_the_switch_nobody_else_is_accused() {
    let mut pair = Pair::sound();
    pair.node.profile.hypervisor = None;
    pair.node.accord.qemu = None;
    pair.endpoints.machines.remove(ON);
    pair.before_apply().directory(OFF, QEMU_MAKES).mode = 0;
    assert_eq!(ids(&mut pair), BTreeSet::new());
    assert_eq!(pair.judged().rows[0].verdict, "no-libvirt");

    let mut pair = Pair::sound();
    pair.node.profile.dataplane = None;
    pair.vswitchd(&Vswitchd::NotRunning);
    assert_eq!(ids(&mut pair), BTreeSet::new());
    assert_eq!(pair.judged().rows[0].verdict, "no-dataplane");
}

/// Its numbers are in the configuration, and its VMs are judged as any.
#[test]
fn with_libvirt_in_a_container_vms_are_judged() {
    let mut pair = Pair::sound();
    pair.node.profile.hypervisor = None;
    let judged = pair.judged();
    assert_eq!(judged.findings, []);
    let words: Vec<&str> = judged.rows.iter().map(|row| row.verdict.as_str()).collect();
    assert_eq!(words, ["ready", "ready", "ok", "ok", "ok"]);
}
