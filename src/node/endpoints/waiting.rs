// SPDX-License-Identifier: Apache-2.0
//! Cards that were plugged into a running VM and got no further: QEMU listens and waits for the switch, with its monitor
//! blocked, and libvirt has not written the card into any file yet (seen with QEMU 7.2 and libvirt 9.0).

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::{Index, Machine, all_paths};
use crate::base::paths::plain;
use crate::base::root::Root;
use crate::base::root::ss::Stream;
use crate::facts::domains::RUNNING;
use crate::facts::owners;
use crate::node::live::{Guest, Live};

/// A socket of a VM's QEMU that is in no definition and no port's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Where it listens.
    pub path: PathBuf,
    /// The VM.
    pub domain: String,
    /// Its QEMU.
    pub pid: u32,
}

/// Looks in the directories that hold sockets of the switch: elsewhere QEMU listens for consoles, agents and other back ends.
pub(super) fn find(
    root: &Root,
    live: &Live,
    (index, machines): (&Index<'_>, &[Machine]),
    sockets: &[Stream],
    directory: &Path,
) -> Vec<Waiting> {
    let Some(switch) =
        index.switch.known().filter(|_| live.unread.is_empty() && live.defined.broken.is_empty())
    else {
        return Vec::new();
    };
    let ports = switch.ports.iter().map(|port| plain(&switch.config.expected_socket(port)));
    let ports: HashSet<PathBuf> = ports.collect();
    let directories: HashSet<&Path> =
        ports.iter().filter_map(|path| path.parent()).chain([directory]).collect();
    let known: HashSet<PathBuf> =
        machines.iter().flat_map(all_paths).map(plain).chain(ports.clone()).collect();
    let connected: HashSet<_> =
        sockets.iter().filter(|socket| socket.peer.is_some()).filter_map(|socket| socket.file).collect();
    let candidate = |socket: &&Stream| {
        let path = socket.path.as_deref().map(plain).unwrap_or_default();
        let alone = socket.file.is_some_and(|file| !connected.contains(&file));
        let of_vhost_user = path.parent().is_some_and(|parent| directories.contains(parent));
        socket.listening && alone && of_vhost_user && !known.contains(&path)
    };
    let candidates: Vec<&Stream> = sockets.iter().filter(candidate).collect();
    let inodes: HashSet<u64> = candidates.iter().map(|socket| socket.inode).collect();
    if inodes.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for guest in &live.guests {
        let Some(process) = &guest.process else { continue };
        let held = owners::held(root, process.pid, &inodes, None);
        let paths = candidates.iter().filter(|socket| held.contains(&socket.inode));
        for path in paths.filter_map(|socket| socket.path.clone()) {
            if is_unwritten(root, guest, &path) {
                found.push(Waiting { path, domain: guest.domain.name.clone(), pid: process.pid });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// A console can have its socket there too: libvirt's file of the VM names it then.
fn is_unwritten(root: &Root, guest: &Guest, path: &Path) -> bool {
    let file = Path::new(RUNNING).join(format!("{}.xml", guest.domain.name));
    let name = path.file_name().and_then(|name| name.to_str());
    let text = root.read_text(&file).ok().flatten();
    text.zip(name).is_some_and(|(text, name)| !text.contains(name))
}
