// SPDX-License-Identifier: Apache-2.0
//! What belongs to others is left alone: sockets of other dataplanes and back ends, and directories.

use super::*;

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
        node.subject.domain.uuid = Some("f4e3".to_string());
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
    node.subject.socket_directory = Some(PathBuf::from("/var/lib/vhost_sockets"));
    let problems = run(&Case { subject: &node.subject, facts: &node.facts });
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
