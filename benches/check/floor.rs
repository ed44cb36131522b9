// SPDX-License-Identifier: Apache-2.0
//! The smallest program that looks at what `check` looks at: it asks OVSDB, parses both files of each VM, reads the state of
//! each QEMU, opens each socket and asks who is behind it, and reads links of descriptors until each VM's are found. It does so
//! in as many threads, with the same crates, and makes nothing of it.
#![allow(clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::thread::{self, scope};

use nix::libc::O_PATH;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use serde_json::{Value, json};

/// Looks, at VMs that have `ports` sockets each.
pub fn look(ports: usize) {
    let pids = scope(|scope| {
        scope.spawn(|| {
            let rows = ask();
            let (one, other) = rows.split_at(rows.len() / 2);
            thread::scope(|scope| {
                scope.spawn(|| one.iter().for_each(knock));
                other.iter().for_each(knock);
            });
        });
        scope.spawn(|| domains("/etc/libvirt/qemu"));
        let pids = domains("/run/libvirt/qemu");
        for file in pids.iter().flat_map(|pid| ["status", "stat"].map(|name| format!("/proc/{pid}/{name}"))) {
            fs::read(file).unwrap();
        }
        pids
    });
    let switch = fs::read_to_string("/run/openvswitch/ovs-vswitchd.pid").unwrap();
    // The switch has a third as many descriptors as all VMs.
    let (one, other) = pids.split_at(pids.len() * 2 / 3);
    scope(|scope| {
        // A listener and a connection for each port.
        scope.spawn(|| one.iter().for_each(|pid| links(pid, 2 * ports)));
        other.iter().for_each(|pid| links(pid, 2 * ports));
        links(switch.trim(), ports * pids.len());
    });
}

/// The rows of all ports.
fn ask() -> Vec<Value> {
    let select = |kind| {
        let columns = ["_uuid", "name", "type", "options", "status", "ofport", "error", "admin_state"];
        json!({"op": "select", "table": "Interface", "where": [["type", "==", kind]], "columns": columns})
    };
    let types = ["dpdkvhostuser", "dpdkvhostuserclient"].map(select);
    let question = json!({"id": 0, "method": "transact", "params": ["Open_vSwitch", types[0], types[1]]});
    let mut stream = UnixStream::connect("/run/openvswitch/db.sock").unwrap();
    stream.write_all(question.to_string().as_bytes()).unwrap();
    let (mut answer, mut piece) = (Vec::new(), [0; 16 << 10]);
    let answer: Value = loop {
        let length = stream.read(&mut piece).unwrap();
        answer.extend_from_slice(&piece[..length]);
        if piece[..length].ends_with(b"}")
            && let Ok(answer) = serde_json::from_slice(&answer)
        {
            break answer;
        }
        assert!(length > 0, "no answer");
    };
    let rows = |result: &Value| result["rows"].as_array().unwrap().clone();
    answer["result"].as_array().unwrap().iter().flat_map(rows).collect()
}

fn knock(port: &Value) {
    let path = format!("/var/lib/vhost_sockets/{}", port["name"].as_str().unwrap());
    let file = OpenOptions::new().read(true).custom_flags(O_PATH).open(path).unwrap();
    file.metadata().unwrap();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let _no_acl = xattr::get_deref(&path, "system.posix_acl_access");
    let own = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_NONBLOCK, None).unwrap();
    assert!(connect(own.as_raw_fd(), &UnixAddr::new(path.as_str()).unwrap()).is_err());
}

/// The processes of those that run.
fn domains(directory: &str) -> Vec<String> {
    let read = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path()).unwrap();
        let document = roxmltree::Document::parse(&text).unwrap();
        document.root_element().attribute("pid").map(str::to_string)
    };
    let files = fs::read_dir(directory).unwrap().flatten();
    files.filter(|entry| entry.path().is_file()).filter_map(read).collect()
}

fn links(pid: &str, sockets: usize) {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    let sockets = targets.filter(|target| target.to_string_lossy().starts_with("socket:")).take(sockets);
    std::hint::black_box(sockets.count());
}
