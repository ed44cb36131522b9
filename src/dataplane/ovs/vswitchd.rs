// SPDX-License-Identifier: Apache-2.0
//! Whether a daemon of the switch runs, and as whom: by its pid file, which it keeps locked as long as it lives
//! (lib/daemon-unix.c, `make_pidfile`). The lock is seen from another pid namespace too. A name alone says nothing: OVN has
//! an ovsdb-server of its own, and so may any container.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use serde::{Deserialize, Serialize};

use super::paths;
use crate::base::root::{Handle, Kind, Root};
use crate::facts::owners::Owner;
use crate::facts::processes::{self, Process};

/// The daemon that has the ports.
pub const VSWITCHD: &str = "ovs-vswitchd";
/// The database.
pub const OVSDB_SERVER: &str = "ovsdb-server";

/// ovs-vswitchd now, or the switch's ovsdb-server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vswitchd {
    /// It runs; the process where we may see it (a container has another view of the processes).
    Running(Option<Box<Process>>),
    /// Nobody holds the pid file, and no process of that name runs on the node.
    NotRunning,
    /// It could not be found out: why.
    Unknown(String),
}

impl Vswitchd {
    /// Looks for ovs-vswitchd.
    pub fn read(root: &Root) -> Vswitchd {
        look(root, VSWITCHD).unwrap_or_else(|error| Vswitchd::Unknown(format!("{error:#}")))
    }

    /// Looks for the ovsdb-server that has the switch's database.
    pub fn database(root: &Root) -> Vswitchd {
        look(root, OVSDB_SERVER).unwrap_or_else(|error| Vswitchd::Unknown(format!("{error:#}")))
    }

    /// Another one than this, as a container may have, with a database of its own. A monitor of this one has its name, and is in
    /// its unit. Those in the units of `known` are asked.
    pub fn second(&self, root: &Root, known: &[&str]) -> Option<Owner> {
        let own = Owner::of(root, self.process()?.pid)?;
        let found = processes::by_name(root, &[VSWITCHD]).unwrap_or_default();
        let mut owners = found.iter().filter_map(|process| Owner::of(root, process.pid));
        let is_known = |owner: &Owner| owner.unit.as_deref().is_some_and(|unit| known.contains(&unit));
        owners.find(|owner| owner.pid != own.pid && owner.unit != own.unit && !is_known(owner))
    }

    /// It runs, or may, and its process is not seen.
    pub fn is_hidden(&self) -> bool {
        matches!(self, Vswitchd::Running(None) | Vswitchd::Unknown(_))
    }

    /// The process, if it runs where we see it.
    pub fn process(&self) -> Option<&Process> {
        match self {
            Vswitchd::Running(process) => process.as_deref(),
            Vswitchd::NotRunning | Vswitchd::Unknown(_) => None,
        }
    }
}

fn look(root: &Root, name: &str) -> Result<Vswitchd> {
    let pid_file = Path::new(paths::RUN).join(name).with_extension("pid");
    if let Some(file) = root.find(&pid_file)?.filter(|file| file.kind() == Kind::File) {
        let pid: Option<u32> = String::from_utf8_lossy(&file.read()?).trim().parse().ok();
        let process = pid.and_then(|pid| processes::by_pid(root, pid));
        if let Some(process) = process.filter(|process| process.status.name == name) {
            return Ok(Vswitchd::Running(Some(Box::new(process))));
        }
        if let Some(report) = root.report() {
            // Nothing tells who holds the lock. The one that is named may be one whose state was not taken.
            if let Some(pid) = pid {
                report.file(&format!("/proc/{pid}/status"))?;
            }
        } else if is_locked(&file).with_context(|| format!("asking who holds {}", pid_file.display()))? {
            return Ok(Vswitchd::Running(None));
        }
    }
    // It removes the file when it stops. One that was started without a pid file is the switch's where it is in its unit,
    // and may be so elsewhere: in a container.
    let others = processes::by_name(root, &[name])?;
    if let Some(process) = others.iter().find(|process| is_in_unit(root, process.pid, name)) {
        return Ok(Vswitchd::Running(Some(Box::new(process.clone()))));
    }
    if let Some(other) = others.first() {
        bail!("{name} (pid {}) does not hold {}", other.pid, pid_file.display());
    }
    Ok(Vswitchd::NotRunning)
}

/// By its control group (cgroups(7)), which has the unit's name; older packages start both daemons in one unit.
fn is_in_unit(root: &Root, pid: u32, name: &str) -> bool {
    let text = root.read_text(&PathBuf::from(format!("/proc/{pid}/cgroup"))).ok().flatten();
    let units = [name, "openvswitch-switch", "openvswitch-nonetwork", "openvswitch"];
    let unit = |part: &str| part.strip_suffix(".service").is_some_and(|unit| units.contains(&unit));
    text.is_some_and(|text| text.lines().any(|line| line.split('/').skip(1).any(unit)))
}

fn is_locked(file: &Handle) -> Result<bool> {
    let descriptor = file.reopen(OFlag::O_RDONLY)?;
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&descriptor, FcntlArg::F_GETLK(&mut lock))?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}
