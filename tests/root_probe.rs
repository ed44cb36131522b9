// SPDX-License-Identifier: Apache-2.0
//! Trials of `probe` in a prepared tree: each hop broken by itself is named with step, errno and component, and nothing is
//! left behind.
#![cfg(feature = "probe")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use vhost_accord::access::Numbers;
use vhost_accord::base::root::Root;
use vhost_accord::config::PortType;
use vhost_accord::probe::{Failed, Huge, NAME, Report, Side, Signals, Step, Trial, Who, run, sweep};

const SHARED: u32 = 61010;
const QEMU: u32 = 61020;
const DATAPLANE: u32 = 61030;

/// A node's directories as the accord wants them.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Tree {
        let tree = Tree(tempfile::tempdir().unwrap());
        for path in ["above/sockets", "run", "huge"] {
            fs::create_dir_all(tree.path(path)).unwrap();
        }
        for path in ["", "above"] {
            tree.set(path, 0, 0, 0o755);
        }
        tree.set("above/sockets", QEMU, SHARED, 0o2775);
        tree.set("run", DATAPLANE, SHARED, 0o755);
        tree.set("huge", 0, SHARED, 0o775);
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn set(&self, path: &str, uid: u32, gid: u32, mode: u32) {
        chown(self.path(path), Some(uid), Some(gid)).unwrap();
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn trial(&self, kind: PortType) -> Trial {
        let who = |uid, gid, umask| Who { uid, gid, groups: vec![], umask, capabilities: 0, mounts_of: None };
        let directory = if kind == PortType::Dpdkvhostuser { "run" } else { "above/sockets" };
        Trial {
            kind,
            dataplane: who(DATAPLANE, SHARED, 0o022),
            qemu: who(QEMU, QEMU, 0o002),
            directory: self.path(directory),
            name: format!("{NAME}{}", std::process::id()),
            grant: Some(QEMU),
            // A directory of ordinary files does for a mount: what counts is who may make them.
            huge: Some(Huge { mount: self.path("huge"), page_size: 2 << 20, free: true }),
            live: vec![],
        }
    }

    fn names(&self) -> Vec<PathBuf> {
        let (mut found, mut todo) = (vec![], vec![self.0.path().to_path_buf()]);
        while let Some(path) = todo.pop() {
            if path.is_dir() {
                todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            found.push(path);
        }
        found.sort();
        found
    }

    fn run(&self, trial: &Trial) -> Report {
        let before = self.names();
        let report = run(program(), trial, &Numbers, &Signals::hold().unwrap()).unwrap();
        assert_eq!(self.names(), before, "left behind: {report:?}");
        report
    }

    fn fails(&self, trial: &Trial, step: Step, side: Side, errno: &str, component: &str) -> Failed {
        let failed = self.run(trial).failed.unwrap_or_else(|| panic!("{step:?} did not fail"));
        let found = (failed.step, failed.side, failed.errno.as_deref());
        assert_eq!(found, (step, side, Some(errno)), "{failed:?}");
        let said = failed.component.clone().unwrap_or_default();
        assert!(said.starts_with(&self.path(component).display().to_string()), "{component}: {failed:?}");
        failed
    }
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_vhost-accord"))
}

const CLIENT: PortType = PortType::Dpdkvhostuserclient;
const SERVER: PortType = PortType::Dpdkvhostuser;

#[test]
#[ignore = "needs root: make test"]
fn what_agrees_works_to_the_last_frame() {
    let tree = Tree::new();
    for (kind, met) in [(CLIENT, Step::Bind), (SERVER, Step::Grant)] {
        let report = tree.run(&tree.trial(kind));
        assert_eq!(report.failed, None);
        let steps: Vec<Step> = report.done.iter().map(|done| done.step).collect();
        assert!(steps.contains(&met), "{steps:?}");
        let last = [Step::Connect, Step::Negotiate, Step::Memory, Step::Map, Step::FrameOut, Step::FrameBack];
        assert!(steps.ends_with(&last), "{steps:?}");
        assert!(!report.ordinary_pages);
    }
}

#[test]
#[ignore = "needs root: make test"]
fn each_hop_of_a_socket_of_qemu_is_named() {
    let tree = Tree::new();
    let trial = tree.trial(CLIENT);
    tree.set("above/sockets", 0, 0, 0o755);
    tree.fails(&trial, Step::Bind, Side::Qemu, "EACCES", "above/sockets is");
    tree.set("above", 0, 0, 0o700);
    tree.fails(&trial, Step::Bind, Side::Qemu, "EACCES", "above is");
    tree.set("above", 0, 0, 0o755);
    // Without setgid the socket has QEMU's own group.
    tree.set("above/sockets", QEMU, SHARED, 0o775);
    let failed =
        tree.fails(&trial, Step::Connect, Side::Dataplane, "EACCES", "above/sockets/vhost-accord-probe-");
    assert!(failed.component.unwrap().contains("61020:61020 0775"));
    fs::remove_dir(tree.path("above/sockets")).unwrap();
    tree.fails(&trial, Step::Bind, Side::Qemu, "ENOENT", "above/sockets is missing");
}

#[test]
#[ignore = "needs root: make test"]
fn each_hop_of_a_socket_of_the_dataplane_is_named() {
    let tree = Tree::new();
    let trial = tree.trial(SERVER);
    tree.fails(
        &Trial { grant: None, ..trial.clone() },
        Step::Connect,
        Side::Qemu,
        "EACCES",
        "run/vhost-accord-probe-",
    );
    tree.set("run", DATAPLANE, SHARED, 0o700);
    tree.fails(&trial, Step::Connect, Side::Qemu, "EACCES", "run is");
    tree.set("run", 0, 0, 0o755);
    tree.fails(&trial, Step::Bind, Side::Dataplane, "EACCES", "run is");
    // Root as a container leaves it, and root as it is.
    let root = Who { uid: 0, gid: 0, ..trial.dataplane.clone() };
    tree.set("run", 1, 1, 0o755);
    tree.fails(
        &Trial { dataplane: root.clone(), ..trial.clone() },
        Step::Bind,
        Side::Dataplane,
        "EACCES",
        "run is",
    );
    let root = Who { capabilities: 1 << 1, ..root };
    assert_eq!(tree.run(&Trial { dataplane: root, ..trial }).failed, None);
}

#[test]
#[ignore = "needs root: make test"]
fn memory_is_made_as_qemu_and_read_as_the_dataplane() {
    let tree = Tree::new();
    let trial = tree.trial(CLIENT);
    tree.set("huge", 0, SHARED, 0o750);
    tree.fails(&trial, Step::Memory, Side::Qemu, "EACCES", "huge is");
    tree.set("huge", 0, SHARED, 0o700);
    tree.fails(&trial, Step::Hugepages, Side::Dataplane, "EACCES", "huge is");
    tree.set("huge", 0, SHARED, 0o775);
    let none_free = Huge { free: false, ..trial.huge.clone().unwrap() };
    for huge in [Some(none_free), None] {
        let report = tree.run(&Trial { huge, ..trial.clone() });
        assert_eq!(report.failed, None);
        assert!(report.ordinary_pages);
        assert!(report.done.iter().any(|done| done.what.contains("memfd")), "{report:?}");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn a_socket_in_use_is_asked_about_and_left_alone() {
    let tree = Tree::new();
    let live = tree.path("run/vhu0");
    let listener = UnixListener::bind(&live).unwrap();
    listener.set_nonblocking(true).unwrap();
    let trial = Trial { live: vec![live], ..tree.trial(SERVER) };
    tree.fails(&trial, Step::LiveSocket, Side::Qemu, "EACCES", "run/vhu0 is");
    tree.set("run/vhu0", 0, QEMU, 0o775);
    assert_eq!(tree.run(&trial).failed, None);
    assert!(listener.accept().is_err(), "somebody connected to it");
    // A name that is taken is not taken away.
    let trial = Trial { name: "vhu0".to_string(), ..trial };
    let report = run(program(), &trial, &Numbers, &Signals::hold().unwrap()).unwrap();
    assert_eq!(report.failed.unwrap().errno.as_deref(), Some("EADDRINUSE"));
    assert!(tree.path("run/vhu0").exists(), "it was removed");
}

#[test]
#[ignore = "needs root: make test"]
fn a_child_that_dies_or_hangs_is_a_failure() {
    let tree = Tree::new();
    let script = tree.path("hangs");
    fs::write(&script, "#!/bin/sh\nexec sleep 600\n").unwrap();
    tree.set("hangs", 0, 0, 0o755);
    for (program, text) in [(Path::new("/bin/true"), "ended"), (&script, "no answer within")] {
        let report = run(program, &tree.trial(CLIENT), &Numbers, &Signals::hold().unwrap()).unwrap();
        let failed = report.failed.unwrap();
        assert_eq!(failed.step, Step::Become);
        assert!(failed.error.contains(text), "{failed:?}");
    }
}

#[test]
#[ignore = "needs root: make test"]
fn what_a_kill_left_is_swept() {
    let tree = Tree::new();
    let gone = u32::MAX;
    drop(UnixListener::bind(tree.path(&format!("run/{NAME}{gone}"))).unwrap());
    let listens = UnixListener::bind(tree.path(&format!("run/{NAME}{}", gone - 1))).unwrap();
    drop(UnixListener::bind(tree.path(&format!("run/{NAME}{}", std::process::id()))).unwrap());
    drop(UnixListener::bind(tree.path("run/vhu0")).unwrap());
    fs::create_dir(tree.path(&format!("huge/{NAME}{gone}"))).unwrap();
    let places = [tree.path("run"), tree.path("huge"), tree.path("none")];
    sweep(&Root::open(Path::new("/")).unwrap(), &places).unwrap();
    let mut left: Vec<_> =
        fs::read_dir(tree.path("run")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    let expected =
        [format!("{NAME}{}", std::process::id()), format!("{NAME}{}", gone - 1), "vhu0".to_string()];
    let mut expected = expected.map(std::ffi::OsString::from).to_vec();
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!(fs::read_dir(tree.path("huge")).unwrap().count(), 0);
    drop(listens);
}
