// SPDX-License-Identifier: Apache-2.0
//! `apply` and `revert` of a live node, killed with all that they started before their system calls: what systemd, libvirt
//! and OVS know counts as well as what is on disk. The same is done to images by `root_crash.rs`, which has the tracer.
//!
//! The test runs itself again inside the node, where processes can be traced. The short form takes a spread of the calls
//! that change something or that send something, `VHOST_ACCORD_TORTURE=1` all of them. What libvirt knows is no part of a
//! state: of equal ones the earliest is judged, when it knows least.

#[allow(dead_code, reason = "names alone are needed of what is known about them")]
#[path = "../root_crash/calls.rs"]
mod calls;
#[path = "crash_state.rs"]
mod state;
#[allow(dead_code, reason = "kills are what is tried here; faults are in images")]
#[path = "../root_crash/trace.rs"]
mod trace;

use std::collections::BTreeSet;
use std::process::Command;

use nix::libc;

use self::state::State;
use self::trace::{Act, Call};
use super::steps::{BOTH, PATIENT, same_as, spread};
use super::support::{Node, on_nodes};

on_nodes!(later bookworm = "bookworm": an_apply_killed_before_any_call a_revert_killed_before_any_call);

/// Which command the test's program kills when it is run inside the node.
const ROLE: &str = "VHOST_ACCORD_ROLE";
const TORTURE: &str = "VHOST_ACCORD_TORTURE";
const PLACE: &str = "/usr/local/bin/crash";
/// The paths that differ between the stock node and the one that agrees.
const PATHS: &str = "/run/crash/paths";
/// Kills of the short form: of all calls, and of the first messages after something was changed on disk, of which systemd and
/// libvirt do not know yet.
const SOME: [u32; 2] = [7, 7];
/// A VM that our hook refuses, and nobody else: QEMU would be the client where OVS is. It is never defined: `check` would
/// have something against it.
const MAKE_REFUSED: &str = "virsh dumpxml vms | sed -e '/<uuid>/d' -e 's/>vms</>refused</' -e 's/52:54:00:00:05:01/52:54:00:00:05:09/' \
     -e \"s/mode='server'/mode='client'/\" > /root/refused.xml";
const REFUSED: &str = "vhost-accord: both-ends-client: ";

fn an_apply_killed_before_any_call(kind: &'static str) {
    torture(kind, "apply");
}

fn a_revert_killed_before_any_call(kind: &'static str) {
    torture(kind, "revert");
}

fn torture(kind: &'static str, command: &'static str) {
    if std::env::var_os(ROLE).is_some() {
        return Inside::new(command).all();
    }
    let node = Node::up(kind);
    node.configure(&format!("{BOTH}{PATIENT}"));
    node.push(&std::env::current_exe().unwrap(), PLACE);
    node.sh(&format!("chmod 755 {PLACE}; {MAKE_REFUSED}"));
    let stock = node.snapshot();
    node.apply("");
    let applied = node.snapshot();
    assert_eq!(node.accord("revert").code, 0);
    same_as(&node, &stock, "before anything was killed");
    let all: BTreeSet<_> = stock.keys().chain(applied.keys()).collect();
    let paths: Vec<_> =
        all.into_iter().filter(|path| stock.get(*path) != applied.get(*path)).cloned().collect();
    node.sh(&format!("mkdir /run/crash; printf '%s\\n' {} > {PATHS}", paths.join(" ")));
    let name = std::thread::current().name().unwrap().to_string();
    let every = if std::env::var_os(TORTURE).is_some() { "VHOST_ACCORD_TORTURE=1" } else { "" };
    let inside = format!("{ROLE}={command} {every} {PLACE} --ignored --exact {name} --nocapture");
    let output =
        node.try_sh(&format!("{inside} > /run/crash/log 2>&1; code=$?; cat /run/crash/log; exit $code"));
    // The figures: cargo shows them with --nocapture.
    eprintln!("{}", output.stdout);
    assert_eq!(output.code, 0, "{output}");
    node.sh("rm -r /run/crash");
    same_as(&node, &stock, "after all");
    node.apply("--restart");
    node.agrees("after all");
}

/// What is done inside the node.
struct Inside {
    command: &'static str,
    paths: Vec<String>,
    stock: State,
    applied: State,
    /// States that were judged.
    known: BTreeSet<String>,
}

impl Inside {
    fn new(command: &'static str) -> Inside {
        let text = std::fs::read_to_string(PATHS).unwrap();
        let paths: Vec<String> = text.lines().map(str::to_string).collect();
        // An apply and a revert were here: what they forgot to tell systemd is not stock.
        assert!(sh("systemctl daemon-reload").0);
        let stock = State::now(&paths);
        expect("apply").unwrap();
        let applied = State::now(&paths);
        expect("revert").unwrap();
        assert_ne!(stock, applied);
        stock.same(&State::now(&paths), state::is_backup).unwrap();
        Inside { command, paths, stock, applied, known: BTreeSet::new() }
    }

    fn all(mut self) {
        let calls = self.calls();
        let count = calls.len();
        let (mut missed, mut found, mut judged) = (0, Vec::new(), 0);
        for at in taken(&calls) {
            let call = calls[at];
            let trace::Point { process, number, nth } = call.at;
            let reached = self.kill(&call);
            missed += u32::from(!reached);
            judged += 1;
            if judged % 50 == 0 {
                eprintln!("{}: {judged} of {count}, {} states", self.command, self.known.len());
            }
            if let Err(why) = self.judge(&call) {
                let line = format!("killed at {} {nth} of process {process}: {why}", calls::name(number));
                eprintln!("FOUND {line}");
                found.push(line);
                self.recover();
            }
        }
        eprintln!("| command | calls | kills | not reached | states | found |");
        let (command, states) = (self.command, self.known.len());
        eprintln!("| {command} | {count} | {judged} | {missed} | {states} | {} |", found.len());
        assert!(missed * 4 <= judged, "{missed} of {judged} were not reached");
        assert!(found.is_empty(), "{found:#?}");
    }

    /// The calls of an undisturbed run that someone else can see.
    fn calls(&self) -> Vec<Call> {
        let mut calls = Vec::new();
        self.prepare();
        let run = trace::run(&["vhost-accord", self.command], None, |call| {
            let seen = speaks(call) || calls::changes(call) && !is_own_pipe(call);
            calls.extend(seen.then_some(*call));
        });
        assert_eq!(run.code, Some(0), "{run:?}");
        expect("revert").unwrap();
        calls
    }

    /// The state from which the command is run. libvirt has no hook then, and knows it; idle, it would have ended.
    fn prepare(&self) {
        assert!(sh("virsh version && systemctl reload libvirtd").0, "libvirtd runs");
        if self.command == "revert" {
            expect("apply").unwrap();
        }
    }

    fn kill(&self, call: &Call) -> bool {
        self.prepare();
        trace::run(&["vhost-accord", self.command], Some((call.at, Act::Kill)), |_| ()).reached
    }

    /// Each is taken back; a state that is seen for the first time, is made to agree before, and made once more.
    fn judge(&mut self, call: &Call) -> Result<(), String> {
        let now = State::now(&self.paths);
        self.torn(&now)?;
        if self.known.insert(now.key()) {
            self.converges()?;
            self.is_taken_back("apply and revert")?;
            self.kill(call);
        }
        self.is_taken_back("revert alone")
    }

    fn is_taken_back(&self, by: &str) -> Result<(), String> {
        expect("revert")?;
        let now = State::now(&self.paths);
        self.stock.same(&now, state::is_backup).map_err(|why| format!("not stock after {by}: {why}"))
    }

    fn converges(&self) -> Result<(), String> {
        expect("apply")?;
        let now = State::now(&self.paths);
        self.applied.same(&now, |path| state::is_ours(path) || state::is_backup(path))?;
        let plan = expect("plan")?;
        if !plan.contains("Nothing to change.\n") {
            return Err(format!("the plan after it: {plan}"));
        }
        let (_, told) = sh("vhost-accord check");
        if !told.contains("\nagreed") || told.matches("    fix: ").count() != WAITING {
            return Err(format!("the check after it: {told}"));
        }
        // On a busy machine OVSDB may not answer the hook in its time: it is asked again then.
        let mut answers = (0..3).map(|_| sh("virsh create /root/refused.xml"));
        match answers.find(|(started, told)| *started || told.contains(REFUSED)) {
            Some((false, _)) => Ok(()),
            other => Err(format!("libvirt does not ask our hook: {other:?}")),
        }
    }

    /// Is each file of others the old one or the new one, whole? Sockets and directories are not written.
    fn torn(&self, now: &State) -> Result<(), String> {
        for path in self.paths.iter().filter(|path| !state::is_ours(path) && !state::is_backup(path)) {
            let (old, new, found) = (self.stock.file(path), self.applied.file(path), now.file(path));
            if found != old && found != new {
                return Err(format!("{path} is neither old nor new: {found:?}"));
            }
        }
        Ok(())
    }

    /// So that what one kill left is not held against the next.
    fn recover(&self) {
        let _ = (expect("apply"), expect("revert"));
        let now = State::now(&self.paths);
        self.stock.same(&now, state::is_backup).expect("the node cannot be used any more");
    }
}

/// Which of the calls it is killed at.
fn taken(calls: &[Call]) -> BTreeSet<usize> {
    if std::env::var_os(TORTURE).is_some() {
        return (0..calls.len()).collect();
    }
    let first = |at: &usize| speaks(&calls[*at]) && !speaks(&calls[*at - 1]);
    let firsts: Vec<usize> = (1..calls.len()).filter(first).collect();
    let some =
        |of: usize, most: u32| spread(of.try_into().unwrap(), most).into_iter().map(|at| at as usize - 1);
    let told = some(firsts.len(), SOME[1]).map(|at| firsts[at]);
    some(calls.len(), SOME[0]).chain(told).collect()
}

/// What `check` has against a node that was not restarted: libvirt is older than qemu.conf.
const WAITING: usize = 1;

/// Whether a message goes out: to systemd a reload is one, to the journal a line.
fn speaks(call: &Call) -> bool {
    [libc::SYS_sendmsg, libc::SYS_sendto, libc::SYS_sendmmsg].contains(&call.at.number)
}

/// A wake-up of another thread: nobody else sees it.
fn is_own_pipe(call: &Call) -> bool {
    let link = format!("/proc/{}/fd/{}", call.pid, call.arguments[0]);
    let into = std::fs::read_link(link).unwrap_or_default();
    let own = |text: &str| ["pipe:", "anon_inode:", "/dev/null"].iter().any(|start| text.starts_with(start));
    call.at.number == libc::SYS_write && own(&into.to_string_lossy())
}

/// Runs a script: whether it succeeded, and all it said.
fn sh(script: &str) -> (bool, String) {
    let output = Command::new("sh").args(["-c", &format!("exec 2>&1; {script}")]).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs the program, expecting success and no complaint.
fn expect(command: &str) -> Result<String, String> {
    let output = Command::new("vhost-accord").arg(command).output().unwrap();
    let (out, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr).into_owned());
    let fine = output.status.code() == Some(0) && error.is_empty();
    if fine { Ok(out.into_owned()) } else { Err(format!("{command}: {}: {out}{error}", output.status)) }
}
