// SPDX-License-Identifier: Apache-2.0
//! Who carries a group's number: files on local filesystems. What a renumbering would orphan.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::root::{Handle, Kind, Root};

/// Filesystems whose files keep their group: on disk, in memory, and hugetlbfs. Others are the kernel's own views, or
/// belong to other machines, where the number means something else.
const OWN_FILESYSTEMS: [&str; 11] =
    ["btrfs", "ext2", "ext3", "ext4", "f2fs", "hugetlbfs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"];

/// Every file, directory, link and socket with this group, sorted.
pub fn files(root: &Root, gid: u32) -> Result<Vec<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for mount in mounts(root)? {
        if let Some(handle) = root.find_nofollow(&mount)?
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
    let text = root.read_text(Path::new("/proc/self/mountinfo"))?.unwrap_or_default();
    Ok(text.lines().filter_map(own_mount).collect())
}

/// proc_pid_mountinfo(5): the fifth field is the mount point, the type follows a lone "-".
fn own_mount(line: &str) -> Option<PathBuf> {
    let (before, after) = line.split_once(" - ")?;
    let kind = after.split(' ').next()?;
    let path = before.split(' ').nth(4)?;
    let unescaped =
        path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\");
    OWN_FILESYSTEMS.contains(&kind).then(|| PathBuf::from(unescaped))
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
        if entry.id().0 != device {
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
    fn only_own_filesystems_are_searched() {
        let line = "25 30 0:23 / /dev/huge\\040pages rw,relatime shared:4 - hugetlbfs none rw,pagesize=2M";
        assert_eq!(own_mount(line), Some(PathBuf::from("/dev/huge pages")));
        assert_eq!(own_mount("25 30 0:23 / /proc rw - proc proc rw"), None);
        assert_eq!(own_mount("25 30 0:23 / /mnt rw - nfs4 server:/x rw"), None);
    }
}
