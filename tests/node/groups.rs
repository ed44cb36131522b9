// SPDX-License-Identifier: Apache-2.0
//! The shared group: not there, there, there with another number, with a number that is taken, in several sources.

use super::steps::{BOTH, calls, files_of, gid_of, killed, refused, same_as, spread, systemd_knows};
use super::support::Node;

const CONTRACT: &str = "42477";
const OLD: &str = "5123";

/// All kinds of things that have a group, and a user and a process that have it too.
const CARRIERS: &str = "\
    groupadd -g 5123 hugetlbfs; useradd -r -M -d / -g hugetlbfs hu; \
    mkdir -p /srv/deep/er; : >/srv/deep/er/plain; printf x >/srv/setgid; printf x >/srv/capable; : >/srv/two; \
    ln /srv/two /srv/names; ln -s /etc/passwd /srv/link; mkdir /srv/shared; : >'/srv/odd \\t name'; \
    : >/run/carried; : >/dev/hugepages/carried; \
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/run/carried.sock\")'; mkfifo /run/fifo; \
    chgrp -h -R hugetlbfs /srv /run/carried /run/carried.sock /run/fifo /dev/hugepages/carried; \
    chmod 2755 /srv/setgid; chmod 2775 /srv/shared; setcap cap_net_raw+ep /srv/capable; \
    : >/srv/others; chgrp 42477 /srv/others; \
    mkdir -p /var/lib/containers/x; : >/var/lib/containers/x/own; chgrp 5123 /var/lib/containers/x/own";
/// What stays with the old number: a container's.
const IN_CONTAINER: &str = "/var/lib/containers/x/own\n";
const MORE: [&str; 5] = ["/srv", "/run/carried", "/run/carried.sock", "/run/fifo", "/run/openvswitch"];

fn with_carriers() -> Node {
    let node = Node::up("bookworm");
    node.configure(BOTH);
    node.sh(CARRIERS);
    node
}

fn both_start(node: &Node) {
    node.start("vmc", false);
    node.start("vms", false);
    node.sh("rm -f /var/lib/vhost_sockets/vhus0");
}

#[test]
#[ignore = "needs a real node: make test"]
fn a_missing_group_is_made_with_the_contracts_number() {
    let node = Node::up("bookworm");
    let stock = node.snapshot();
    assert_eq!(node.try_sh("getent group hugetlbfs").code, 2);
    node.configure(BOTH);
    let plan = node.accord("plan --renumber").stdout;
    assert!(plan.contains("+ group hugetlbfs with gid 42477"), "{plan}");
    node.apply("--restart");
    assert_eq!(gid_of(&node, "hugetlbfs"), CONTRACT);
    both_start(&node);
    assert_eq!(node.accord("revert --restart").code, 0);
    node.sh("rm -r /etc/vhost-accord");
    same_as(&node, &stock, "after revert");
}

#[test]
#[ignore = "needs a real node: make test"]
fn a_group_with_the_number_is_left_alone() {
    let node = Node::up("bookworm");
    node.sh("groupadd -g 42477 hugetlbfs");
    node.configure(BOTH);
    let accounts = node.sh("ls -l --full-time /etc/group* /etc/gshadow* /etc/passwd*");
    node.apply("--restart --renumber");
    assert_eq!(node.sh("ls -l --full-time /etc/group* /etc/gshadow* /etc/passwd*"), accounts);
    node.agrees("with the group there");
    both_start(&node);
}

#[test]
#[ignore = "needs a real node: make test"]
fn another_number_is_kept_unless_asked() {
    let node = with_carriers();
    let before = files_of(&node, OLD);
    node.apply("--restart");
    let (code, findings) = node.check();
    assert_eq!((code, findings), (1, vec!["group-not-the-contract group hugetlbfs".to_string()]));
    both_start(&node);
    node.configure(&format!("{BOTH}gid-mismatch = keep\\n"));
    assert_eq!(node.check(), (0, vec![]));
    assert_eq!(gid_of(&node, "hugetlbfs"), OLD);
    for path in before.lines() {
        assert!(files_of(&node, OLD).lines().any(|now| now == path), "{path} was given away");
    }
}

#[test]
#[ignore = "needs a real node: make test"]
fn a_renumbering_takes_everything_along_and_back() {
    let node = with_carriers();
    node.sh("systemd-run -q --unit carrier -p User=hu -p Group=hugetlbfs sleep 10000");
    let stock = node.snapshot_with(&MORE);
    let attributes = "cd /srv && stat -c '%n %a %h' setgid shared capable two names && getcap capable";
    let kept = node.sh(attributes);

    let plan = node.accord("plan --renumber");
    assert_eq!(plan.code, 2, "{plan}");
    for expected in [
        "- group hugetlbfs has gid 5123\n",
        "+ group hugetlbfs has gid 42477, and its 15 files too:\n",
        "  /dev/hugepages/carried\n",
        "  /run/carried.sock\n",
        "  /srv/link\n",
        "! 1 processes keep gid 5123 until they are restarted:\n  sleep (pid ",
    ] {
        assert!(plan.stdout.contains(expected), "{expected:?}: {plan}");
    }
    assert!(!plan.stdout.contains("containers"), "{plan}");

    node.apply("--renumber --restart");
    assert_eq!(gid_of(&node, "hugetlbfs"), CONTRACT);
    assert_eq!(node.sh("id -g hu").trim(), CONTRACT);
    assert_eq!(files_of(&node, OLD), IN_CONTAINER);
    assert_eq!(node.sh(attributes), kept);
    both_start(&node);

    // A process that was not started again makes files with the old number: the next apply takes them along.
    node.sh("nsenter -S 0 -G 5123 -t 1 -p true 2>/dev/null; setpriv --regid 5123 --clear-groups sh -c ': >/tmp/late'");
    node.apply("");
    assert_eq!(files_of(&node, OLD), IN_CONTAINER);
    node.sh("systemctl stop carrier");
    node.apply("");
    assert!(!node.sh("cat /var/lib/vhost-accord/journal.json").contains("pending"));
    node.sh("rm /tmp/late");

    let output = node.accord("revert --restart");
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(files_of(&node, CONTRACT), "/srv/others\n");
    assert_eq!(gid_of(&node, "hugetlbfs"), OLD);
    assert_eq!(node.sh(attributes), kept);
    let differing = super::steps::differences(&stock, &node.snapshot_with(&MORE));
    assert!(differing.is_empty(), "{differing:#?}");
}

#[test]
#[ignore = "needs a real node: make test-all"]
fn the_stock_group_of_rhel_is_renumbered_under_a_running_switch() {
    let node = Node::up("rhel-3.6");
    node.configure(BOTH);
    let old = gid_of(&node, "hugetlbfs");
    assert_ne!(old, CONTRACT);
    let stock = node.snapshot();
    let plan = node.accord("plan --renumber").stdout;
    assert!(plan.contains("  ovs-vswitchd (pid ") && plan.contains("  ovsdb-server (pid "), "{plan}");
    node.apply("--renumber --restart");
    assert_eq!(files_of(&node, &old), "");
    assert!(!node.sh("id -g openvswitch; id -G openvswitch").contains(&old));
    node.agrees("with the new number");
    both_start(&node);
    node.reboot();
    both_start(&node);
    assert_eq!(files_of(&node, &old), "");

    let output = node.accord("revert --restart");
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(files_of(&node, CONTRACT), "");
    assert_eq!(gid_of(&node, "hugetlbfs"), old);
    same_as(&node, &stock, "after revert");
}

#[test]
#[ignore = "needs a real node: make test"]
fn a_number_that_is_taken_stops_it_before_anything_is_changed() {
    let node = Node::up("bookworm");
    node.configure(BOTH);
    node.sh("groupadd -g 42477 other");
    let before = node.snapshot();
    for command in ["apply", "apply --renumber", "plan"] {
        refused(&node.accord(command), "group-gid-taken: gid 42477 belongs to group 'other'");
    }
    same_as(&node, &before, "with a taken number");
    node.sh("groupadd -g 5123 hugetlbfs");
    let before = node.snapshot();
    refused(&node.accord("apply --renumber --restart"), "group-gid-taken");
    same_as(&node, &before, "with a taken number and another group");
    node.apply("--restart");
    both_start(&node);
}

/// Sets nsswitch.conf's order of sources, and what the second source says.
fn sources(node: &Node, order: &str, group: &str) {
    node.sh(&format!(
        "sed -i 's/^group:.*/group: {order}/' /etc/nsswitch.conf; printf '{group}' >/var/lib/extrausers/group"
    ));
}

#[test]
#[ignore = "needs a real node: make test"]
fn sources_that_disagree_are_named_and_never_made_worse() {
    let node = Node::up("bookworm");
    node.configure(BOTH);
    node.sh("groupadd -g 5123 hugetlbfs");
    sources(&node, "files extrausers", "hugetlbfs:x:5200:\\n");
    let (code, findings) = node.check();
    assert_eq!(code, 2);
    assert!(findings.contains(&"group-sources-disagree group hugetlbfs".to_string()), "{findings:?}");
    let before = node.snapshot();
    let expected = "group-sources-disagree: extrausers gives group 'hugetlbfs' gid 5200, not 42477";
    refused(&node.accord("apply --renumber"), expected);
    sources(&node, "extrausers files", "hugetlbfs:x:5200:\\n");
    refused(
        &node.accord("apply"),
        "group-sources-disagree: extrausers gives group 'hugetlbfs' gid 5200, not 5123",
    );
    sources(&node, "files extrausers", "hugetlbfs:x:5200:\\n");
    same_as(&node, &before, "with sources that disagree");

    sources(&node, "files extrausers", "hugetlbfs:x:42477:\\n");
    node.apply("--renumber --restart");
    node.agrees("with both sources renumbered");
    both_start(&node);
    assert_eq!(node.accord("revert --restart").code, 0);

    node.sh("groupdel hugetlbfs");
    let before = node.sh("cat /etc/group /etc/gshadow");
    node.apply("--restart");
    assert_eq!(node.sh("cat /etc/group /etc/gshadow"), before, "the group is in the other source");
    node.agrees("with the group in the second source only");
    both_start(&node);
}

#[test]
#[ignore = "needs a real node: make test-all"]
fn a_renumbering_killed_anywhere_is_finished_or_taken_back() {
    let node = with_carriers();
    let stock = node.snapshot_with(&MORE);
    let syscalls = ["renameat", "fchownat", "fchmodat", "fsync", "unlinkat", "openat"];
    let counts = calls(&node, "apply --renumber", &syscalls);
    assert_eq!(node.accord("revert").code, 0);
    let mut points: Vec<(&str, u32)> = Vec::new();
    for (syscall, count) in &counts {
        let most = if syscall == "fchownat" { 7 } else { 2 };
        points.extend(spread(*count, most).into_iter().map(|at| (syscall.as_str(), at)));
    }
    points.push(("setxattr", 1));
    // groupmod's own: the databases one after the other.
    points.extend((1..=6).map(|at| ("rename", at)));
    points.extend([("execve", 2), ("execve", 3)]);
    let mut hit = 0;
    for (number, (syscall, at)) in points.iter().enumerate() {
        let at_point = format!("killed at {syscall} {at}");
        hit += u32::from(killed(&node, "apply --renumber", syscall, *at));
        if number % 2 == 0 {
            node.apply("");
            let now = gid_of(&node, "hugetlbfs");
            assert_eq!(node.sh("id -g hu").trim(), now, "{at_point}");
            let (losing, left) = if now == OLD { (CONTRACT, "/srv/others\n") } else { (OLD, IN_CONTAINER) };
            assert_eq!(files_of(&node, losing), left, "{at_point}");
            assert!(node.check().0 < 2, "{at_point}: {:?}", node.check());
        }
        let output = node.accord("revert");
        assert_eq!(output.code, 0, "{at_point}: {output}");
        assert_eq!(gid_of(&node, "hugetlbfs"), OLD, "{at_point}");
        let differing = super::steps::differences(&stock, &node.snapshot_with(&MORE));
        assert!(differing.is_empty(), "{at_point}: {differing:#?}");
        systemd_knows(&node, &at_point);
    }
    eprintln!("{hit} of {} points killed it", points.len());
    assert!(hit > 15, "{hit} of {points:?}");
}

#[test]
#[ignore = "needs a real node: make test-all"]
fn a_revert_killed_anywhere_is_finished_by_the_next() {
    let node = with_carriers();
    let stock = node.snapshot_with(&MORE);
    let mut points: Vec<(&str, u32)> = [1, 3, 6, 9, 12, 15].map(|at| ("fchownat", at)).to_vec();
    points.extend([1, 2, 4, 8, 12].map(|at| ("renameat", at)));
    points.extend([1, 3, 5].map(|at| ("unlinkat", at)));
    points.extend([1, 2, 3].map(|at| ("fchmodat", at)));
    points.push(("setxattr", 1));
    points.extend((1..=4).map(|at| ("rename", at)));
    let mut hit = 0;
    for (syscall, at) in points {
        node.apply("--renumber");
        hit += u32::from(killed(&node, "revert", syscall, at));
        let output = node.accord("revert");
        assert_eq!(output.code, 0, "killed at {syscall} {at}: {output}");
        let differing = super::steps::differences(&stock, &node.snapshot_with(&MORE));
        assert!(differing.is_empty(), "killed at {syscall} {at}: {differing:#?}");
        systemd_knows(&node, syscall);
    }
    assert!(hit > 10, "only {hit} points killed it");
}
