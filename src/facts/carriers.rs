// SPDX-License-Identifier: Apache-2.0
//! Who carries a group's number: files on local filesystems and running processes. What a renumbering would orphan.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::mounts::mounts_of;
use super::processes::{parse_status, pids};
use crate::base::root::{CAPABILITIES, Handle, Kind, Root};

/// Filesystems whose files keep their group: on disk, in memory, and hugetlbfs. Others are the kernel's own views, or
/// belong to other machines, where the number means something else.
const OWN_FILESYSTEMS: [&str; 11] =
    ["btrfs", "ext2", "ext3", "ext4", "f2fs", "hugetlbfs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"];

/// Trees of containers and other systems: a number in them is that of a group of theirs, whatever it is called here.
const OTHERS_NUMBERS: [&str; 9] = [
    "/run/containerd",
    "/run/containers",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/lib/kubelet",
    "/var/lib/lxc",
    "/var/lib/lxd",
    "/var/lib/machines",
];

/// setuid and setgid.
pub const SET_ID: u32 = 0o6000;

/// How many files were looked at by now: a search of a large disk takes minutes.
static LOOKED_AT: AtomicU64 = AtomicU64::new(0);

/// How many files were looked at by now, in all searches.
pub fn looked_at() -> u64 {
    LOOKED_AT.load(Ordering::Relaxed)
}

/// A running process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carrier {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

/// What the kernel takes from a file with its owner, and gives no one back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Special {
    /// The file.
    pub path: PathBuf,
    /// Its permission bits, setuid or setgid among them.
    pub mode: u32,
    /// Its capabilities.
    pub capabilities: Option<Vec<u8>>,
}

/// Those of `files` that lose something when they change hands.
pub fn special(root: &Root, files: &[PathBuf]) -> Result<Vec<Special>> {
    let mut found = Vec::new();
    for path in files {
        let Some(file) = root.find_nofollow(path)?.filter(|file| file.kind() == Kind::File) else { continue };
        let capabilities = file.xattr(CAPABILITIES)?;
        if file.mode() & SET_ID != 0 || capabilities.is_some() {
            found.push(Special { path: path.clone(), mode: file.mode(), capabilities });
        }
    }
    Ok(found)
}

/// Every process with this group as one of its own or a supplementary one, by number; none in an image.
pub fn processes(root: &Root, gid: u32) -> Result<Vec<Carrier>> {
    let mut found = Vec::new();
    if !root.is_live() {
        return Ok(found);
    }
    for pid in pids(root)? {
        // One that ended meanwhile carries nothing any more.
        let Ok(Some(text)) = root.read(Path::new(&format!("/proc/{pid}/status"))) else { continue };
        let status = parse_status(&String::from_utf8_lossy(&text))?;
        let ids = [status.gid.real, status.gid.effective, status.gid.saved, status.gid.fs];
        if ids.contains(&gid) || status.groups.contains(&gid) {
            found.push(Carrier { pid, name: status.name });
        }
    }
    found.sort_by_key(|carrier| carrier.pid);
    Ok(found)
}

/// Every file, directory, link and socket with this group, sorted.
pub fn files(root: &Root, gid: u32) -> Result<Vec<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for mount in mounts(root)? {
        if !is_others(&mount)
            && let Some(handle) = root.find_nofollow(&mount)?
            && seen.insert(handle.id())
        {
            walk(&handle, gid, &mut found);
        }
    }
    Ok(found.into_iter().collect())
}

/// Mount points to search; an image is one tree.
fn mounts(root: &Root) -> Result<Vec<PathBuf>> {
    if !root.is_live() {
        return Ok(vec![PathBuf::from("/")]);
    }
    let text = root.read(Path::new("/proc/self/mountinfo"))?.unwrap_or_default();
    Ok(mounts_of(&text, &OWN_FILESYSTEMS))
}

fn is_others(path: &Path) -> bool {
    OTHERS_NUMBERS.iter().any(|tree| path.starts_with(tree))
}

/// A tree on one filesystem. What vanishes or refuses meanwhile is passed over: nothing is left in it to change.
fn walk(directory: &Handle, gid: u32, found: &mut BTreeSet<PathBuf>) {
    if directory.gid() == gid {
        found.insert(directory.path().to_path_buf());
    }
    let device = directory.id().0;
    let mut open: Vec<(Option<Handle>, Vec<OsString>)> = vec![(None, directory.names().unwrap_or_default())];
    while let Some((handle, names)) = open.last_mut() {
        let Some(name) = names.pop() else {
            open.pop();
            continue;
        };
        let Ok(Some(entry)) = handle.as_ref().unwrap_or(directory).entry(&name) else { continue };
        LOOKED_AT.fetch_add(1, Ordering::Relaxed);
        if entry.id().0 != device || is_others(entry.path()) {
            continue;
        }
        if entry.gid() == gid {
            found.insert(entry.path().to_path_buf());
        }
        if entry.kind() == Kind::Directory {
            let names = entry.names().unwrap_or_default();
            open.push((Some(entry), names));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_files_at_every_depth_and_links_themselves() {
        let image = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(image.path().join("a/b")).unwrap();
        std::fs::write(image.path().join("a/b/file"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", image.path().join("a/link")).unwrap();
        let root = Root::open(image.path()).unwrap();
        let gid = nix::unistd::getegid().as_raw();
        let found = files(&root, gid).unwrap();
        assert_eq!(found, ["/", "/a", "/a/b", "/a/b/file", "/a/link"].map(PathBuf::from));
        assert!(files(&root, gid + 1).unwrap().is_empty());
    }

    #[test]
    fn numbers_in_containers_are_not_the_nodes() {
        let image = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(image.path().join("var/lib/containers/storage/overlay")).unwrap();
        std::fs::create_dir_all(image.path().join("var/lib/containers-of-ours")).unwrap();
        let found = files(&Root::open(image.path()).unwrap(), nix::unistd::getegid().as_raw()).unwrap();
        assert_eq!(found, ["/", "/var", "/var/lib", "/var/lib/containers-of-ours"].map(PathBuf::from));
    }

    #[test]
    fn this_very_process_carries_its_group() {
        let root = Root::open(Path::new("/")).unwrap();
        let found = processes(&root, nix::unistd::getegid().as_raw()).unwrap();
        assert!(found.iter().any(|carrier| carrier.pid == std::process::id()), "{found:?}");
        assert_eq!(processes(&root, 4_000_000_000).unwrap(), []);
    }
}
