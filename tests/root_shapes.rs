// SPDX-License-Identifier: Apache-2.0
//! Paths of other shapes than a clean one in the agreed directory, and mounts in its place: the hook, by the real program
//! in a mount namespace whose `/etc`, `/run` and `/var/lib` are the test's. Nothing outside of the agreed directory is
//! touched, and what QEMU or DPDK would not take is named.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use vhost_accord::base::paths;
use vhost_accord::items::{Absent, Owner, Subject};

const QEMU: u32 = 61020;
const SHARED: u32 = 61010;
const SOCKETS: &str = "/var/lib/vhost_sockets";
const OUTSIDE: &str = "/var/lib/outside";
/// A name that begins like the agreed one.
const BESIDE: &str = "/var/lib/vhost_sockets2";
/// Set for the run within the namespace.
const INSIDE: &str = "VHOST_ACCORD_SHAPES";

/// True within a mount namespace of its own; else runs the test there.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        ground();
        return true;
    }
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(INSIDE, "1")
        .status();
    assert!(status.unwrap().success(), "see the output of the inner test above");
    false
}

/// A node on which `apply` was, and something of each kind outside.
fn ground() {
    let accounts = ["/etc/passwd", "/etc/group"].map(|file| (file, fs::read(file).unwrap()));
    for place in ["/etc", "/run", "/var/lib"] {
        mount(Some("none"), place, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
    }
    for (file, content) in accounts {
        fs::write(file, content).unwrap();
    }
    for directory in ["/etc/vhost-accord", SOCKETS, OUTSIDE, BESIDE] {
        fs::create_dir(directory).unwrap();
    }
    chown(SOCKETS, Some(QEMU), Some(SHARED)).unwrap();
    fs::set_permissions(SOCKETS, Permissions::from_mode(0o2775)).unwrap();
    fs::write("/etc/vhost-accord/agreed.json", agreed()).unwrap();
    for directory in [OUTSIDE, BESIDE].map(Path::new) {
        stale(&directory.join("stale"));
        fs::write(directory.join("file"), "text").unwrap();
        mkfifo(&directory.join("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
        std::mem::forget(UnixListener::bind(directory.join("live")).unwrap());
    }
    keep_pid_file();
    symlink("../outside", format!("{SOCKETS}/link")).unwrap();
    symlink("../outside/stale", format!("{SOCKETS}/direct")).unwrap();
    fs::create_dir(format!("{SOCKETS}/sub")).unwrap();
}

/// As ovs-vswitchd does that is seen by its lock alone (a container has another view of the processes): otherwise each call
/// would wait for one that is just starting. Nobody asks more of it here.
fn keep_pid_file() {
    fs::create_dir("/run/openvswitch").unwrap();
    let file = fs::File::create("/run/openvswitch/ovs-vswitchd.pid").unwrap();
    let lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_SETLK(&lock)).unwrap();
    std::mem::forget(file);
}

fn agreed() -> String {
    let directory = Owner {
        path: SOCKETS.into(),
        subject: Subject::SocketDirectory,
        uid: Some(QEMU),
        gid: Some(SHARED),
        mode: Some(0o2775),
        absent: Absent::Create,
    };
    serde_json::json!({
        "version": 1, "note": "", "gid": SHARED, "socket-directory": SOCKETS, "directories": [directory],
        "qemu": {"uid": QEMU, "gid": QEMU, "groups": [QEMU, SHARED], "grant_gid": QEMU},
        "dataplane": {"uid": 0, "gid": SHARED, "privileged": true, "unit": "openvswitch-switch.service"},
        "shared-gid": SHARED,
    })
    .to_string()
}

fn stale(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
}

/// The hook's code and its line.
fn hook(operation: &str, path: &str, mode: &str) -> (i32, String) {
    let xml = format!(
        "<domain type='kvm'><name>vm</name><memory>4096</memory><memoryBacking><access mode='shared'/></memoryBacking>\
         <devices><interface type='vhostuser'><source type='unix' path='{path}' mode='{mode}'/></interface></devices></domain>"
    );
    let when = if operation == "release" { "end" } else { "begin" };
    let mut child = Command::new(env!("CARGO_BIN_EXE_vhost-accord"))
        .arg0("/etc/libvirt/hooks/qemu.d/50-vhost-accord")
        .args(["vm", operation, when, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(xml.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{operation} {path}");
    let line = String::from_utf8(output.stderr).unwrap();
    let code = output.status.code().unwrap_or(-1);
    assert!(
        (0..=1).contains(&code) && line.lines().count() == code as usize,
        "{operation} {path}: {code} {line}"
    );
    (code, line)
}

/// Everything in these directories, by name.
fn state(directories: &[&str]) -> BTreeMap<PathBuf, String> {
    let (mut found, mut todo) = (BTreeMap::new(), directories.iter().map(PathBuf::from).collect::<Vec<_>>());
    while let Some(path) = todo.pop() {
        // Every check adds a line to it.
        if path == Path::new(paths::COUNTERS) {
            continue;
        }
        let state = fs::symlink_metadata(&path).unwrap();
        if state.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let (owner, changed) = ((state.uid(), state.gid()), (state.ctime(), state.ctime_nsec()));
        found.insert(path, format!("{:o} {owner:?} {} {changed:?}", state.mode(), state.ino()));
    }
    found
}

#[test]
#[ignore = "needs root: make test"]
fn a_path_of_any_shape_leads_to_nothing_outside() {
    if !inside("a_path_of_any_shape_leads_to_nothing_outside") {
        return;
    }
    const NOT_CLEAN: &str = "socket-path-not-clean";
    const TOO_LONG: &str = "socket-path-too-long";
    let of_length = |length: usize| format!("{SOCKETS}/{}", "x".repeat(length - SOCKETS.len() - 1));
    let table: Vec<(String, Option<&str>)> = [
        ("/var/lib/vhost_sockets/../outside/stale", Some(NOT_CLEAN)),
        ("/var/lib/vhost_sockets/../../../var/lib/outside/stale", Some(NOT_CLEAN)),
        ("/var/lib/vhost_sockets/sub/../../outside/stale", Some(NOT_CLEAN)),
        ("/var/lib//vhost_sockets/.//..//./outside//stale", Some(NOT_CLEAN)),
        ("/var/lib/vhost_sockets/link/../stale", Some(NOT_CLEAN)),
        ("/var/lib/vhost_sockets/..", Some(NOT_CLEAN)),
        ("/var/lib/vhost_sockets/../", Some(NOT_CLEAN)),
        // It does not say that it is the switch's, and may work for whose it is: a warning, no refusal.
        ("/var/lib/vhost_sockets2/../vhost_sockets/direct", None),
        ("/var/lib/vhost_sockets/../../../etc/vhost-accord/agreed.json", Some(NOT_CLEAN)),
        ("outside/stale", None),
        ("/var/lib/vhost_sockets/stale/", Some(NOT_CLEAN)),
        ("/var/lib/vhost_sockets/stale/.", Some(NOT_CLEAN)),
        ("/var/lib/vhost_sockets/", Some(NOT_CLEAN)),
        ("/var/lib/vhost_sockets", None),
        ("/", Some(NOT_CLEAN)),
        ("/var/lib/vhost_sockets/link/stale", None),
        ("/var/lib/vhost_sockets/direct", None),
        ("/var/lib/vhost_sockets2/stale", None),
        ("/var/lib/outside/stale", None),
        ("/var/lib//outside/./stale", None),
        ("/proc/self/root/var/lib/outside/stale", None),
        ("/proc/1/root/var/lib/outside/stale", None),
        ("/proc/1/cwd/var/lib/outside/stale", None),
        ("/proc/self/cwd/outside/stale", None),
        ("/proc/self/fd/3", None),
        ("/proc/self/root/var/lib/vhost_sockets/link/stale", None),
    ]
    .map(|(path, named)| (path.to_string(), named))
    .into_iter()
    .chain([(of_length(107), None), (of_length(108), Some(TOO_LONG)), (of_length(109), Some(TOO_LONG))])
    .collect();
    std::env::set_current_dir("/var/lib").unwrap();
    fs::write(paths::COUNTERS, "").unwrap();
    let before = state(&[OUTSIDE, BESIDE, "/etc", "/run"]);
    for (path, named) in table {
        for mode in ["server", "client"] {
            for operation in ["prepare", "start", "release"] {
                let (code, line) = hook(operation, &path, mode);
                assert_eq!(
                    state(&[OUTSIDE, BESIDE, "/etc", "/run"]),
                    before,
                    "{operation} {mode} {path}: {line}"
                );
                let all = [NOT_CLEAN, TOO_LONG].into_iter().find(|id| line.contains(id));
                if operation != "release" && mode == "server" {
                    assert_eq!(all, named, "{operation} {path}: {code} {line}");
                }
            }
        }
    }
    // What can be told from a clean one by nobody is as good as that.
    for path in
        ["/var/lib/vhost_sockets/old", "/var/lib//vhost_sockets//old", "/var/./lib/vhost_sockets/./old"]
    {
        for operation in ["prepare", "start", "release"] {
            stale(Path::new("/var/lib/vhost_sockets/old"));
            assert_eq!(hook(operation, path, "server"), (0, String::new()), "{operation} {path}");
            assert!(!Path::new("/var/lib/vhost_sockets/old").exists(), "{operation} {path}: it is stale");
        }
    }
    assert_eq!(state(&[OUTSIDE, BESIDE, "/etc", "/run"]), before);
}

fn bind(what: &str, place: &str) {
    mount(Some(what), place, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

#[test]
#[ignore = "needs root: make test"]
fn a_mount_in_the_way_is_no_way_out() {
    if !inside("a_mount_in_the_way_is_no_way_out") {
        return;
    }
    fs::write(format!("{SOCKETS}/mounted"), "").unwrap();
    bind(&format!("{OUTSIDE}/stale"), &format!("{SOCKETS}/mounted"));
    bind(OUTSIDE, &format!("{SOCKETS}/sub"));
    let all = |name: &str| {
        for mode in ["server", "client"] {
            for operation in ["prepare", "start", "release"] {
                hook(operation, &format!("{SOCKETS}/{name}"), mode);
            }
        }
    };
    let before = state(&[OUTSIDE]);
    for name in ["mounted", "sub/stale", "sub/live", "sub"] {
        all(name);
        assert_eq!(state(&[OUTSIDE]), before, "{name}");
    }
    for name in ["mounted", "sub"] {
        umount2(&PathBuf::from(format!("{SOCKETS}/{name}")), MntFlags::empty()).unwrap();
    }
    // In place of the directory itself, read-only: nothing can be done there, and that is no error of the hook's.
    bind(OUTSIDE, SOCKETS);
    let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, SOCKETS, None::<&str>, read_only, None::<&str>).unwrap();
    for name in ["stale", "live", "file", "fifo", "new"] {
        all(name);
        assert_eq!(state(&[OUTSIDE]), before, "{name}, read-only");
    }
    umount2(SOCKETS, MntFlags::empty()).unwrap();
    // Only root can mount: where it is writable, it is the agreed directory. Even so nothing goes but what is stale.
    bind(OUTSIDE, SOCKETS);
    for name in ["live", "file", "fifo", "new"] {
        all(name);
    }
    let is_below = |(path, _): &(&PathBuf, &String)| path.as_path() != Path::new(OUTSIDE);
    let after = state(&[OUTSIDE]);
    assert!(after.iter().filter(is_below).eq(before.iter().filter(is_below)), "{after:?} {before:?}");
    assert_eq!(fs::metadata(OUTSIDE).unwrap().uid(), QEMU, "it is the agreed one");
    all("stale");
    assert!(!Path::new(OUTSIDE).join("stale").exists());
}
