// SPDX-License-Identifier: Apache-2.0
//! Whether ovs-vswitchd runs, and as whom, without looking through all processes: its pid file, which it keeps locked as
//! long as it lives (lib/daemon-unix.c, `make_pidfile`). The lock is seen from another pid namespace too.

use std::path::Path;

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;

use super::processes::{self, Process};
use crate::paths;
use crate::root::{Kind, Root, told};

const PID_FILE: &str = "/run/openvswitch/ovs-vswitchd.pid";
const NAME: &str = "ovs-vswitchd";

/// ovs-vswitchd now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vswitchd {
    /// It runs; the process where we may see it (a container has another view of the processes).
    Running(Option<Box<Process>>),
    /// Nobody holds the pid file, and no process of that name is there.
    NotRunning,
    /// It could not be found out: why.
    Unknown(String),
}

impl Vswitchd {
    /// Looks.
    pub fn read(root: &Root) -> Vswitchd {
        look(root).unwrap_or_else(|error| Vswitchd::Unknown(format!("{error:#}")))
    }

    /// The process, if it runs where we see it.
    pub fn process(&self) -> Option<&Process> {
        match self {
            Vswitchd::Running(process) => process.as_deref(),
            Vswitchd::NotRunning | Vswitchd::Unknown(_) => None,
        }
    }
}

fn look(root: &Root) -> Result<Vswitchd> {
    if let Some(report) = root.report() {
        let found = processes::by_name(root, &[NAME])?.into_iter().next();
        // It removes its pid file when it stops: who is named there may be the one whose state was not taken.
        if let (None, Some(pid)) = (&found, told(root.read_text(Path::new(PID_FILE)))?.flatten()) {
            report.file(&format!("/proc/{}/status", pid.trim()))?;
        }
        return Ok(found.map_or(Vswitchd::NotRunning, |process| Vswitchd::Running(Some(Box::new(process)))));
    }
    let Some(file) = root.find(Path::new(PID_FILE))?.filter(|file| file.kind() == Kind::File) else {
        // ovs-vswitchd removes it when it stops. Without the directory it has another, or there is no OVS here.
        if root.find(Path::new(paths::OVS_RUN))?.is_some() {
            return Ok(Vswitchd::NotRunning);
        }
        let found = processes::by_name(root, &[NAME])?.into_iter().next();
        return Ok(found.map_or(Vswitchd::NotRunning, |process| Vswitchd::Running(Some(Box::new(process)))));
    };
    let pid = String::from_utf8_lossy(&file.read()?).trim().parse().ok();
    let process =
        pid.and_then(|pid| processes::by_pid(root, pid)).filter(|process| process.status.name == NAME);
    if let Some(process) = process {
        return Ok(Vswitchd::Running(Some(Box::new(process))));
    }
    let descriptor = file.reopen(OFlag::O_RDONLY)?;
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&descriptor, FcntlArg::F_GETLK(&mut lock))
        .with_context(|| format!("asking who holds {PID_FILE}"))?;
    let held = lock.l_type != libc::F_UNLCK as libc::c_short;
    Ok(if held { Vswitchd::Running(None) } else { Vswitchd::NotRunning })
}
