// SPDX-License-Identifier: Apache-2.0
//! Whom a child becomes.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use serde::{Deserialize, Serialize};

use crate::access::{Identity, Names};
use crate::facts::processes::{Process, parse_status};

/// All that decides what a process may reach, security modules aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
    /// The file mode creation mask.
    pub umask: u32,
    /// The effective capabilities, one bit each.
    pub capabilities: u64,
    /// The process that this is, or that would start it, where it sees other mounts than we do.
    pub mounts_of: Option<u32>,
}

impl Who {
    /// The process itself. `umask` is for kernels that do not tell.
    pub fn of(process: &Process, umask: u32) -> Who {
        Who {
            uid: process.status.uid.fs,
            gid: process.status.gid.fs,
            groups: process.status.groups.clone(),
            umask: process.status.umask.unwrap_or(umask),
            capabilities: process.status.cap_eff,
            mounts_of: other_mounts(process),
        }
    }

    /// Who the kernel takes it for.
    pub fn identity(&self) -> Identity {
        let (uid, gid, groups) = (self.uid, self.gid, self.groups.clone());
        Identity { uid, gid, groups, capabilities: self.capabilities }
    }

    /// By name, with all groups.
    pub fn text(&self, names: &dyn Names) -> String {
        let others: Vec<String> =
            self.groups.iter().filter(|gid| **gid != self.gid).map(|gid| names.group(*gid)).collect();
        let user = format!("{}:{}", names.user(self.uid), names.group(self.gid));
        let groups = if others.is_empty() { String::new() } else { format!(" and {}", others.join(", ")) };
        let all = if self.identity().has_dac_override() { " with root's capabilities" } else { "" };
        let mounts = self.mounts_of.map(|pid| format!(", in the mounts of process {pid}"));
        format!("{user}{groups}{all}{}", mounts.unwrap_or_default())
    }

    /// Makes this process it, for good.
    pub(crate) fn become_it(&self) -> Result<()> {
        if let Some(pid) = self.mounts_of {
            let path = PathBuf::from(format!("/proc/{pid}/ns/mnt"));
            let namespace = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            setns(namespace, CloneFlags::CLONE_NEWNS).context("entering the mount namespace")?;
            std::env::set_current_dir("/").context("going to the root directory")?;
        }
        umask(Mode::from_bits_truncate(self.umask));
        self.take_ids()?;
        // A change of ids takes it away again, so it comes after. Whoever started us is gone when it comes.
        prctl::set_pdeathsig(Signal::SIGKILL).context("tying the child to its parent")?;
        prctl::set_no_new_privs().context("giving up new privileges")?;
        self.prove()
    }

    fn take_ids(&self) -> Result<()> {
        prctl::set_keepcaps(self.capabilities != 0).context("keeping capabilities")?;
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups).context("taking the groups")?;
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        setresgid(gid, gid, gid).context("taking the group")?;
        setresuid(uid, uid, uid).context("taking the user")?;
        let held = capabilities(None).context("reading our capabilities")?.permitted;
        let kept = CapabilitySet::from_bits_retain(self.capabilities) & held;
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
        set_capabilities(None, sets).context("giving up capabilities")
    }

    /// What the kernel says we are: a trial by someone else would prove nothing.
    fn prove(&self) -> Result<()> {
        let status = std::fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
        let status = parse_status(&status)?;
        let set = |groups: &[u32]| groups.iter().copied().collect::<BTreeSet<u32>>();
        let (wanted, real) = (set(&self.groups), set(&status.groups));
        let same = (status.uid.fs, status.gid.fs, status.umask.unwrap_or(self.umask))
            == (self.uid, self.gid, self.umask);
        // Of the capabilities a container may have fewer to give.
        if !same || real != wanted || status.cap_eff & !self.capabilities != 0 {
            bail!("the child is {}:{} {real:?}, not who it was to be", status.uid.fs, status.gid.fs);
        }
        Ok(())
    }
}

/// The process, where its mounts are others than ours and so are to be entered: in a container, and QEMU with libvirt's
/// `namespaces = ["mount"]` (the default).
pub(super) fn other_mounts(process: &Process) -> Option<u32> {
    let mounts = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    let theirs = mounts(&process.pid.to_string())?;
    (theirs != mounts("self")?).then_some(process.pid)
}
