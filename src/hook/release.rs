// SPDX-License-Identifier: Apache-2.0
//! `release`: a VM ended, or did not start. Removes sockets that a killed QEMU left in the socket directory, and writes a line to
//! the journal. libvirt ignores the exit code here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use super::{DEFAULT_DEADLINE, parse, read_text};
use crate::accord::Agreed;
use crate::base::journald::{self, Priority, log};
use crate::base::root::Root;
use crate::base::watchdog::Watchdog;
use crate::facts::domains::{Domain, SocketMode};
use crate::facts::sockets::{self, Liveness};
use crate::write;

/// The operation's name. `stopped` comes before it each time, and needs nothing of us.
pub fn is_release(arguments: &[OsString]) -> bool {
    arguments.get(1).is_some_and(|operation| operation == "release")
}

/// Logs it, and removes sockets that are proven stale.
pub fn release(begun: Instant) -> Result<()> {
    let deadline = begun + DEFAULT_DEADLINE;
    let Some(xml) = read_text(deadline)? else { return Ok(()) };
    let _watchdog = Watchdog::start(deadline, || 0)?;
    let Some(domain) = parse(&xml)? else { return Ok(()) };
    let root = Root::open(Path::new("/"))?;
    // Before the first `apply`, and after `revert`, there is nothing of ours.
    let Some(agreed) = Agreed::read(&root)? else { return Ok(()) };
    let left = left_behind(&domain, &agreed);
    if left.is_empty() {
        return Ok(());
    }
    let gone: Vec<PathBuf> = left.into_iter().filter(|path| clear(&root, &domain, path)).collect();
    let what = match gone.len() {
        0 => format!("{}: released", domain.name),
        _ => format!("{}: released; removed {}", domain.name, join(&gone)),
    };
    let (uuid, sockets) = (domain.uuid.as_deref().unwrap_or_default(), join(&gone));
    let fields = [
        ("MESSAGE_ID", journald::RELEASED),
        ("VA_DOMAIN", domain.name.as_str()),
        ("VA_UUID", uuid),
        ("VA_OPERATION", "release"),
        ("VA_SOCKET", sockets.as_str()),
    ];
    log(Priority::Info, &what, &fields);
    Ok(())
}

fn join(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
}

/// The sockets that this VM's QEMU creates in the socket directory.
fn left_behind(domain: &Domain, agreed: &Agreed) -> Vec<PathBuf> {
    let made = domain.endpoints.iter().filter(|endpoint| endpoint.mode == SocketMode::Server);
    let paths = made.filter_map(|endpoint| endpoint.path.clone());
    paths.filter(|path| path.parent() == Some(agreed.socket_directory.as_path())).collect()
}

/// Removes a stale socket. One of another VM at this path has a listener, and a new one has another inode: both stay.
fn clear(root: &Root, domain: &Domain, path: &Path) -> bool {
    let remove = || -> Result<bool> {
        let Some(found) = root.find_nofollow(path)? else { return Ok(false) };
        if sockets::liveness_of(&found) != Liveness::Stale {
            return Ok(false);
        }
        let (parent, name) = root.place(path)?;
        write::remove_file(&parent, name, found.id()).with_context(|| format!("removing {}", path.display()))
    };
    remove().unwrap_or_else(|error| {
        let fields = [("VA_DOMAIN", domain.name.as_str()), ("VA_OPERATION", "release")];
        log(Priority::Warning, &format!("{}: {error:#}", domain.name), &fields);
        false
    })
}
