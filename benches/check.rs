// SPDX-License-Identifier: Apache-2.0
//! What `check` costs on a full node: 1,000 running VMs with four ports each, every socket listened at by a process of its
//! VM's own and connected to, against `ovs-vsctl --format=json list Interface` on the same database, in turn. Whether it grows
//! linearly, by the same with 250 and 500 VMs. And its floor, the smallest program that looks at the same (`floor`).
//! `cargo bench --bench check`, as root: all of it happens in a private tree (chroot in a mount namespace) with a real
//! ovsdb-server; only systemd is a stand-in that knows no unit.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

#[path = "check/floor.rs"]
mod floor;
mod tree;
use tree::{DISK, Daemon, NO_UNITS, TREE, VMS, bind, enter, lay_out, mount, ovsdb_server, run, run_in_trees};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vhost-accord");
const ROUNDS: usize = 11;
const PORTS: usize = 4;
const GUEST: &str = "VHOST_ACCORD_BENCH_GUEST";
const FLOOR: &str = "--floor";
const SWITCH: &str = "VHOST_ACCORD_BENCH_SWITCH";

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == FLOOR) {
        floor::look(PORTS);
        return ExitCode::SUCCESS;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
    match (number(GUEST), number(SWITCH), std::env::var_os(TREE)) {
        (Some(vm), _, _) => guest(vm),
        (_, Some(vms), _) => switch(vms),
        (_, _, Some(tree)) => stage(Path::new(&tree), number(VMS).unwrap()),
        _ => both(),
    }
}

fn both() -> ExitCode {
    let head = format!("{:<8} {:<44} {:>10} {:>10} {:>7}", "VMs", "", "median ms", "ms a VM", "times");
    run_in_trees(&[250, 500, 1000], &head, build)
}

fn socket(vm: usize, port: usize) -> String {
    format!("/var/lib/vhost_sockets/vhu{vm}-{port}")
}

fn wait_for_ever() -> ExitCode {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn guest(vm: usize) -> ExitCode {
    // As libvirt starts QEMU.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o002));
    let listeners: Vec<UnixListener> =
        (0..PORTS).map(|port| UnixListener::bind(socket(vm, port)).unwrap()).collect();
    fs::write(format!("/tmp/ready/{vm}"), "").unwrap();
    // The kernel tells of a connection's other end once it is accepted. QEMU waits for that before it makes any device.
    let _accepted: Vec<UnixStream> = listeners.iter().map(|listener| listener.accept().unwrap().0).collect();
    // A real QEMU has more descriptors than its sockets.
    let _more: Vec<fs::File> = (0..40).map(|_| fs::File::open("/dev/null").unwrap()).collect();
    wait_for_ever()
}

fn switch(vms: usize) -> ExitCode {
    let limit = nix::sys::resource::Resource::RLIMIT_NOFILE;
    nix::sys::resource::setrlimit(limit, 20_000, 20_000).unwrap();
    let ends = (0..vms).flat_map(|vm| (0..PORTS).map(move |port| socket(vm, port)));
    let _held: Vec<UnixStream> = ends.map(|path| UnixStream::connect(path).unwrap()).collect();
    fs::write("/tmp/ready/switch", "").unwrap();
    wait_for_ever()
}

fn build(tree: &Path, vms: usize) {
    lay_out(
        tree,
        &["etc/libvirt/qemu", "run/libvirt/qemu", "run/systemd/system", "tmp/ready"],
        "root:x:0:0::/:/bin/sh\nlibvirt-qemu:x:64055:104::/:/bin/false\n",
        "root:x:0:\nkvm:x:104:\nhugetlbfs:x:42477:\nlibvirt-qemu:x:64055:\n",
    );
    fs::write(tree.join("systemctl"), NO_UNITS).unwrap();
    fs::set_permissions(tree.join("systemctl"), PermissionsExt::from_mode(0o755)).unwrap();
    let sockets = tree.join("var/lib/vhost_sockets");
    chown(&sockets, Some(64055), Some(42477)).unwrap();
    fs::set_permissions(&sockets, PermissionsExt::from_mode(0o2775)).unwrap();
    fs::copy(PROGRAM, tree.join("vhost-accord")).unwrap();
    let own = std::env::current_exe().unwrap();
    for name in ["qemu-system-x86_64", "ovs-vswitchd"] {
        fs::copy(&own, tree.join(name)).unwrap();
    }
    for vm in 0..vms {
        fs::write(tree.join(format!("etc/libvirt/qemu/vm{vm}.xml")), domain(vm)).unwrap();
    }
}

/// A domain of usual size.
fn domain(vm: usize) -> String {
    let card = |port: usize| {
        let path = socket(vm, port);
        format!(
            "    <interface type='vhostuser'>\n      <mac address='52:54:00:00:00:{port:02x}'/>\n      <source type='unix' path='{path}' mode='server'/>\n      <model type='virtio'/>\n      <alias name='net{port}'/>\n      <address type='pci' domain='0x0000' bus='0x00' slot='0x03' function='0x0'/>\n    </interface>\n"
        )
    };
    let cards: String = (0..PORTS).map(card).collect();
    let disk = DISK.repeat(14);
    format!(
        "<domain type='kvm'>\n  <name>vm{vm}</name>\n  <memory unit='KiB'>4096</memory>\n  <memoryBacking>\n    <hugepages/>\n    <access mode='shared'/>\n  </memoryBacking>\n  <devices>\n{disk}{cards}  </devices>\n</domain>\n"
    )
}

fn stage(tree: &Path, vms: usize) -> ExitCode {
    for directory in ["usr", "sys", "dev"] {
        bind(tree, directory);
    }
    let systemctl = tree.join("systemctl");
    mount(&["--bind", systemctl.to_str().unwrap()], &tree.join("usr/bin/systemctl"));
    // Only what belongs to this node: the pid namespace is its own.
    mount(&["-t", "proc", "proc"], &tree.join("proc"));
    enter(tree);
    let mut guests = Vec::new();
    for vm in 0..vms {
        let process = Command::new("/qemu-system-x86_64").env(GUEST, vm.to_string()).spawn().unwrap();
        let status = format!(
            "<domstatus state='running' reason='booted' pid='{}'>\n{}</domstatus>\n",
            process.id(),
            domain(vm).replace("<domain type='kvm'>", &format!("<domain type='kvm' id='{}'>", vm + 1))
        );
        fs::write(format!("/run/libvirt/qemu/vm{vm}.xml"), status).unwrap();
        guests.push(Daemon(process));
    }
    ready(vms);
    let switch = Daemon(Command::new("/ovs-vswitchd").env(SWITCH, vms.to_string()).spawn().unwrap());
    fs::write("/run/openvswitch/ovs-vswitchd.pid", format!("{}\n", switch.0.id())).unwrap();
    let _database = database(vms);
    ready(vms + 1);
    std::thread::sleep(Duration::from_secs(5));
    measure(vms);
    ExitCode::SUCCESS
}

fn ready(wanted: usize) {
    while fs::read_dir("/tmp/ready").unwrap().count() < wanted {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn database(vms: usize) -> Daemon {
    let words = |text: &str| text.split(' ').map(str::to_string).collect::<Vec<_>>();
    let run = |program: &str, arguments: &[String]| {
        run(program, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    };
    let server = ovsdb_server();
    run(
        "/usr/bin/ovs-vsctl",
        &words(
            "--no-wait init -- add-br br-int -- set Open_vSwitch . other_config:dpdk-init=true dpdk_initialized=true",
        ),
    );
    for first in (0..vms).step_by(125) {
        let mut line = "--no-wait".to_string();
        for vm in first..(first + 125).min(vms) {
            for port in 0..PORTS {
                let (name, path) = (format!("vhu{vm}-{port}"), socket(vm, port));
                line.push_str(&format!(" -- add-port br-int {name} -- set Interface {name} type=dpdkvhostuserclient options:vhost-server-path={path} ofport={} status:status=connected status:socket={path} status:numa=0 statistics:rx_packets=123456 statistics:tx_packets=123456", vm * PORTS + port + 1));
            }
        }
        run("/usr/bin/ovs-vsctl", &words(&line));
    }
    server
}

fn measure(vms: usize) {
    let list = ["/usr/bin/ovs-vsctl", "--format=json", "list", "Interface"];
    let cases: [(&str, &[&str]); 4] = [
        ("ovs-vsctl --format=json list Interface", &list),
        ("vhost-accord check --json", &["/vhost-accord", "check", "--json"]),
        ("vhost-accord check", &["/vhost-accord", "check"]),
        ("the same looked at, and no more", &["/ovs-vswitchd", FLOOR]),
    ];
    let output = Command::new("/vhost-accord").args(["check", "--json"]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let rows = json["endpoints"].as_array().unwrap();
    let fine = rows.iter().filter(|row| row["verdict"] == "ok").count();
    assert_eq!(fine, vms * PORTS, "not all are seen to be connected: {:#}", rows[0]);
    let mut times = cases.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((_, command), times) in cases.iter().zip(&mut times) {
            let begun = Instant::now();
            Command::new(command[0]).args(&command[1..]).stdout(Stdio::null()).status().unwrap();
            times.push(begun.elapsed());
        }
    }
    let medians = times.map(|mut times| {
        times.sort_unstable();
        times[ROUNDS / 2].as_secs_f64() * 1e3
    });
    for ((name, _), median) in cases.iter().zip(medians) {
        let (each, times) = (median / vms as f64, median / medians[0]);
        println!("{vms:<8} {name:<44} {median:>10.1} {each:>10.3} {times:>7.2}");
    }
}
