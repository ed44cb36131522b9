// SPDX-License-Identifier: Apache-2.0
//! What the hook has given up by the time it reads what a guest's owner can shape, however much it is started with.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID and SYS_PTRACE (linux/capability.h): bits 0 to 4 and 19.
const KEPT: u64 = 0b1_1111 | 1 << 19;

/// The hook, waiting for its XML.
struct Waiting(Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn hook(operation: &str, wrapper: &[&str]) -> Waiting {
    let link = tempfile::tempdir().unwrap();
    let program = link.path().join("50-vhost-accord");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_vhost-accord"), &program).unwrap();
    let mut command = match wrapper.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(&program);
            command
        }
        None => {
            let mut command = Command::new(&program);
            command.arg0(&program);
            command
        }
    };
    command.args(["no-vm", operation, "begin", "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let child = Waiting(command.spawn().unwrap());
    child.waits();
    child
}

impl Waiting {
    fn status(&self, key: &str) -> String {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key}:")));
        line.unwrap_or_else(|| panic!("no {key} in {text}")).trim().to_string()
    }

    fn set(&self, key: &str) -> u64 {
        u64::from_str_radix(&self.status(key), 16).unwrap()
    }

    /// Until it sleeps, which it does for nothing but its input.
    fn waits(&self) {
        let end = Instant::now() + Duration::from_secs(20);
        while !(self.status("Name") == "50-vhost-accord" && self.status("State").starts_with('S')) {
            assert!(Instant::now() < end, "it does not wait for its input");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// It is given a domain without anything for the hook, and says yes.
    fn ends_well(mut self) {
        self.0.stdin.take().unwrap().write_all(b"<domain/>").unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

#[test]
#[ignore = "needs root: make test"]
fn the_hook_keeps_six_capabilities_and_gains_none() {
    for operation in ["prepare", "start", "migrate", "restore", "release"] {
        let hook = hook(operation, &[]);
        assert_eq!(hook.status("NoNewPrivs"), "1", "{operation}");
        for set in ["CapEff", "CapPrm"] {
            assert_eq!(hook.set(set), KEPT, "{operation}: {set}");
        }
        for set in ["CapInh", "CapAmb"] {
            assert_eq!(hook.set(set), 0, "{operation}: {set}");
        }
        hook.ends_well();
    }
}

/// Confined, or in a container: it neither fails nor asks for what it has not.
#[test]
#[ignore = "needs root: make test"]
fn what_a_hook_has_not_it_does_not_ask_for() {
    let all_but = ["setpriv", "--bounding-set", "-all,+chown,+sys_admin", "--inh-caps", "-all"];
    let hook = hook("prepare", &all_but);
    assert_eq!(hook.set("CapPrm"), 1, "chown, and no more");
    assert_eq!(hook.set("CapEff"), 1);
    hook.ends_well();
}
