// SPDX-License-Identifier: Apache-2.0
//! What belongs to others is left alone: sockets of other dataplanes and back ends, and directories.

use super::*;
use crate::config::{Family, Sockets};
use crate::dataplane::ovs::second::Second;
use crate::facts::owners::Owner;
use crate::node::endpoints::start::SecondFacts;

#[test]
fn another_dataplane_beside_is_left_in_peace() {
    let changes: [Break; 5] = [
        // A port of that name has its socket elsewhere.
        |_| {},
        |node| join(node).ports.clear(),
        |node| join(node).config.other_config.clear(),
        |node| node.facts.vswitchd = Vswitchd::NotRunning,
        |node| {
            node.facts.switch = Known::Unknown("no answer in time".to_string());
            node.facts.sockets[0].endpoint.target = Some(String::new());
        },
    ];
    for change in changes {
        let foreign = |node: &mut Node0| {
            node.facts.sockets.truncate(1);
            node.facts.sockets[0].path = PathBuf::from("/run/vpp/vhu1");
            change(node);
        };
        assert_eq!(broken(foreign), [""; 0]);
    }
}

#[test]
fn a_port_that_is_for_this_vm_claims_its_socket_wherever_it_is() {
    let moved = |node: &mut Node0| {
        node.start.domain.uuid = Some("f4e3".to_string());
        join(node).ports[0].vm_uuid = Some("f4e3".to_string());
        node.facts.sockets[0].path = PathBuf::from("/var/lib/vhost_socket/vhu1");
    };
    assert_eq!(broken(moved), ["port-path-differs"]);
}

/// A directory that was not agreed on is somebody else's: the command moves the socket.
#[test]
fn no_directory_of_others_is_given_away() {
    let mut node = healthy(Operation::Start);
    let path = PathBuf::from("/home/someone/vhu1");
    join(&mut node).ports[0].server_path = Some(path.clone());
    node.facts.sockets[0].path = path;
    let home = directory(&mut node, 0);
    (home.uid, home.gid, home.mode) = (1000, 1000, 0o700);
    node.start.socket_directory = Some(PathBuf::from("/var/lib/vhost_sockets"));
    let problems = problems(&node);
    for id in ["socket-directory-refuses-qemu", "socket-directory-refuses-dataplane"] {
        let fix = &problems.iter().find(|problem| problem.id == id).unwrap().fix;
        assert!(fix.contains("virsh") && fix.contains("/var/lib/vhost_sockets/vhu1"), "{fix}");
        assert!(!["install", "chown", "chmod", "apply"].iter().any(|word| fix.contains(word)), "{fix}");
    }
}

#[test]
fn other_back_ends_are_due_at_start_only() {
    let disk = |node: &mut Node0| {
        node.facts.sockets.remove(0);
        node.facts.sockets[0].endpoint.device = crate::facts::domains::EndpointKind::Disk;
        assert_eq!(node.facts.sockets[0].endpoint.mode, SocketMode::Client);
        node.facts.sockets[0].liveness = Liveness::Missing;
    };
    assert_eq!(broken_at(Operation::Prepare, disk), [""; 0]);
    assert_eq!(broken(disk), ["server-socket-missing"]);
}

fn testpmd() -> Option<Owner> {
    Some(Owner { pid: 7, name: "dpdk-testpmd".to_string(), unit: Some("testpmd.service".to_string()) })
}

/// In the agreed directory, without a port of the switch: whoever serves the socket, or was told to use it, has it.
#[test]
fn what_another_dataplane_has_is_its_own_wherever_it_is() {
    let changes: [Break; 4] = [
        |_| {},
        |node| node.facts.vswitchd = Vswitchd::NotRunning,
        |node| join(node).config.dpdk_initialized = Some(false),
        |node| {
            node.facts.switch = Known::Unknown("no answer in time".to_string());
            node.facts.sockets[0].endpoint.target = Some(String::new());
        },
    ];
    for change in changes {
        let foreign = |node: &mut Node0| {
            node.facts.sockets.truncate(1);
            join(node).ports.clear();
            node.facts.sockets[0].other = testpmd();
            change(node);
        };
        assert_eq!(broken(foreign), [""; 0]);
    }
    let with_port = |node: &mut Node0| {
        node.facts.sockets[0].other = testpmd();
        join(node).ports[0].ofport = Some(-1);
    };
    assert_eq!(broken(with_port), ["port-failed"], "a port of the switch claims its socket");
}

#[test]
fn a_port_may_be_in_the_database_of_a_second_switch() {
    let mut node = healthy(Operation::Start);
    join(&mut node).ports.remove(0);
    assert!(problems(&node)[0].sure);
    node.facts.second = testpmd();
    let found = &problems(&node)[0];
    assert_eq!((found.id, found.sure), ("port-missing", false));
    assert!(found.seen.contains("dpdk-testpmd (pid 7, testpmd.service)"), "{}", found.seen);
}

/// A node with a section for a second switch, which has the VM's second socket and these ports.
fn with_second(ports: Vec<VhostPort>) -> Node0 {
    let mut node = healthy(Operation::Start);
    node.facts.sockets.remove(0);
    let socket = &mut node.facts.sockets[0];
    socket.path = PathBuf::from("/run/ovs2/vhx0");
    (socket.liveness, socket.node) = (Liveness::Missing, None);
    join(&mut node).ports.clear();
    let config = SwitchConfig { run: Some(PathBuf::from("/run/ovs2")), ..join(&mut node).config.clone() };
    let sockets = Sockets { directory: PathBuf::from("/run/ovs2"), pattern: Some("vhx*".to_string()) };
    let (name, unit) = ("b".to_string(), "ovs2.service".to_string());
    let second = Second { name, unit, database: PathBuf::from("/run/ovs2/db.sock"), sockets };
    let asked = SecondFacts { second, join: Known::Known(Join { config, ports, others: Vec::new() }) };
    node.facts.seconds = vec![asked];
    node
}

#[test]
fn ports_of_a_second_switch_are_in_its_own_database() {
    let found = |ports| {
        let found = problems(&with_second(ports));
        let found = found.into_iter().find(|found| found.family == Some(Family::Ports));
        found.map(|found| (found.id, found.sure, format!("{}; {}", found.seen, found.fix)))
    };
    let at_db = "ovs-vsctl --db=unix:/run/ovs2/db.sock";
    let (id, sure, text) = found(Vec::new()).unwrap();
    assert_eq!((id, sure), ("port-missing", true));
    assert!(text.starts_with("OVSDB of [dataplane b] has no port for it; "), "{text}");
    assert_eq!(text.matches(at_db).count(), 2, "{text}");
    // Named after its port in that switch's run directory, and in the container's own words.
    let mut port = VhostPort::plain("vhx0", PortType::Dpdkvhostuser, None);
    assert_eq!(found(vec![port.clone()]), None);
    port.socket = Some(PathBuf::from("/var/run/openvswitch/vhx0"));
    assert_eq!(found(vec![port.clone()]), None);
    port.error = Some("no".to_string());
    let (id, _, text) = found(vec![port]).unwrap();
    assert_eq!(
        (id, text.contains("port vhx0 of [dataplane b]"), text.contains(at_db)),
        ("port-failed", true, true)
    );
    let path = Some(PathBuf::from("/run/ovs2/vhx0"));
    let (id, _, text) = found(vec![VhostPort::plain("vhx0", PortType::Dpdkvhostuserclient, path)]).unwrap();
    assert!(
        id == "both-ends-client" && text.contains(" of [dataplane b] is a dpdkvhostuserclient"),
        "{text}"
    );
}

/// One that does not answer may have the port: nobody is refused for it, here or at the node's own switch.
#[test]
fn a_second_switch_that_is_silent_accuses_nobody() {
    let mut node = with_second(Vec::new());
    node.facts.seconds[0].join = Known::Unknown("no answer in time".to_string());
    assert!(problems(&node).iter().all(|found| found.family != Some(Family::Ports)));
    let mut other = healthy(Operation::Start);
    join(&mut other).ports.remove(0);
    other.facts.seconds = node.facts.seconds;
    let found = &problems(&other)[0];
    assert_eq!((found.id, found.sure), ("port-missing", false));
    assert!(found.seen.contains("[dataplane b]"), "{}", found.seen);
}

/// Its port counts wherever it is; what another process serves in its place is that one's.
#[test]
fn a_second_switch_has_what_its_database_says() {
    let mut node = with_second(Vec::new());
    node.facts.sockets[0].other = testpmd();
    assert!(problems(&node).iter().all(|found| found.family != Some(Family::Ports)));
    let mut node = healthy(Operation::Start);
    let port = join(&mut node).ports.remove(0);
    node.facts.seconds = with_second(vec![port]).facts.seconds;
    assert_eq!(ids(&node), [""; 0]);
}

/// Breaks the socket of another dataplane to which QEMU connects; the first problem of it.
fn of_another(change: Break) -> Finding {
    let mut node = healthy(Operation::Start);
    node.facts.sockets.remove(0);
    node.facts.sockets[0].path = PathBuf::from("/run/tpmd/s0");
    node.facts.sockets[0].node.as_mut().unwrap().path = PathBuf::from("/run/tpmd/s0");
    change(&mut node);
    problems(&node).remove(0)
}

#[test]
fn a_fix_for_another_dataplane_is_none_of_the_switch() {
    let refused: Break = |node| {
        node.facts.sockets[0].other = testpmd();
        node.facts.sockets[0].node.as_mut().unwrap().gid = 0;
    };
    let cases: [(Break, &str, &str); 5] = [
        (
            |node| node.facts.sockets[0].liveness = Liveness::Missing,
            "server-socket-missing",
            "grep -rlsF -e /run/tpmd/s0 ",
        ),
        (
            |node| node.facts.sockets[0].liveness = Liveness::Stale,
            "server-socket-stale",
            "rm -f /run/tpmd/s0 && grep ",
        ),
        (
            |node| {
                node.facts.sockets[0].other = testpmd();
                node.facts.sockets[0].liveness = Liveness::Missing;
            },
            "server-socket-missing",
            "systemctl restart testpmd.service",
        ),
        (refused, "server-socket-refuses-qemu", "setfacl -m u:64055:rw /run/tpmd/s0"),
        (
            |node| {
                node.facts.sockets[0].endpoint.mode = SocketMode::Server;
                node.facts.sockets[0].liveness = Liveness::Missing;
                (directory(node, 1).uid, directory(node, 1).gid) = (0, 0);
            },
            "socket-directory-refuses-qemu",
            "setfacl -m u:64055:rwx /run/openvswitch",
        ),
    ];
    for (change, id, fix) in cases {
        let found = of_another(change);
        assert_eq!(found.id, id);
        assert!(found.fix.starts_with(fix), "{}", found.fix);
    }
    assert!(of_another(refused).seen.starts_with("dpdk-testpmd (pid 7, testpmd.service) listens on it; "));
}

/// As `apply` agreed to give the sockets of testpmd.
fn with_section(node: &mut Node0) {
    let uid = node.facts.sockets[0].node.as_ref().unwrap().uid;
    let sockets = serde_json::json!({"directory": "/run/tpmd"});
    let given = serde_json::json!(
        {"name": "cards", "unit": "testpmd.service", "uid": uid, "gid": 64055, "sockets": sockets}
    );
    let agreed = serde_json::json!({"version": 1, "note": "", "gid": 42477, "directories": [], "declared": [given],
        "socket-directory": "/var/lib/vhost_sockets", "qemu": null, "dataplane": null});
    node.start.agreed = Some(serde_json::from_value(agreed).unwrap());
}

#[test]
fn a_fix_for_a_section_is_by_its_unit_or_apply() {
    let refused: Break = |node| {
        with_section(node);
        node.facts.sockets[0].other = testpmd();
        node.facts.sockets[0].node.as_mut().unwrap().gid = 0;
    };
    assert_eq!(of_another(refused).fix, "vhost-accord apply");
    let of_someone_else: Break = |node| {
        with_section(node);
        let node = node.facts.sockets[0].node.as_mut().unwrap();
        (node.uid, node.gid) = (1000, 0);
    };
    assert!(of_another(of_someone_else).fix.starts_with("setfacl -m u:64055:rw /run/tpmd/s0"));
    let missing: Break = |node| {
        with_section(node);
        node.facts.sockets[0].liveness = Liveness::Missing;
    };
    assert_eq!(of_another(missing).fix, "systemctl start testpmd.service  # if it runs already: restart");
    let wrong_role: Break = |node| {
        with_section(node);
        node.facts.sockets[0].endpoint.mode = SocketMode::Server;
        node.facts.sockets[0].liveness = Liveness::Missing;
        (directory(node, 1).uid, directory(node, 1).gid) = (0, 0);
    };
    let fix = of_another(wrong_role).fix;
    assert!(fix.contains("mode='server'#path='/run/tpmd/s0' mode='client'#"), "{fix}");
}

/// QEMU connects as soon as such a back end is there.
#[test]
fn a_qemu_that_tries_again_is_not_refused_for_a_back_end_that_comes_later() {
    let absent: Break = |node| node.facts.sockets[0].liveness = Liveness::Missing;
    assert!(of_another(absent).sure);
    let tries: Break = |node| {
        node.facts.sockets[0].liveness = Liveness::Missing;
        node.facts.sockets[0].endpoint.reconnect = Some(1);
    };
    assert!(!of_another(tries).sure);
}
