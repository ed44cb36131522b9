// SPDX-License-Identifier: Apache-2.0
//! The socket directory and the hugetlbfs mounts.

use std::path::{Path, PathBuf};

use super::dataplane::drop_in;
use super::{Accord, Ground};
use crate::config::PortType;
use crate::items::{Absent, Item, Owner, Subject};

/// setgid, so that a socket has the shared group whatever group QEMU runs with.
const SOCKET_DIRECTORY_MODE: u32 = 0o2775;
const HUGEPAGES_MODE: u32 = 0o775;

/// Mounts that a container engine makes for single containers: not the node's.
const CONTAINERS_OWN: [&str; 4] =
    ["/var/lib/kubelet", "/var/lib/containers", "/var/lib/docker", "/run/containerd"];

pub(super) fn socket_directory(accord: &Accord, _ground: &Ground<'_>) -> Vec<Item> {
    let Some(qemu) = accord.qemu.as_ref().filter(|_| accord.has(PortType::Dpdkvhostuserclient)) else {
        return Vec::new();
    };
    let mut items: Vec<Item> = parents(&accord.socket_directory).into_iter().map(parent).collect();
    items.push(own(&accord.socket_directory, qemu.uid, accord.group.gid, SOCKET_DIRECTORY_MODE));
    items
}

/// A directory of sockets.
pub(super) fn own(path: &Path, uid: u32, gid: u32, mode: u32) -> Item {
    let (path, subject, absent) = (path.to_path_buf(), Subject::SocketDirectory, Absent::Create);
    Item::Owner(Owner { path, subject, uid: Some(uid), gid: Some(gid), mode: Some(mode), absent })
}

/// The directories between the top and the socket directory, outermost first; the top is the system's.
pub(super) fn parents(directory: &Path) -> Vec<PathBuf> {
    let above = directory.ancestors().skip(1).filter(|path| path.components().count() > 2);
    let mut parents: Vec<PathBuf> = above.map(Path::to_path_buf).collect();
    parents.reverse();
    parents
}

pub(super) fn parent(path: PathBuf) -> Item {
    let subject = Subject::Parent;
    Item::Owner(Owner { path, subject, uid: None, gid: None, mode: None, absent: Absent::Create })
}

/// Adds the parent directories of each file of ours before it. Drop-in directories are created and removed with their files,
/// and an image may not have `/etc/systemd` yet.
pub(super) fn with_directories(items: Vec<Item>) -> Vec<Item> {
    let mut complete: Vec<Item> = Vec::new();
    for item in items {
        let path = match &item {
            Item::File(file) => Some(&file.path),
            Item::Link(link) => Some(&link.path),
            _ => None,
        };
        for directory in path.into_iter().flat_map(|path| parents(path)).map(parent) {
            if !complete.contains(&directory) {
                complete.push(directory);
            }
        }
        complete.push(item);
    }
    complete
}

pub(super) fn hugepages(accord: &Accord, ground: &Ground<'_>) -> Vec<Item> {
    let now = ground.mounted.iter().filter(|path| !CONTAINERS_OWN.iter().any(|own| path.starts_with(own)));
    let (gid, mode) = (Some(accord.group.gid), Some(HUGEPAGES_MODE));
    let (subject, absent) = (Subject::Hugepages, Absent::Fine);
    let owner = |path: &PathBuf| Owner { path: path.clone(), subject, uid: None, gid, mode, absent };
    let mut items: Vec<Item> = now.map(owner).map(Item::Owner).collect();
    for mount in &ground.profile.mounts {
        let options = options(&mount.options, accord.group.gid);
        items.push(drop_in(&mount.unit, &format!("[Mount]\nOptions={options}\n")));
    }
    items
}

/// hugetlbfs takes group and mode when it is mounted only; a remount changes neither (fs/hugetlbfs/inode.c has no
/// reconfigure operation). `Options=` of a drop-in replaces the unit's, so those are repeated.
fn options(declared: &str, gid: u32) -> String {
    let ours =
        |option: &&str| !option.starts_with("gid=") && !option.starts_with("mode=") && !option.is_empty();
    let mut options: Vec<String> =
        declared.split(',').map(str::trim).filter(ours).map(str::to_string).collect();
    options.push(format!("gid={gid}"));
    options.push(format!("mode={HUGEPAGES_MODE:04o}"));
    options.join(",")
}
