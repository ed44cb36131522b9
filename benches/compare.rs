// SPDX-License-Identifier: Apache-2.0
//! What `compare` costs: 1,000 nodes of 50 VMs are 1,000,000 pairs of nodes, and 50,000,000 moves. Nodes of a fleet that is
//! what it should be, of one where each has other huge pages free and one in ten differs, and of one where no two are
//! equal. `cargo bench --bench compare`; the time includes reading the files, the memory is the program's largest.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vhost-accord");
/// A node of it, by number.
type Fleet = fn(usize) -> Value;

const VMS: usize = 50;
/// Of memory, in GiB: what clouds offer.
const FLAVOURS: [u64; 8] = [1, 2, 4, 8, 16, 24, 32, 64];

fn main() {
    println!(
        "{:<7} {:<34} {:>10} {:>7} {:>8} {:>9}",
        "nodes", "fleet", "pairs", "MB read", "seconds", "MiB used"
    );
    let fleets: [(&str, Fleet); 4] = [
        ("all equal", equal),
        ("free pages differ, 1 in 10 else", usual),
        ("no two equal", unequal),
        ("ports of the same names everywhere", by_hand),
    ];
    for nodes in [3, 100, 1000] {
        for (name, node) in fleets {
            measure(nodes, name, node);
        }
    }
}

fn measure(nodes: usize, name: &str, node: Fleet) {
    let directory = tempfile::tempdir().unwrap();
    let mut bytes = 0;
    for number in 0..nodes {
        let text = serde_json::to_vec_pretty(&node(number)).unwrap();
        bytes += text.len();
        fs::write(directory.path().join(format!("{number:04}.json")), text).unwrap();
    }
    let begun = Instant::now();
    run(directory.path());
    let (seconds, mebibytes) = (begun.elapsed().as_secs_f64(), largest() >> 10);
    let pairs = nodes * nodes;
    println!("{nodes:<7} {name:<34} {pairs:>10} {:>7} {seconds:>8.2} {mebibytes:>9}", bytes / 1_000_000);
}

/// Of all children so far, in KiB: fleets grow.
fn largest() -> i64 {
    getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss()
}

fn run(directory: &Path) {
    let script = format!("exec {PROGRAM} compare {}/*.json --json", directory.display());
    let status = Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).status().unwrap();
    assert!(matches!(status.code(), Some(0..=2)), "{status}");
}

fn equal(number: usize) -> Value {
    let account = |name: &str, id: u32| json!({"name": name, "id": id});
    let who = |user: Value, group: Value| json!({"user": user, "group": group, "groups": [group]});
    let vms: Vec<Value> = (0..VMS).map(|vm| self::vm(number, vm)).collect();
    let place = place(&vms);
    json!({"version": 1, "verdict": "agreed", "endpoints": [], "findings": [], "fingerprint": {
        "version": 1, "program": "0.1.0", "host": format!("compute-{number}"),
        "modes": ["dpdkvhostuserclient", "dpdkvhostuser"], "incoming": null,
        "socket_directory": "/var/lib/vhost_sockets", "server_directory": "/run/openvswitch",
        "group": account("hugetlbfs", 42477),
        "qemu": who(account("libvirt-qemu", 64055), account("hugetlbfs", 42477)),
        "dataplane": who(account("root", 0), account("root", 0)),
        "default_page_size": 1 << 21,
        "pages": [
            {"size": 1 << 21, "total": 262_144, "available": 40_000, "mounts": ["/dev/hugepages"]},
            {"size": 1 << 30, "total": 512, "available": 90, "mounts": ["/dev/hugepages1G"]},
        ],
        "versions": {"libvirt": "9.0.0", "qemu": "7.2.22", "ovs": "3.1.0", "dpdk": "DPDK 22.11.11"},
        "place": place, "vms": vms,
    }})
}

/// The switch's ports and their sockets: those of these VMs.
fn place(vms: &[Value]) -> Value {
    let node = |path: &str, kind: &str, mode: u32| json!({"path": path, "kind": kind, "uid": 64055, "gid": 42477, "mode": mode, "acl": null, "read_only": false});
    let endpoints = || vms.iter().flat_map(|vm| vm["domain"]["endpoints"].as_array().unwrap());
    let port = |endpoint: &Value| {
        let (kind, path) = match endpoint["mode"] == "server" {
            true => ("dpdkvhostuserclient", endpoint["path"].clone()),
            false => ("dpdkvhostuser", Value::Null),
        };
        json!({"uuid": format!("c827c60f-b0fb-43d5-a31a-{}", endpoint["target"]), "bridge": null, "name": endpoint["target"],
            "kind": kind, "server_path": path, "socket": endpoint["path"], "connected": true, "ofport": 1, "error": null,
            "admin_state": "up", "link_state": "up", "vm_uuid": null})
    };
    let entry = |endpoint: &Value| {
        let path = endpoint["path"].as_str().unwrap();
        (path.to_string(), json!({"node": node(path, "socket", 0o775), "liveness": "listening"}))
    };
    let directory = |path: &str| {
        let chain = [node("/", "directory", 0o755), node(path, "directory", 0o2775)];
        json!({"path": path, "fact": {"known": {"present": {"chain": chain, "id": [0, 0]}}}, "default_acl": null})
    };
    let ids = json!({"real": 0, "effective": 0, "saved": 0, "fs": 0});
    json!({
        "switch": {"known": {"ports": endpoints().map(port).collect::<Vec<_>>(), "config": {
            "other_config": {"dpdk-init": "true"}, "dpdk_initialized": true, "ovs_version": "3.1.0",
            "dpdk_version": "DPDK 22.11.11", "iface_types": []}}},
        "others": {"br-int": "internal"},
        "vswitchd": {"running": {"pid": 0, "name": "ovs-vswitchd", "uid": ids, "gid": ids, "groups": [], "umask": 2,
            "cap_eff": 0, "started": {"since_boot": 0, "at": 0}}},
        "in_use": {"unknown": "not asked for"},
        "directories": [directory("/run/openvswitch"), directory("/var/lib/vhost_sockets")],
        "entries": endpoints().map(entry).collect::<serde_json::Map<_, _>>(),
    })
}

/// Four ports; half of them with the one side as server, half with the other.
fn vm(node: usize, number: usize) -> Value {
    let (mode, directory) = match number % 2 {
        0 => ("server", "/var/lib/vhost_sockets"),
        _ => ("client", "/run/openvswitch"),
    };
    let endpoint = |port: usize| {
        json!({"device": "interface", "path": format!("{directory}/vhu{node:04}-{number}-{port}"), "mode": mode,
            "reconnect": null, "target": format!("vhu{node:04}-{number}-{port}"),
            "mac": format!("52:54:00:{:02x}:{number:02x}:{port:02x}", node % 256), "alias": format!("net{port}")})
    };
    let endpoints: Vec<Value> = (0..4).map(endpoint).collect();
    let size = if number.is_multiple_of(3) { 1_u64 << 30 } else { 1 << 21 };
    let owner = json!([{"id": 64055}, {"id": 42477}]);
    json!({"domain": {
        "name": format!("instance-{:08x}", node * VMS + number), "uuid": format!("96d532df-{node:04}-{number:04}-8e22-997e0b61a519"),
        "id": null, "running": true, "pid": null, "endpoints": &endpoints,
        "memory": {"size": FLAVOURS[number % FLAVOURS.len()] << 30, "hugepages": true,
            "pages": [{"size": size, "cells": null}], "source": null, "access": "shared", "cells": [],
            "host_nodes": null, "placement": null},
        "dac": {"kind": "dynamic", "relabel": true, "owner": owner}, "shares_by_command_line": false,
    }, "nova_ports": endpoints.iter().map(|endpoint| endpoint["target"].clone()).collect::<Vec<_>>()})
}

fn usual(number: usize) -> Value {
    let mut node = equal(number);
    let found = &mut node["fingerprint"];
    found["pages"][0]["available"] = json!(number * 37 % 50_000);
    found["pages"][1]["available"] = json!(number * 7 % 100);
    match number % 100 {
        3 => found["modes"] = json!(["dpdkvhostuserclient"]),
        7 => found["group"]["id"] = json!(42478),
        13 => found["socket_directory"] = json!("/var/lib/libvirt/vhost"),
        17..=23 => found["versions"]["qemu"] = json!("8.2.2"),
        _ => {}
    }
    node
}

fn unequal(number: usize) -> Value {
    let mut node = usual(number);
    node["fingerprint"]["group"]["id"] = json!(number);
    node
}

/// Ports have the numbers that a script gave them, on each node from the first on: most VMs meet a port in use.
fn by_hand(number: usize) -> Value {
    let mut node = usual(number);
    let text = node["fingerprint"].to_string().replace(&format!("/vhu{number:04}-"), "/vhu-");
    node["fingerprint"] =
        serde_json::from_str(&text.replace(&format!("\"vhu{number:04}-"), "\"vhu-")).unwrap();
    node["fingerprint"]["vms"].as_array_mut().unwrap().iter_mut().for_each(|vm| vm["nova_ports"] = json!([]));
    node
}
