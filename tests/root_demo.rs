// SPDX-License-Identifier: Apache-2.0
//! The demo tells its story to the end, quickly, and leaves the machine as it was.
#![cfg(feature = "probe")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::process::Command;

/// What it could touch by mistake.
fn outside() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let there = ["/tmp/node", "/var/lib/vhost_sockets", "/run/openvswitch/vhuc0", "/etc/vhost-accord"];
    let there = there.iter().map(|path| format!("{path}: {}", fs::exists(path).unwrap()));
    let accounts = fs::read_to_string("/etc/group").unwrap();
    there
        .chain([
            format!("{mounts} mounts"),
            accounts,
            fs::read_to_string("/proc/sys/kernel/hostname").unwrap(),
        ])
        .collect()
}

#[test]
#[ignore = "needs root: make test"]
fn both_vms_fail_and_then_talk_and_nothing_is_left() {
    let before = outside();
    let output = Command::new(env!("CARGO_BIN_EXE_vhost-accord")).arg("demo").output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{text}");
    for expected in [
        "Failed to bind socket to /var/lib/vhost_sockets/vhus0: No such file or directory",
        "Failed to connect to '/run/openvswitch/vhuc0': Permission denied",
        "changes; run 'vhost-accord apply --root /tmp/node' to make them.",
        "15 changes made.",
        "by type, mode, owner and content: no difference",
        "4 frames passed and compared",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert_eq!(outside(), before);
}
