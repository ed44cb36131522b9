// SPDX-License-Identifier: Apache-2.0
//! Mounts of hugetlbfs, from recorded tables.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use vhost_accord::base::root::Root;
use vhost_accord::facts::mounts::{default_page_size, hugetlb, mounts_of, parse_hugetlb};

/// The paths of the mounts found, in a table with `/` and `/dev` above these lines.
fn paths(lines: &str) -> Vec<PathBuf> {
    let table =
        format!("21 1 8:1 / / rw - ext4 /dev/sda1 rw\n25 21 0:6 / /dev rw - devtmpfs udev rw\n{lines}");
    let mounts = parse_hugetlb(table.as_bytes(), Some(2 << 20)).unwrap();
    mounts.into_iter().map(|mount| mount.path).collect()
}

#[test]
fn reads_a_mount_with_everything_in_it() {
    let table = b"39 25 0:34 / /dev/huge\\040pages\\134\\011\xff ro,relatime shared:18 master:3 - hugetlbfs hugetlbfs rw,gid=42477,mode=0775,pagesize=1024M,size=2G\n";
    let mounts = parse_hugetlb(table, None).unwrap();
    assert_eq!(mounts.len(), 1);
    let expected = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"/dev/huge pages\\\t\xff");
    assert_eq!(mounts[0].path, Path::new(expected));
    assert_eq!((mounts[0].page_size, mounts[0].read_only), (1 << 30, true));
    assert_eq!(
        mounts[0].options,
        ["ro", "relatime", "rw", "gid=42477", "mode=0775", "pagesize=1024M", "size=2G"]
    );
}

#[test]
fn knows_page_sizes() {
    let size = |option: &str, default| {
        parse_hugetlb(format!("39 25 0:34 / /h rw - hugetlbfs h rw{option}").as_bytes(), default)
            .map(|m| m[0].page_size)
    };
    assert_eq!(size(",pagesize=2M", None).unwrap(), 2 << 20);
    assert_eq!(size(",pagesize=64K", None).unwrap(), 64 << 10);
    assert_eq!(size("", Some(2 << 20)).unwrap(), 2 << 20);
    assert!(size("", None).is_err());
    assert!(size(",pagesize=2X", None).is_err());
    assert_eq!(default_page_size("MemTotal: 1 kB\nHugepagesize:       2048 kB\n"), Some(2 << 20));
    assert_eq!(default_page_size("MemTotal: 1 kB\n"), None);
}

#[test]
fn only_what_a_path_leads_to_counts() {
    let huge = "39 25 0:34 / /dev/hugepages rw - hugetlbfs hugetlbfs rw,pagesize=2M\n";
    assert_eq!(paths(huge), [Path::new("/dev/hugepages")]);
    let stacked = format!("{huge}40 39 0:35 / /dev/hugepages rw,noatime - hugetlbfs other rw,pagesize=2M\n");
    assert_eq!(paths(&stacked), [Path::new("/dev/hugepages")]);
    assert_eq!(paths(&format!("{huge}40 39 0:35 / /dev/hugepages rw - tmpfs tmpfs rw\n")), [] as [&Path; 0]);
    // A mount over a directory on the way: on /dev itself, and on a directory of the same filesystem.
    assert_eq!(paths(&format!("{huge}40 25 0:35 / /dev rw - tmpfs tmpfs rw\n")), [] as [&Path; 0]);
    let deep = "39 21 0:34 / /mnt/a/huge rw - hugetlbfs hugetlbfs rw,pagesize=2M\n";
    assert_eq!(paths(&format!("{deep}40 21 0:35 / /mnt/a rw - tmpfs tmpfs rw\n")), [] as [&Path; 0]);
    assert_eq!(
        paths(&format!("{deep}40 21 0:35 / /mnt/ab rw - tmpfs tmpfs rw\n")),
        [Path::new("/mnt/a/huge")]
    );
    // Mounted below what was mounted over: visible again.
    let above = "40 25 0:35 / /dev rw - tmpfs tmpfs rw\n41 40 0:34 / /dev/hugepages rw - hugetlbfs h rw,pagesize=2M\n";
    assert_eq!(paths(&format!("{huge}{above}")), [Path::new("/dev/hugepages")]);
}

#[test]
fn the_topmost_of_two_is_the_one() {
    let table =
        b"39 25 0:34 / /h rw - hugetlbfs a rw,pagesize=2M\n40 39 0:35 / /h rw - hugetlbfs b rw,pagesize=1G\n";
    let mounts = parse_hugetlb(table, None).unwrap();
    assert_eq!(mounts.iter().map(|mount| mount.page_size).collect::<Vec<_>>(), [1 << 30]);
}

#[test]
fn a_broken_table_is_an_error() {
    for bad in [
        "x",
        "39 25 0:34 / /h rw hugetlbfs a rw",
        "a 25 0:34 / /h rw - hugetlbfs a rw",
        "39 25 0:34 / /h rw - hugetlbfs",
    ] {
        assert!(parse_hugetlb(bad.as_bytes(), None).is_err(), "{bad}");
    }
}

#[test]
fn reads_this_node_and_an_image() {
    hugetlb(&Root::open(Path::new("/")).unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(hugetlb(&Root::open(dir.path()).unwrap()).unwrap(), []);
}

#[test]
fn mounts_are_found_by_their_filesystem() {
    let text = b"25 30 0:23 / /dev/huge\\040pages rw,relatime shared:4 - hugetlbfs none rw,pagesize=2M\n\
        26 30 0:23 / /proc rw - proc proc rw\n27 30 0:23 / /mnt rw - nfs4 server:/x rw\n";
    assert_eq!(mounts_of(text, &["ext4", "hugetlbfs"]), [Path::new("/dev/huge pages")]);
}
