// SPDX-License-Identifier: Apache-2.0
//! The program as libvirt calls it, and `inspect`, on any machine: what the hook needs of a node is not there, and it must
//! neither fail for that nor say anything.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vhost-accord");
const HOOK: &str = "/etc/libvirt/hooks/qemu.d/50-vhost-accord";

fn fed(command: &mut Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A hook that does not read is no error.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn hook(operation: &str, input: &str) -> (i32, String, String) {
    let mut command = Command::new(PROGRAM);
    let output = fed(command.arg0(HOOK).args(["vm", operation, "begin", "-"]), input);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn domain(devices: &str) -> String {
    format!(
        "<domain type='kvm'><name>vm</name><memory>4096</memory>
         <memoryBacking><access mode='shared'/></memoryBacking><devices>{devices}</devices></domain>"
    )
}

fn silent() -> (i32, String, String) {
    (0, String::new(), String::new())
}

#[test]
fn what_is_not_its_business_passes_without_a_word() {
    let bridge = domain("<interface type='bridge'><source bridge='br0'/></interface>");
    let managed = domain(
        "<filesystem type='mount'><driver type='virtiofs'/><source dir='/x'/><target dir='x'/></filesystem>",
    );
    for operation in ["prepare", "start", "migrate", "restore", "started", "reconnect", "unheard-of"] {
        for input in [&bridge, &managed] {
            assert_eq!(hook(operation, input), silent(), "{operation}");
        }
    }
}

#[test]
fn its_own_failure_is_nobodys_harm() {
    for operation in
        ["prepare", "start", "migrate", "restore", "started", "stopped", "release", "reconnect", "attach"]
    {
        for input in [
            "",
            "<domain",
            "vhost \u{1b}[2J",
            "<domain><name>vm</name>&#118;</domain>",
            "<!DOCTYPE x [<!ENTITY a 'b'>]><domain/>",
        ] {
            assert_eq!(hook(operation, input), silent(), "{operation} {input:?}");
        }
    }
}

#[test]
fn a_refusal_is_one_line_and_only_where_it_may() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gone/vhu1");
    for spelled in ["vhostuser", "&#118;hostuser"] {
        let input = domain(&format!(
            "<interface type='{spelled}'><source type='unix' path='{}' mode='server'/></interface>",
            path.display()
        ));
        for operation in ["prepare", "start", "migrate", "restore"] {
            let (code, stdout, stderr) = hook(operation, &input);
            assert_eq!((code, stdout.as_str(), stderr.lines().count()), (1, "", 1), "{operation}: {stderr}");
            let begins = format!(
                "vhost-accord: socket-directory-missing: {}: missing; ",
                path.parent().unwrap().display()
            );
            assert!(stderr.starts_with(&begins) && stderr.contains("; fix: install -d"), "{stderr}");
        }
        for operation in ["started", "stopped", "release", "reconnect", "attach", "unheard-of"] {
            assert_eq!(hook(operation, &input), silent(), "{operation}");
        }
    }
}

#[test]
fn input_that_never_comes_is_not_waited_for() {
    let begun = Instant::now();
    let mut command = Command::new(PROGRAM);
    let mut child =
        command.arg0(HOOK).args(["vm", "prepare", "begin", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let input = child.stdin.take();
    assert!(child.wait().unwrap().success());
    drop(input);
    let took = begun.elapsed();
    assert!((Duration::from_millis(1900)..Duration::from_secs(8)).contains(&took), "{took:?}");
}

/// So much that libvirt would hand over, in the shapes that cost a parser most: the VM starts, in time, and the memory is
/// bounded by what `ulimit -v` gives, KiB.
#[test]
fn fifty_megabytes_are_no_harm() {
    const SIZE: usize = 50 << 20;
    let filled = |unit: &dyn Fn(usize) -> String, before: &str, after: &str| {
        let mut text = String::from(before);
        (0..)
            .take_while(|number| {
                text.push_str(&unit(*number));
                text.len() < SIZE
            })
            .for_each(drop);
        domain(&format!("<interface type='vhostuser'/>{text}{after}"))
    };
    let shapes = [
        ("text", filled(&|_| "x".repeat(1 << 20), "<a>", "</a>")),
        ("comments", filled(&|_| "<!-- vhostuser -->".repeat(1 << 10), "", "")),
        ("elements", filled(&|_| "<a/>".repeat(1 << 10), "", "")),
        ("attributes", filled(&|number| format!(" a{number:x}=''"), "<a", "/>")),
        ("nesting", filled(&|_| "<a>".repeat(1 << 10), "", "")),
        ("references", filled(&|_| "&#118;".repeat(1 << 10), "<a>", "</a>")),
    ];
    for (name, input) in shapes {
        for operation in ["prepare", "release"] {
            let mut command = Command::new("sh");
            let limited = "ulimit -v 2000000; exec \"$0\" hook vm \"$1\" begin -";
            let mut child =
                command.args(["-c", limited, PROGRAM, operation]).stdin(Stdio::piped()).spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            let status = std::thread::scope(|scope| {
                let input = &input;
                scope.spawn(move || stdin.write_all(input.as_bytes()).is_ok());
                let end = Instant::now() + Duration::from_secs(60);
                loop {
                    match child.try_wait().unwrap() {
                        Some(status) => break status,
                        None if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
                        None => {
                            child.kill().unwrap();
                            panic!("{name}: {operation} does not end");
                        }
                    }
                }
            });
            assert!(status.success(), "{name}: {operation}: {status}");
        }
    }
}

#[test]
fn inspect_shows_what_the_hook_sees() {
    let input = domain(
        "<interface type='vhostuser'><source type='unix' path='/run/vhu1' mode='client'><reconnect enabled='yes' timeout='3'/></source></interface>",
    );
    let output = fed(Command::new(PROGRAM).args(["inspect", "-", "--json"]), &input);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["domain"]["endpoints"][0]["path"], "/run/vhu1");
    assert_eq!((json["version"].as_u64(), json["memory_is_shared"].as_bool()), (Some(1), Some(true)));
    let output = fed(Command::new(PROGRAM).args(["inspect", "-"]), &input);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("interface  /run/vhu1  client  3 s"), "{text}");
    assert_eq!(fed(Command::new(PROGRAM).args(["inspect", "-"]), "<network/>").status.code(), Some(1));
}

/// As an allocation that fails does it. Whatever could be foreseen is told in another way.
#[test]
fn an_abort_is_no_refusal() {
    let mut command = Command::new(PROGRAM);
    let mut child =
        command.arg0(HOOK).args(["vm", "prepare", "begin", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGABRT).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}");
}
