// SPDX-License-Identifier: Apache-2.0
//! What the hook costs a VM's start: wall time, instructions and memory, against a program that does nothing, /bin/true,
//! and hooks in bash and Python that do the same checks with the usual tools. `cargo bench --bench hook`, as root: all of
//! it happens in a private tree (chroot in a mount namespace), with a real ovsdb-server that holds 2,000 ports.
//!
//! `cargo bench --bench hook -- --check` counts instructions only, and fails where a limit of [`LIMITS`] is exceeded.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

mod tree;
use tree::{DISK, Daemon, SCHEMA, TREE, bind, enter, lay_out, mount, ovsdb_server, run};

const HOOK: &str = env!("CARGO_BIN_EXE_vhost-accord");
const BENCHES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/hook");
const ROUNDS: usize = 60;
const WARM_UP: usize = 5;
const PORTS: usize = 2000;
/// Our program, told of an operation that it has nothing to say to.
const START_ALONE: &str = "no vhost-user, floor";
/// Instructions a case may cost (millions), with room for another compiler's taste.
const LIMITS: [(&str, f64); 3] = [("no vhost-user", 0.6), ("2 ports", 1.7), ("2 ports, OVSDB", 2.2)];
/// QEMU and the dataplane.
const UID: u32 = 64055;
const GID: u32 = 42477;

struct Case {
    name: &'static str,
    program: &'static str,
    input: &'static str,
    ovsdb: bool,
}

const CASES: [Case; 18] = [
    case("/bin/true", "/bin/true", "none.xml", false),
    case("no-op in Rust", "/noop", "none.xml", false),
    // The floors, each with what nobody can do without: the start of this program, the calls, OVSDB's own time.
    case(START_ALONE, "/hooks/qemu", "none.xml", false),
    case("no vhost-user", "/hooks/qemu", "none.xml", false),
    case("no vhost-user, bash", "/hook.sh", "none.xml", false),
    case("no vhost-user, python", "/hook.py", "none.xml", false),
    case("2 ports, floor", "/calls", "2.xml", false),
    case("2 ports", "/hooks/qemu", "2.xml", false),
    case("2 ports, bash", "/hook.sh", "2.xml", false),
    case("2 ports, python", "/hook.py", "2.xml", false),
    case("64 ports", "/hooks/qemu", "64.xml", false),
    case("2 ports, OVSDB, floor", "/floor", "2.xml", true),
    case("2 ports, OVSDB", "/hooks/qemu", "2.xml", true),
    case("2 ports, OVSDB, bash", "/hook.sh", "2.xml", true),
    case("2 ports, OVSDB, python", "/hook.py", "2.xml", true),
    case("64 ports, OVSDB", "/hooks/qemu", "64.xml", true),
    case("64 ports, OVSDB, bash", "/hook.sh", "64.xml", true),
    case("64 ports, OVSDB, python", "/hook.py", "64.xml", true),
];

const fn case(name: &'static str, program: &'static str, input: &'static str, ovsdb: bool) -> Case {
    Case { name, program, input, ovsdb }
}

/// Cases whose tool reads the whole database for each port are not run as often.
fn rounds(case: &Case) -> usize {
    match case.name {
        "64 ports, OVSDB, bash" | "64 ports, OVSDB, python" => 1,
        "2 ports, OVSDB, bash" | "2 ports, OVSDB, python" => 10,
        _ => ROUNDS,
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let check = arguments.iter().any(|argument| argument == "--check");
    if let Some(tree) = std::env::var_os(TREE) {
        return stage(Path::new(&tree), check);
    }
    if !nix::unistd::geteuid().is_root() || !Path::new(SCHEMA).exists() {
        println!("left out: needs root and ovsdb-server (openvswitch-switch)");
        return ExitCode::SUCCESS;
    }
    let tree = tempfile::tempdir().unwrap();
    fs::set_permissions(tree.path(), PermissionsExt::from_mode(0o755)).unwrap();
    build(tree.path());
    let own = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(own)
        .args(&arguments[1..])
        .env(TREE, tree.path())
        .status()
        .unwrap();
    ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap())
}

/// The private tree, as `apply` would have left a node.
fn build(tree: &Path) {
    lay_out(
        tree,
        &["etc/vhost-accord", "hooks", "hugepages"],
        &format!("root:x:0:0::/:/bin/sh\nlibvirt-qemu:x:{UID}:104::/:/bin/false\n"),
        &format!("root:x:0:\nkvm:x:104:\nhugetlbfs:x:{GID}:\nlibvirt-qemu:x:{UID}:libvirt-qemu\n"),
    );
    let sockets = tree.join("var/lib/vhost_sockets");
    chown(&sockets, Some(UID), Some(GID)).unwrap();
    fs::set_permissions(&sockets, PermissionsExt::from_mode(0o2775)).unwrap();
    let owner = json!({"path": "/var/lib/vhost_sockets", "subject": "socket-directory", "uid": UID, "gid": GID, "mode": 0o2775, "absent": "create"});
    let agreed = json!({
        "version": 1, "note": "", "gid": GID, "socket-directory": "/var/lib/vhost_sockets", "directories": [owner],
        "qemu": {"uid": UID, "gid": GID, "groups": [104, GID, UID], "grant_gid": null},
        "dataplane": {"uid": 0, "gid": GID, "privileged": true, "unit": "openvswitch-switch.service"},
    });
    fs::write(tree.join("etc/vhost-accord/agreed.json"), agreed.to_string()).unwrap();
    fs::write(tree.join("none.xml"), domain(0)).unwrap();
    fs::write(tree.join("2.xml"), domain(2)).unwrap();
    fs::write(tree.join("64.xml"), domain(64)).unwrap();
    fs::copy(HOOK, tree.join("hooks/qemu")).unwrap();
    for script in ["hook.sh", "hook.py"] {
        fs::copy(format!("{BENCHES}/{script}"), tree.join(script)).unwrap();
    }
    let flags =
        ["--edition=2024", "-Copt-level=3", "-Clto=fat", "-Ccodegen-units=1", "-Cstrip=symbols", "-o"];
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_string());
    for program in ["noop", "calls", "floor"] {
        let source = format!("{BENCHES}/{program}.rs");
        let built = Command::new(&rustc).args(flags).arg(tree.join(program)).arg(source).status();
        assert!(built.unwrap().success());
    }
    // A process of the right name, which is all that is asked of ovs-vswitchd here.
    fs::copy("/bin/sleep", tree.join("ovs-vswitchd")).unwrap();
}

/// A domain of usual size, as libvirt hands it over at `start`.
fn domain(ports: usize) -> String {
    let card = |number: usize| {
        format!(
            "    <interface type='vhostuser'>\n      <mac address='52:54:00:00:00:{number:02x}'/>\n      <source type='unix' path='/var/lib/vhost_sockets/vhu{number}' mode='server'/>\n      <target dev='vhu{number}'/>\n      <model type='virtio'/>\n      <alias name='net{number}'/>\n      <address type='pci' domain='0x0000' bus='0x00' slot='0x03' function='0x0'/>\n    </interface>\n"
        )
    };
    let cards: String = (0..ports).map(card).collect();
    let rest: String = DISK.repeat(14);
    format!(
        "<domain type='kvm' id='7'>\n  <name>vm</name>\n  <uuid>4dea22b3-1d52-d8f3-2516-782e98ab3fa0</uuid>\n  <memory unit='KiB'>4096</memory>\n  <memoryBacking>\n    <hugepages/>\n    <access mode='shared'/>\n  </memoryBacking>\n  <devices>\n{rest}{cards}  </devices>\n  <seclabel type='dynamic' model='dac' relabel='yes'>\n    <label>+{UID}:+{GID}</label>\n  </seclabel>\n</domain>\n"
    )
}

const PAGES: &str = "/proc/sys/vm/nr_hugepages";

fn stage(tree: &Path, check: bool) -> ExitCode {
    for directory in ["usr", "proc", "sys", "dev"] {
        bind(tree, directory);
    }
    mount(&["-t", "hugetlbfs", "hugetlbfs"], &tree.join("hugepages"));
    enter(tree);
    let vswitchd = Daemon(Command::new("/ovs-vswitchd").arg("9999").spawn().unwrap());
    fs::write("/run/openvswitch/ovs-vswitchd.pid", format!("{}\n", vswitchd.0.id())).unwrap();
    let _ovsdb = database();
    // For those who look for where the time goes: a shell in the tree.
    if std::env::var_os("VHOST_ACCORD_BENCH_SHELL").is_some() {
        let _ = Command::new("/bin/bash").status();
        return ExitCode::SUCCESS;
    }
    // The VM that is asked for has huge pages: without a free one it is refused, which costs more.
    let reserved = fs::read_to_string(PAGES).unwrap();
    if reserved.trim() == "0" {
        fs::write(PAGES, "8").unwrap();
    }
    let code = if check { count_all() } else { measure_all() };
    fs::write(PAGES, reserved).unwrap();
    code
}

/// A real ovsdb-server with 2,000 ports.
fn database() -> Daemon {
    let server = ovsdb_server();
    run(
        "/usr/bin/ovs-vsctl",
        &[
            "--no-wait",
            "init",
            "--",
            "add-br",
            "br-int",
            "--",
            "set",
            "Open_vSwitch",
            ".",
            "other_config:dpdk-init=true",
            "dpdk_initialized=true",
        ],
    );
    for first in (0..PORTS).step_by(500) {
        let mut words = vec!["--no-wait".to_string()];
        for number in first..first + 500 {
            let line = format!(
                "-- add-port br-int vhu{number} -- set Interface vhu{number} type=dpdkvhostuserclient options:vhost-server-path=/var/lib/vhost_sockets/vhu{number} ofport={}",
                number + 1
            );
            words.extend(line.split(' ').map(str::to_string));
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        run("/usr/bin/ovs-vsctl", &words);
    }
    server
}

/// The case as a command; without OVSDB its socket is away.
fn command(case: &Case, prefix: &[&str]) -> Command {
    let mut words = prefix.to_vec();
    let operation = if case.name == START_ALONE { "started" } else { "start" };
    words.extend([case.program, "vm", operation, "begin", "-"]);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    if prefix.is_empty() {
        command.arg0(case.program);
    }
    command.stdin(File::open(Path::new("/").join(case.input)).unwrap()).stdout(Stdio::null());
    command
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

fn set_ovsdb(present: bool) {
    let (here, away) = (PathBuf::from("/run/openvswitch/db.sock"), PathBuf::from("/run/db.away"));
    if present && away.exists() {
        fs::rename(away, here).unwrap();
    } else if !present && here.exists() {
        fs::rename(here, away).unwrap();
    }
}

fn once(case: &Case) -> Duration {
    let mut command = command(case, &[]);
    let begun = Instant::now();
    let status = command.status().unwrap();
    let took = begun.elapsed();
    assert!(status.success(), "{}: {status}", case.name);
    took
}

/// Millions of instructions in user space, by callgrind; `None` without valgrind. Children count with bash and Python.
fn instructions(case: &Case) -> Option<f64> {
    let prefix = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--trace-children=yes"];
    let output = command(case, &prefix).stderr(Stdio::piped()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let counts = text.lines().filter_map(|line| line.split("Collected :").nth(1)?.trim().parse::<f64>().ok());
    let sum: f64 = counts.sum();
    (sum > 0.0).then_some(sum / 1e6)
}

/// The peak of what a run keeps in memory, in KiB, by GNU time; -1 without it.
fn peak(case: &Case) -> i64 {
    let output = command(case, &["/usr/bin/time", "-f", "%M"]).stderr(Stdio::piped()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).unwrap_or_default();
    text.lines().last().and_then(|line| line.trim().parse().ok()).unwrap_or(-1)
}

fn measure_all() -> ExitCode {
    let mut times: Vec<Vec<Duration>> = CASES.iter().map(|_| Vec::new()).collect();
    for round in 0..ROUNDS + WARM_UP {
        // Each round starts elsewhere, so that none always follows the same.
        for offset in 0..CASES.len() {
            let number = (offset + round) % CASES.len();
            let case = &CASES[number];
            let warm_up = if rounds(case) < ROUNDS { 0 } else { WARM_UP };
            if round >= rounds(case) + warm_up {
                continue;
            }
            set_ovsdb(case.ovsdb);
            let took = once(case);
            if round >= warm_up {
                times[number].push(took);
            }
        }
    }
    println!(
        "\n{:<26}{:>10}{:>10}{:>10}{:>9}{:>9}{:>12}{:>10}",
        "", "p10 ms", "median ms", "p90 ms", "x no-op", "x ours", "M instr.", "peak KiB"
    );
    let part = |times: &[Duration], tenths: usize| times[times.len() * tenths / 10].as_secs_f64() * 1e3;
    // The tenth percentile is compared: what a run costs while others leave the machine alone.
    let quiet = |times: &[Duration]| part(times, 1);
    for times in &mut times {
        times.sort();
    }
    let of = |name: &str| {
        CASES
            .iter()
            .position(|case| case.name == name)
            .map(|number| quiet(&times[number]))
            .unwrap_or(f64::NAN)
    };
    let noop = of("no-op in Rust");
    for (case, times) in CASES.iter().zip(&times) {
        set_ovsdb(case.ovsdb);
        let count = instructions(case).map_or("-".to_string(), |count| format!("{count:.3}"));
        let ours = [", bash", ", python", ", floor"].iter().find_map(|other| case.name.strip_suffix(other));
        let ours = of(ours.unwrap_or(case.name));
        println!(
            "{:<26}{:>10.2}{:>10.2}{:>10.2}{:>9.2}{:>9.2}{:>12}{:>10}",
            case.name,
            quiet(times),
            part(times, 5),
            part(times, 9),
            quiet(times) / noop,
            quiet(times) / ours,
            count,
            peak(case)
        );
    }
    ExitCode::SUCCESS
}

fn count_all() -> ExitCode {
    let mut worst = ExitCode::SUCCESS;
    for (name, limit) in LIMITS {
        let Some(case) = CASES.iter().find(|case| case.name == name) else { continue };
        set_ovsdb(case.ovsdb);
        match instructions(case) {
            None => println!("{name}: left out: needs valgrind"),
            Some(count) => {
                println!("{name}: {count:.3} M instructions, at most {limit}");
                if count > limit {
                    worst = ExitCode::FAILURE;
                }
            }
        }
    }
    worst
}
