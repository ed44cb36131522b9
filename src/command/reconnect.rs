// SPDX-License-Identifier: Apache-2.0
//! The connections between running VMs and the dataplane, before and after a restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::base::progress::{self, Progress};
use crate::base::root::Root;
use crate::facts::domains::SocketMode;
use crate::node::endpoints::{Endpoints, Machine};
use crate::node::live::Live;
use crate::report;
use crate::rules::endpoints::is_joined;

/// QEMU and DPDK try each second.
const POLL: Duration = Duration::from_millis(500);
const NAMED: usize = 5;

/// An endpoint of a VM that was connected, and whose QEMU or OVS connects again by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    vm: String,
    /// QEMU's process: another one means that the VM was started again.
    pid: Option<u32>,
    path: PathBuf,
}

/// Endpoints that are connected and can reconnect within `limit`. Empty if the kernel does not say. Takes what runs, and the
/// directory of QEMU's sockets.
pub fn connected(root: &Root, (live, directory): (&Live, &Path), limit: Duration) -> Result<Vec<Peer>> {
    let endpoints = Endpoints::read(root, live, directory)?;
    Ok(joined(&endpoints, |seconds| u64::from(seconds) < limit.as_secs()))
}

/// Connected endpoints. If QEMU connects, only those that it tries again within such a time.
fn joined(endpoints: &Endpoints, tries: impl Fn(u32) -> bool) -> Vec<Peer> {
    let mut found = Vec::new();
    if endpoints.peers.known().is_none() {
        return found;
    }
    for machine in endpoints.machines.iter().filter(|machine| machine.domain.running) {
        for (socket, link) in machine.start.sockets.iter().zip(&machine.links) {
            let again = match socket.endpoint.mode {
                SocketMode::Server => true,
                SocketMode::Client => socket.endpoint.reconnect.is_some_and(&tries),
            };
            if again && is_joined(endpoints, machine, socket, link) {
                found.push(Peer { path: socket.path.clone(), ..peer(machine) });
            }
        }
    }
    found
}

fn peer(machine: &Machine) -> Peer {
    let pid = machine.process.as_ref().map(|process| process.pid);
    Peer { vm: machine.domain.name.clone(), pid, path: PathBuf::new() }
}

/// Those of `before` that are not connected now, without VMs that ended or were started again meanwhile.
fn missing<'a>(root: &Root, (live, directory): (&Live, &Path), before: &'a [Peer]) -> Result<Vec<&'a Peer>> {
    let endpoints = Endpoints::read(root, &live.again(root)?, directory)?;
    if endpoints.peers.known().is_none() {
        return Ok(Vec::new());
    }
    let now = joined(&endpoints, |_| true);
    let running: Vec<Peer> =
        endpoints.machines.iter().filter(|machine| machine.domain.running).map(peer).collect();
    let lives = |lost: &&Peer| running.iter().any(|vm| vm.vm == lost.vm && vm.pid == lost.pid);
    Ok(before.iter().filter(|peer| !now.contains(peer)).filter(lives).collect())
}

/// Waits until all of `before` are connected again; an error names those that are not.
pub fn wait(root: &Root, at: (&Live, &Path), before: &[Peer], limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    let (count, back) = (before.len(), Arc::new(AtomicUsize::new(0)));
    let shown = Arc::clone(&back);
    let _progress = Progress::show(move || {
        let connected = shown.load(Ordering::Relaxed);
        format!("{connected} of {count} endpoints of VMs connected again, {}", progress::left(deadline))
    });
    loop {
        let missing = missing(root, at, before);
        match &missing {
            Ok(missing) if missing.is_empty() => return Ok(()),
            Ok(missing) => back.store(count - missing.len(), Ordering::Relaxed),
            // Files of VMs change at any time; ask again.
            Err(_) => {}
        }
        if Instant::now() >= deadline {
            bail!("after {} s {}", limit.as_secs(), described(&missing?, count));
        }
        std::thread::sleep(POLL);
    }
}

fn described(missing: &[&Peer], count: usize) -> String {
    let name =
        |peer: &&Peer| format!("VM {} ({})", peer.vm, report::one_line(&peer.path.display().to_string()));
    let mut names: Vec<String> = missing.iter().take(NAMED).map(name).collect();
    if missing.len() > NAMED {
        names.push(format!("{} more", missing.len() - NAMED));
    }
    format!("{} of {count} endpoints were not connected again: {}", missing.len(), names.join(", "))
}
