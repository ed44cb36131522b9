// SPDX-License-Identifier: Apache-2.0
//! Runs a program and stops it, and all that it starts, before each of their system calls: ptrace(2).
//!
//! A point is the n-th call of its kind that the m-th process makes, not the n-th of all: parent and child run at the same
//! time, and how often one reads what the other writes is never the same. All else is, in every run.

use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc::{self, c_long};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Before a call; processes, and calls of a kind, are counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    pub process: usize,
    pub number: c_long,
    pub nth: usize,
}

/// A call that is about to be made.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub at: Point,
    pub arguments: [u64; 3],
    /// Whose it is: stopped, while it is told of.
    #[allow(dead_code, reason = "on a live node it is asked what the call writes to")]
    pub pid: Pid,
}

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// All processes are killed before the call takes place.
    Kill,
    /// Only the one that makes the call.
    KillOne,
    /// The call fails. Only close(2) takes place: no kernel keeps a descriptor open because of an error.
    Fail(Errno),
}

#[derive(Debug)]
pub struct Run {
    pub reached: bool,
    /// `None`: by a signal.
    pub code: Option<i32>,
    pub out: String,
    pub error: String,
}

#[derive(Debug, Default)]
struct Process {
    ended: bool,
    number: usize,
    calls: BTreeMap<c_long, usize>,
    in_call: bool,
    fails: Option<Errno>,
}

#[derive(Debug)]
struct Tracer<'a> {
    main: Pid,
    at: Option<(Point, Act)>,
    begun: bool,
    killed: bool,
    /// Nothing more is to happen: the rest runs at its own speed.
    done: bool,
    processes: BTreeMap<Pid, Process>,
    orphans: Vec<Pid>,
    run: Run,
    out: &'a mut std::fs::File,
    error: &'a mut std::fs::File,
}

const ALL: WaitPidFlag = WaitPidFlag::__WALL.union(WaitPidFlag::__WNOTHREAD);

/// Runs `words` to its end, with one thing happening on the way. `seen` is told each call of each process before it.
#[allow(clippy::zombie_processes, reason = "it is waited for as all others are")]
pub fn run(words: &[&str], at: Option<(Point, Act)>, mut seen: impl FnMut(&Call)) -> Run {
    // Whoever is left without a parent comes to us: a lock of a zombie is the lock of somebody, and init takes its time.
    set_child_subreaper(true).unwrap();
    let (mut out, mut error) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    // Stopped, so that nothing is missed; the shell becomes the program.
    let child = Command::new("sh")
        .args(["-c", "kill -STOP $$; exec \"$@\"", "sh"])
        .args(words)
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(error.try_clone().unwrap())
        .spawn()
        .unwrap();
    let main = Pid::from_raw(child.id().try_into().unwrap());
    let stopped = waitpid(main, Some(WaitPidFlag::WUNTRACED | WaitPidFlag::__WNOTHREAD)).unwrap();
    assert_eq!(stopped, WaitStatus::Stopped(main, Signal::SIGSTOP));
    let options = Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(main, options).unwrap();
    kill(main, Signal::SIGCONT).unwrap();
    let run = Run { reached: false, code: None, out: String::new(), error: String::new() };
    let (out, error) = (&mut out, &mut error);
    let (begun, killed, processes) = (false, false, BTreeMap::from([(main, Process::default())]));
    let mut tracer =
        Tracer { main, at, begun, killed, done: false, processes, orphans: Vec::new(), run, out, error };
    loop {
        match waitpid(None, Some(ALL)) {
            Ok(status) => tracer.step(status, &mut seen),
            Err(Errno::EINTR) => {}
            Err(errno) => {
                assert_eq!(errno, Errno::ECHILD, "all have ended");
                return tracer.finish();
            }
        }
    }
}

impl Tracer<'_> {
    fn step(&mut self, status: WaitStatus, seen: &mut impl FnMut(&Call)) {
        let Some(pid) = status.pid() else { return };
        let signal = match status {
            WaitStatus::Exited(_, code) => {
                self.run.code = if pid == self.main { Some(code) } else { self.run.code };
                self.process(pid).ended = true;
                return;
            }
            WaitStatus::Signaled(..) => {
                self.orphans.extend((pid != self.main).then_some(pid));
                self.process(pid).ended = true;
                return;
            }
            WaitStatus::PtraceSyscall(_) => {
                self.syscall(pid, seen);
                None
            }
            WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXEC) => {
                self.begun = true;
                None
            }
            WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_STOP) => None,
            WaitStatus::PtraceEvent(..) => {
                let new = ptrace::getevent(pid).unwrap_or_default();
                self.process(Pid::from_raw(new.try_into().unwrap()));
                None
            }
            WaitStatus::Stopped(_, signal) => Some(signal),
            _ => None,
        };
        if self.killed {
            let _ = kill(pid, Signal::SIGKILL);
        }
        // It may have been killed meanwhile.
        let _ = if self.done { ptrace::detach(pid, signal) } else { ptrace::syscall(pid, signal) };
    }

    /// A child is sometimes heard of, and has even ended, before its parent tells of it.
    fn process(&mut self, pid: Pid) -> &mut Process {
        let number = self.processes.len();
        self.processes.entry(pid).or_insert_with(|| Process { number, ..Process::default() })
    }

    fn syscall(&mut self, pid: Pid, seen: &mut impl FnMut(&Call)) {
        let (begun, at) = (self.begun, self.at);
        let Ok(mut registers) = ptrace::getregs(pid) else { return };
        let process = self.process(pid);
        process.in_call = !process.in_call;
        if !process.in_call {
            if let Some(errno) = process.fails.take() {
                registers.rax = (-i64::from(errno as i32)).cast_unsigned();
                ptrace::setregs(pid, registers).unwrap();
                self.done = true;
            }
            return;
        }
        assert_eq!(registers.rax.cast_signed(), -i64::from(libc::ENOSYS), "it is about to make a call");
        if !begun {
            return;
        }
        let number = registers.orig_rax.cast_signed();
        let made = process.calls.entry(number).or_default();
        let here = Point { process: process.number, number, nth: *made };
        *made += 1;
        seen(&Call { at: here, arguments: [registers.rdi, registers.rsi, registers.rdx], pid });
        let Some((_, act)) = at.filter(|(point, _)| *point == here) else { return };
        self.run.reached = true;
        match act {
            Act::Kill => {
                self.killed = true;
                for (pid, _) in self.processes.iter().filter(|(_, process)| !process.ended) {
                    let _ = kill(*pid, Signal::SIGKILL);
                }
            }
            Act::KillOne => kill(pid, Signal::SIGKILL).unwrap(),
            Act::Fail(errno) => {
                self.process(pid).fails = Some(errno);
                if number != libc::SYS_close {
                    registers.orig_rax = u64::MAX;
                    ptrace::setregs(pid, registers).unwrap();
                }
            }
        }
    }

    fn finish(mut self) -> Run {
        for pid in &self.orphans {
            // Of its own parent, where that one lives on.
            let _ = waitpid(*pid, Some(WaitPidFlag::__WALL));
        }
        let read = |file: &mut std::fs::File| {
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        (self.run.out, self.run.error) = (read(self.out), read(self.error));
        self.run
    }
}
