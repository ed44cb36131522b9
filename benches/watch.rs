// SPDX-License-Identifier: Apache-2.0
//! What the service that watches costs beside 50 and 250 VMs with four `dpdkvhostuser` ports each: wake-ups when nothing
//! happens, memory, processor time of a socket's grant, of a port that changes or goes, and of the look at the whole node that
//! follows a change; and how long a socket waits from its bind to its grant, one by one and a hundred in one transaction.
//! `cargo bench --bench watch`, as root: all of it happens in a private tree (chroot in a mount namespace), with a real
//! ovsdb-server. There is no OVS: this program is ovs-vswitchd there, and VMs are processes that are connected to its sockets.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::json;

mod tree;
use tree::{Daemon, NO_UNITS, TREE, VMS, bind, enter, lay_out, mount, ovsdb_server, run, run_in_trees};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vhost-accord");
const RUN: &str = "/run/openvswitch";
const PORTS: usize = 4;
const NEW: usize = 100;
const QUIET: Duration = Duration::from_secs(30);
/// QEMU.
const UID: u32 = 64055;
const GUEST: &str = "VHOST_ACCORD_BENCH_GUEST";
const SWITCH: &str = "VHOST_ACCORD_BENCH_SWITCH";

fn main() -> ExitCode {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
    match (number(GUEST), number(SWITCH), std::env::var_os(TREE)) {
        (Some(vm), _, _) => guest(vm),
        (_, Some(vms), _) => switch(vms),
        (_, _, Some(tree)) => stage(Path::new(&tree), number(VMS).unwrap()),
        _ => both(),
    }
}

fn both() -> ExitCode {
    let head = format!("{:<6} {:<70} {:>12}", "VMs", "", "");
    run_in_trees(&[50, 250], &head, build)
}

fn socket(vm: usize, port: usize) -> String {
    format!("{RUN}/vhu{vm}-{port}")
}

fn guest(vm: usize) -> ExitCode {
    let _held: Vec<UnixStream> =
        (0..PORTS).map(|port| UnixStream::connect(socket(vm, port)).unwrap()).collect();
    fs::write(format!("/tmp/ready/{vm}"), "").unwrap();
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn build(tree: &Path, vms: usize) {
    lay_out(
        tree,
        &["etc/libvirt/qemu", "etc/vhost-accord", "run/libvirt/qemu", "run/systemd/system", "tmp/ready"],
        "root:x:0:0::/:/bin/sh\nlibvirt-qemu:x:64055:104::/:/bin/false\n",
        "root:x:0:\nkvm:x:104:\nhugetlbfs:x:42477:\nlibvirt-qemu:x:64055:\n",
    );
    fs::write(tree.join("systemctl"), NO_UNITS).unwrap();
    fs::set_permissions(tree.join("systemctl"), PermissionsExt::from_mode(0o755)).unwrap();
    fs::copy(PROGRAM, tree.join("vhost-accord")).unwrap();
    fs::copy(std::env::current_exe().unwrap(), tree.join("qemu-system-x86_64")).unwrap();
    fs::copy(std::env::current_exe().unwrap(), tree.join("ovs-vswitchd")).unwrap();
    let agreed = json!({
        "version": 1, "note": "", "gid": 42477, "socket-directory": "/var/lib/vhost_sockets", "directories": [],
        "qemu": {"uid": UID, "gid": 42477, "groups": [104, 42477, UID], "grant_gid": UID}, "dataplane": null,
    });
    fs::write(tree.join("etc/vhost-accord/agreed.json"), agreed.to_string()).unwrap();
    for vm in 0..vms {
        fs::write(tree.join(format!("etc/libvirt/qemu/vm{vm}.xml")), domain(vm)).unwrap();
    }
}

fn domain(vm: usize) -> String {
    let card = |port: usize| {
        let path = socket(vm, port);
        format!(
            "    <interface type='vhostuser'>\n      <source type='unix' path='{path}' mode='client'/>\n      <model type='virtio'/>\n    </interface>\n"
        )
    };
    let cards: String = (0..PORTS).map(card).collect();
    format!(
        "<domain type='kvm'>\n  <name>vm{vm}</name>\n  <memory unit='KiB'>4096</memory>\n  <memoryBacking>\n    <hugepages/>\n    <access mode='shared'/>\n  </memoryBacking>\n  <devices>\n{cards}  </devices>\n</domain>\n"
    )
}

fn stage(tree: &Path, vms: usize) -> ExitCode {
    for directory in ["usr", "sys", "dev"] {
        bind(tree, directory);
    }
    mount(&["--bind", tree.join("systemctl").to_str().unwrap()], &tree.join("usr/bin/systemctl"));
    mount(&["-t", "proc", "proc"], &tree.join("proc"));
    enter(tree);
    let error = Command::new("/ovs-vswitchd").env(SWITCH, vms.to_string()).exec();
    panic!("{error}");
}

fn switch(vms: usize) -> ExitCode {
    let limit = nix::sys::resource::Resource::RLIMIT_NOFILE;
    nix::sys::resource::setrlimit(limit, 20_000, 20_000).unwrap();
    let ports = (0..vms).flat_map(|vm| (0..PORTS).map(move |port| socket(vm, port)));
    let listeners: Vec<UnixListener> = ports.map(|path| UnixListener::bind(path).unwrap()).collect();
    fs::write(format!("{RUN}/ovs-vswitchd.pid"), format!("{}\n", std::process::id())).unwrap();
    let guests: Vec<Daemon> = (0..vms).map(start_guest).collect();
    let _held: Vec<UnixStream> =
        listeners.iter().flat_map(|listener| listener.accept().map(|accepted| accepted.0)).collect();
    while fs::read_dir("/tmp/ready").unwrap().count() < vms {
        std::thread::sleep(Duration::from_millis(20));
    }
    let _database = ovsdb_server();
    vsctl("init -- add-br br-int -- set Open_vSwitch . other_config:dpdk-init=true dpdk_initialized=true");
    for vm in 0..vms {
        let ports: Vec<String> = (0..PORTS).map(|port| format!("vhu{vm}-{port}")).collect();
        add(&ports);
    }
    measure(vms);
    drop(guests);
    ExitCode::SUCCESS
}

fn start_guest(vm: usize) -> Daemon {
    let process = Command::new("/qemu-system-x86_64").env(GUEST, vm.to_string()).spawn().unwrap();
    let running = format!("<domain type='kvm' id='{}'>", vm + 1);
    let status = format!(
        "<domstatus state='running' reason='booted' pid='{}'>\n{}</domstatus>\n",
        process.id(),
        domain(vm).replace("<domain type='kvm'>", &running)
    );
    fs::write(format!("/run/libvirt/qemu/vm{vm}.xml"), status).unwrap();
    Daemon(process)
}

fn vsctl(line: &str) {
    let mut arguments = vec!["--no-wait"];
    arguments.extend(line.split(' '));
    run("/usr/bin/ovs-vsctl", &arguments);
}

/// In one transaction.
fn add(ports: &[String]) {
    let one =
        |name: &String| format!("add-port br-int {name} -- set Interface {name} type=dpdkvhostuser ofport=1");
    vsctl(&ports.iter().map(one).collect::<Vec<_>>().join(" -- "));
}

/// What the kernel counts of the service.
struct Counted {
    on_cpu: Duration,
    woken: u64,
}

fn counted(pid: u32) -> Counted {
    let scheduled = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    let on_cpu = Duration::from_nanos(scheduled.split(' ').next().unwrap().parse().unwrap());
    Counted { on_cpu, woken: number(pid, "status", "voluntary_ctxt_switches:") }
}

fn number(pid: u32, file: &str, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn settle() {
    run("/vhost-accord", &["watch", "--settle"]);
}

/// Binds a port's socket and waits until it is QEMU's.
fn granted(inotify: &Inotify, name: &str) -> (Duration, UnixListener) {
    let path = format!("{RUN}/{name}");
    let begun = Instant::now();
    let listener = UnixListener::bind(&path).unwrap();
    while fs::metadata(&path).unwrap().gid() != UID {
        inotify.read_events().unwrap();
    }
    (begun.elapsed(), listener)
}

fn row(vms: usize, what: &str, value: impl std::fmt::Display) {
    println!("{vms:<6} {what:<70} {value:>12}");
}

fn measure(vms: usize) {
    let watcher = Command::new("/vhost-accord").arg("watch").stderr(Stdio::null()).spawn().unwrap();
    let watcher = Daemon(watcher);
    let pid = watcher.0.id();
    while UnixStream::connect("/run/vhost-accord-watch.sock").is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    settle();
    idle(vms, pid);
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC).unwrap();
    inotify.add_watch(RUN, AddWatchFlags::IN_ATTRIB).unwrap();
    events(vms, pid, &inotify);
    plugs(vms, &inotify);
    together(vms);
}

fn idle(vms: usize, pid: u32) {
    row(vms, "resident memory, KiB", number(pid, "smaps_rollup", "Rss:"));
    row(vms, "of it not the program's file, KiB", number(pid, "status", "RssAnon:"));
    row(vms, "proportional share of it (PSS), KiB", number(pid, "smaps_rollup", "Pss:"));
    let before = counted(pid);
    std::thread::sleep(QUIET);
    let woken = (counted(pid).woken - before.woken) as f64 / QUIET.as_secs_f64();
    row(vms, "wake-ups a second when nothing happens", format!("{woken:.2}"));
    let begun = Instant::now();
    let look = Command::new("/vhost-accord").args(["watch", "--once", "--json"]).output().unwrap();
    row(vms, "a look at the whole node, ms", begun.elapsed().as_millis());
    let found: serde_json::Value = serde_json::from_slice(&look.stdout).unwrap();
    let findings = found["findings"].as_array().unwrap();
    assert!(findings.len() < 10, "the node is to be sound: {} findings, {}", findings.len(), findings[0]);
    let height = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    row(vms, "its memory at most, KiB", height);
}

fn events(vms: usize, pid: u32, inotify: &Inotify) {
    let names: Vec<String> = (0..NEW).map(|number| format!("new{number}")).collect();
    add(&names);
    settle();
    let before = counted(pid);
    let granted: Vec<(Duration, UnixListener)> = names.iter().map(|name| granted(inotify, name)).collect();
    let each = (counted(pid).on_cpu - before.on_cpu) / NEW as u32;
    row(vms, "processor time of a grant, microseconds", each.as_micros());
    times(vms, "one by one", &granted);
    let each = of_each(pid, &names, |name| format!("set Interface {name} ofport=2"));
    row(vms, "processor time of a port that changes, microseconds", each.as_micros());
    let each = of_each(pid, &names, |name| format!("del-port {name}"));
    row(vms, "processor time of a port that goes, microseconds", each.as_micros());
}

/// One by one, each added just before.
fn plugs(vms: usize, inotify: &Inotify) {
    let plug = |number| {
        let name = format!("plug{number}");
        add(std::slice::from_ref(&name));
        granted(inotify, &name)
    };
    times(vms, "one by one, each added just before", &(0..NEW).map(plug).collect::<Vec<_>>());
}

fn together(vms: usize) {
    let names: Vec<String> = (0..NEW).map(|number| format!("more{number}")).collect();
    add(&names);
    let bound: Vec<(Instant, UnixListener)> = names
        .iter()
        .map(|name| (Instant::now(), UnixListener::bind(format!("{RUN}/{name}")).unwrap()))
        .collect();
    let wait = |(name, (begun, listener)): (&String, (Instant, UnixListener))| {
        while fs::metadata(format!("{RUN}/{name}")).unwrap().gid() != UID {
            std::thread::sleep(Duration::from_micros(100));
        }
        (begun.elapsed(), listener)
    };
    let events: Vec<(Duration, UnixListener)> = names.iter().zip(bound).map(wait).collect();
    times(vms, "a hundred in one transaction", &events);
}

/// A transaction for each.
fn of_each(pid: u32, names: &[String], change: impl Fn(&String) -> String) -> Duration {
    let before = counted(pid);
    names.iter().for_each(|name| vsctl(&change(name)));
    std::thread::sleep(Duration::from_millis(200));
    (counted(pid).on_cpu - before.on_cpu) / names.len() as u32
}

fn times(vms: usize, what: &str, events: &[(Duration, UnixListener)]) {
    let mut times: Vec<u128> = events.iter().map(|(time, _)| time.as_micros()).collect();
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    let what = format!("bind to grant, {what}: median, p99, worst, us");
    println!("{vms:<6} {what:<70} {:>8} {:>8} {:>8}", at(50), at(99), times[times.len() - 1]);
}
