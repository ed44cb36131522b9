// SPDX-License-Identifier: Apache-2.0
//! What tests fetch or build once: however many ask at once for what is not there, all get it, and it is created once.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");

/// Starts a command eight times at once, and waits for all of them.
fn eight(mut command: impl FnMut() -> Command) -> Vec<Output> {
    let children: Vec<Child> = (0..8)
        .map(|_| {
            command().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    children.into_iter().map(|child| child.wait_with_output().unwrap()).collect()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A directory before the others of `PATH`, with an `apt-get` that is this machine's, and counts.
fn counting_apt(place: &Path) -> String {
    let path = std::env::var("PATH").unwrap();
    let script = "#!/bin/sh\necho \"$*\" >>\"$COUNTED\"\nPATH=${PATH#*:} exec apt-get \"$@\"\n";
    fs::write(place.join("apt-get"), script).unwrap();
    fs::set_permissions(place.join("apt-get"), PermissionsExt::from_mode(0o755)).unwrap();
    format!("{}:{path}", place.display())
}

#[test]
#[ignore = "needs root: make test"]
fn eight_at_once_fetch_once() {
    let (cache, bin) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, counted) = (counting_apt(bin.path()), bin.path().join("counted"));
    let fetch = || {
        let mut command = Command::new(format!("{TESTS}/augeas/fetch"));
        command.env("VHOST_ACCORD_CACHE", cache.path()).env("PATH", &path).env("COUNTED", &counted);
        command
    };
    for output in eight(fetch) {
        assert!(output.status.success(), "{}", text(&output));
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(Path::new(printed.trim()).join("etc/libvirt/qemu.conf").exists(), "{printed}");
    }
    let calls = fs::read_to_string(&counted).unwrap();
    let downloads = calls.lines().filter(|call| call.contains(" download ")).count();
    // Without lists of packages, which a new machine has not, the first one fails.
    let without_lists = calls.lines().filter(|call| call.ends_with(" update")).count();
    assert_eq!(downloads, 1 + without_lists, "{calls}");
    assert!(without_lists < 2, "{calls}");
}

/// `once` of a directory `thing` by a script, which gets the directory as `$1`.
fn once(cache: &Path, script: &str) -> Command {
    let mut command = Command::new("sh");
    let all = format!(". {TESTS}/once.sh; make() {{ {script}; }}; once thing.1 make");
    command.args(["-euc", &all]).env("VHOST_ACCORD_CACHE", cache);
    command
}

#[test]
#[ignore = "needs root: make test"]
fn what_was_not_finished_is_begun_anew_and_nobody_sees_it() {
    let cache = tempfile::tempdir().unwrap();
    let place = cache.path().join("thing.1");
    // Each is in the way of the next if they do not take turns, and none is to find what another left.
    let script = "test -z \"$(ls -A \"$1\")\"; test ! -e ../thing.1; echo half >\"$1/file\"; ";
    let script = script.replace("../thing.1", place.to_str().unwrap());
    for end in ["sh -c 'kill -KILL $PPID'", "false", "exit 3"] {
        for output in eight(|| once(cache.path(), &format!("{script}{end}"))) {
            assert!(!output.status.success(), "{end}: {}", text(&output));
        }
        assert!(!place.exists(), "{end}");
    }
    // An earlier version of the tests filled it in its place.
    fs::create_dir(&place).unwrap();
    let script = "test -z \"$(ls -A \"$1\")\"; echo one >>\"$1/file\"; echo one >>\"$1/../count\"";
    for output in eight(|| once(cache.path(), script)) {
        assert!(output.status.success(), "{}", text(&output));
    }
    assert_eq!(fs::read_to_string(place.join("file")).unwrap(), "one\n");
    assert_eq!(fs::read_to_string(cache.path().join("count")).unwrap(), "one\n");

    // What changed since is noticed.
    let sound = || {
        let script = format!(". {TESTS}/once.sh; sound thing.1");
        let mut command = Command::new("sh");
        command.args(["-euc", &script]).env("VHOST_ACCORD_CACHE", cache.path());
        command.status().unwrap().success()
    };
    assert!(sound());
    fs::set_permissions(place.join("file"), PermissionsExt::from_mode(0o600)).unwrap();
    assert!(!sound());
    fs::remove_dir_all(&place).unwrap();
    assert!(!sound());
}
