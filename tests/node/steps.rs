// SPDX-License-Identifier: Apache-2.0
//! Steps that several families of tests take.

use std::collections::{BTreeMap, BTreeSet};

use super::support::{Node, Output};

/// Both port types, so that every part of the accord is there.
pub const BOTH: &str = "modes = dpdkvhostuserclient dpdkvhostuser\\n";

/// Where it matters what is found: a busy machine's OVSDB may take its time, and without its answer less is named.
pub const PATIENT: &str = "hook-deadline = 20\\n";

/// What shadow's tools leave when they are killed, and the next one of them clears: new files and stale locks.
fn is_shadows_own(path: &str) -> bool {
    let file =
        path.strip_prefix("/etc/").and_then(|name| name.strip_suffix('+').or(name.strip_suffix(".lock")));
    file.is_some_and(|name| ["group", "gshadow", "passwd", "shadow"].contains(&name))
}

/// The paths that two snapshots tell different things of.
pub fn differences(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let paths: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differing = paths.into_iter().filter(|path| before.get(*path) != after.get(*path));
    differing
        .filter(|path| !is_shadows_own(path))
        .map(|path| format!("{:?} -> {:?}", before.get(path), after.get(path)))
        .collect()
}

/// Expects the node to be as it was when `before` was taken.
pub fn same_as(node: &Node, before: &BTreeMap<String, String>, when: &str) {
    let differing = differences(before, &node.snapshot());
    assert!(differing.is_empty(), "{when}, on {}: {differing:#?}", node.kind);
}

/// Expects a command to be refused: exit code 1, nothing on standard output, and one line on standard error with `text`.
pub fn refused(output: &Output, text: &str) {
    assert_eq!(output.code, 1, "{output}");
    assert_eq!(output.stderr.lines().count(), 1, "{output}");
    assert!(output.stderr.starts_with("vhost-accord: ") && output.stderr.contains(text), "{text}: {output}");
    assert_eq!(output.stdout, "", "{output}");
}

/// Expects systemd to have read what is on disk.
pub fn systemd_knows(node: &Node, when: &str) {
    let units = "ovs-vswitchd.service ovsdb-server.service dev-hugepages.mount";
    let overdue = node.sh(&format!("systemctl show -P NeedDaemonReload {units} | grep -c yes || :"));
    assert_eq!(overdue.trim(), "0", "{when}: a daemon-reload is missing");
}

/// Everything on the node with this group.
pub fn files_of(node: &Node, gid: &str) -> String {
    node.sh(&format!("find / \\( -path /proc -o -path /sys \\) -prune -o -gid {gid} -print 2>/dev/null || :"))
}

/// A group's number.
pub fn gid_of(node: &Node, group: &str) -> String {
    node.sh(&format!("getent group {group} | cut -d: -f3")).trim().to_string()
}

/// Runs the program until it calls `syscall` for the `count`th time, and kills it there. False if it ended before.
/// Without strace's `--seccomp-bpf`: with it nothing is injected.
pub fn killed(node: &Node, arguments: &str, syscall: &str, count: u32) -> bool {
    let output = node.try_sh(&format!(
        "strace -f -qq -o /dev/null -e trace={syscall} -e inject={syscall}:signal=KILL:when={count} \
         vhost-accord {arguments}"
    ));
    output.code != 0 && !output.stdout.contains("changes made")
}

/// How often the program itself makes each of these system calls on its way through.
pub fn calls(node: &Node, arguments: &str, syscalls: &[&str]) -> Vec<(String, u32)> {
    node.sh(&format!(
        "rm -rf /tmp/calls; mkdir /tmp/calls; strace -ff --seccomp-bpf -qq -o /tmp/calls/t -e trace={} vhost-accord {arguments} >/dev/null",
        syscalls.join(",")
    ));
    let count = |syscall: &&str| {
        let text = node.sh(&format!("grep -c '^{syscall}(' $(ls /tmp/calls/* | sort -V | head -1) || :"));
        (syscall.to_string(), text.trim().parse().unwrap())
    };
    let counts = syscalls.iter().map(count).collect();
    node.sh("rm -r /tmp/calls");
    counts
}

/// Up to `most` points from 1 to `count`, evenly, the first and the last among them.
pub fn spread(count: u32, most: u32) -> Vec<u32> {
    if count <= most {
        return (1..=count).collect();
    }
    (0..most).map(|at| 1 + at * (count - 1) / (most - 1)).collect()
}

/// Puts a database in OVSDB's place that takes connections and never answers.
pub const DEAF: &str = "mv /run/openvswitch/db.sock /run/openvswitch/db.sock.good; systemd-run -q --unit=deaf python3 -c 'import socket,time; s=socket.socket(socket.AF_UNIX); s.bind(\"/run/openvswitch/db.sock\"); s.listen(50); time.sleep(999)'; until test -S /run/openvswitch/db.sock; do sleep 0.1; done";
/// The good one again.
pub const HEARING: &str = "systemctl stop deaf; mv /run/openvswitch/db.sock.good /run/openvswitch/db.sock";

/// Puts a library in the node that makes a file system slow: see slow.c.
pub fn push_slow_library(node: &Node) {
    let library = std::env::temp_dir().join(format!("slow-{}.so", std::process::id()));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/slow.c");
    let built =
        std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    assert!(built.unwrap().success());
    node.push(&library, "/root/slow.so");
    std::fs::remove_file(&library).unwrap();
}

/// A hook of someone else's at both places, which writes down what it was called with.
pub fn foreign_hooks(node: &Node) {
    node.sh("mkdir -p /etc/libvirt/hooks/qemu.d; printf '#!/bin/sh\\necho \"$1 $2 $3\" >> /run/calls\\n' > /etc/libvirt/hooks/qemu; chmod 755 /etc/libvirt/hooks/qemu; cp -p /etc/libvirt/hooks/qemu /etc/libvirt/hooks/qemu.d/60-other; systemctl reload libvirtd || systemctl restart libvirtd");
}

/// The calls since the last time; every hook is called with each. On a busy machine libvirt may not be done with so many
/// when virsh is.
pub fn hook_calls(node: &Node, wanted: usize) -> Vec<String> {
    let lines = 2 * wanted;
    let text = node.sh(&format!(
        "for i in $(seq 300); do test $(wc -l < /run/calls) -ge {lines} && break; sleep 0.1; done; sleep 0.3; \
         cat /run/calls; : > /run/calls"
    ));
    let lines: Vec<String> = text.lines().map(str::to_string).collect();
    assert_eq!(lines.len() % 2, 0, "one before and one behind ours: {lines:?}");
    lines
        .chunks(2)
        .map(|pair| {
            assert_eq!(pair[0], pair[1]);
            pair[0].clone()
        })
        .collect()
}
