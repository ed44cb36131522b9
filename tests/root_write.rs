// SPDX-License-Identifier: Apache-2.0
//! The writing primitives with owners, ACLs and links of others, which take root.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod acl;

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use vhost_accord::access::{Acl, AclEntry, Perm, Tag};
use vhost_accord::base::root::{Handle, Root, UnsafePath};
use vhost_accord::facts::paths::{PathFact, read_chain};
use vhost_accord::write::{FileMeta, Refused, create_directory, replace_file, set_owner_mode};

const QEMU: u32 = 107;
const HUGETLBFS: u32 = 42477;

fn node() -> (TempDir, Root, Handle) {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let top = root.find(Path::new("/")).unwrap().unwrap();
    (dir, root, top)
}

fn file(dir: &TempDir, name: &str, uid: u32, mode: u32) {
    let path = dir.path().join(name);
    fs::write(&path, "old").unwrap();
    chown(&path, Some(uid), Some(uid)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
}

fn state(dir: &TempDir, name: &str) -> (u32, u32, u32) {
    let state = fs::symlink_metadata(dir.path().join(name)).unwrap();
    (state.uid(), state.gid(), state.mode() & 0o7777)
}

fn entry(parent: &Handle, name: &str) -> Handle {
    parent.entry(OsStr::new(name)).unwrap().unwrap()
}

/// What the file has now.
fn attributes(file: &Handle) -> FileMeta {
    let now = file.again().unwrap();
    FileMeta { uid: now.uid(), gid: now.gid(), mode: now.mode(), xattrs: now.xattrs().unwrap() }
}

fn qemus_acl() -> Acl {
    let tags =
        [(Tag::Owner, 6), (Tag::User(QEMU), 6), (Tag::OwningGroup, 4), (Tag::Mask, 6), (Tag::Other, 0)];
    Acl::new(tags.map(|(tag, bits)| AclEntry { tag, perm: Perm::from_bits(bits) }).to_vec()).unwrap()
}

#[test]
#[ignore = "needs root: make test"]
fn owner_and_mode_are_set_together() {
    let (dir, _root, top) = node();
    for old in [0o600, 0o666, 0o4755, 0o2070] {
        file(&dir, "f", 0, old);
        for (uid, gid, mode) in [(QEMU, HUGETLBFS, 0o660), (0, 0, 0o4755), (QEMU, 0, 0o2770)] {
            assert!(set_owner_mode(&entry(&top, "f"), Some(uid), Some(gid), Some(mode)).unwrap());
            assert_eq!(
                state(&dir, "f"),
                (uid, gid, mode),
                "a change of owner clears setuid, and it is set again"
            );
        }
    }
}

#[test]
#[ignore = "needs root: make test"]
fn only_what_is_asked_for_changes() {
    let (dir, _root, top) = node();
    file(&dir, "f", QEMU, 0o640);
    assert!(set_owner_mode(&entry(&top, "f"), None, Some(HUGETLBFS), None).unwrap());
    assert_eq!(state(&dir, "f"), (QEMU, HUGETLBFS, 0o640));
    assert!(!set_owner_mode(&entry(&top, "f"), Some(QEMU), Some(HUGETLBFS), None).unwrap());
    file(&dir, "suid", QEMU, 0o6755);
    assert!(set_owner_mode(&entry(&top, "suid"), Some(0), None, None).unwrap());
    assert_eq!(state(&dir, "suid"), (0, QEMU, 0o755), "what another user made setuid does not become root's");
}

/// The moments in between, as strace tells them: never wider than the old or the new state.
#[test]
#[ignore = "needs root: make test"]
fn the_mode_is_narrowed_before_the_owner_changes() {
    if std::env::var_os("VHOST_ACCORD_TRACED").is_some() {
        let (dir, _root, top) = node();
        file(&dir, "f", QEMU, 0o666);
        set_owner_mode(&entry(&top, "f"), Some(0), Some(0), Some(0o750)).unwrap();
        assert_eq!(state(&dir, "f"), (0, 0, 0o750));
        return;
    }
    let exe = std::env::current_exe().unwrap();
    let name = "the_mode_is_narrowed_before_the_owner_changes";
    let output = Command::new("strace")
        .args(["-f", "-e", "trace=fchmodat,fchownat,fchmod,chmod"])
        .arg(exe)
        .args(["--exact", name, "--ignored"])
        .env("VHOST_ACCORD_TRACED", "1")
        .output()
        .unwrap();
    let trace = String::from_utf8(output.stderr).unwrap();
    let calls: Vec<_> =
        trace.lines().filter(|line| line.contains("/proc/self/fd") || line.contains("\"\"")).collect();
    assert_eq!(calls.len(), 3, "{trace}");
    assert!(calls[0].contains("0640"), "666 & 750: {trace}");
    assert!(calls[1].contains("fchownat"), "{trace}");
    assert!(calls[2].contains("0750"), "{trace}");
}

#[test]
#[ignore = "needs root: make test"]
fn a_directory_is_made_for_others() {
    let (dir, _root, top) = node();
    let made = create_directory(&top, OsStr::new("vhost_sockets"), QEMU, HUGETLBFS, 0o2775).unwrap();
    assert_eq!((made.uid(), made.gid(), made.mode()), (QEMU, HUGETLBFS, 0o2775));
    chown(dir.path().join("vhost_sockets"), Some(0), Some(0)).unwrap();
    create_directory(&top, OsStr::new("vhost_sockets"), QEMU, HUGETLBFS, 0o2775).unwrap();
    assert_eq!(state(&dir, "vhost_sockets"), (QEMU, HUGETLBFS, 0o2775));
}

#[test]
#[ignore = "needs root: make test"]
fn owner_acl_and_label_survive_a_replacement() {
    let (dir, root, top) = node();
    file(&dir, "conf", QEMU, 0o600);
    let path = dir.path().join("conf");
    xattr::set(&path, Acl::ACCESS, &acl::bytes(&qemus_acl())).unwrap();
    xattr::set(&path, "security.selinux", b"system_u:object_r:virt_etc_t:s0\0").unwrap();
    let meta = attributes(&entry(&top, "conf"));
    assert_eq!((meta.mode, meta.xattrs.len()), (0o660, 2));
    replace_file(&top, OsStr::new("conf"), b"new", &meta).unwrap();
    assert_eq!(attributes(&entry(&top, "conf")), meta);
    let PathFact::Present { chain, id } = read_chain(&root, Path::new("/conf")).unwrap() else { panic!() };
    assert_eq!((chain[1].acl.as_ref(), id), (Some(&qemus_acl()), entry(&top, "conf").id()));
}

#[test]
#[ignore = "needs root: make test"]
fn an_inherited_acl_does_not_widen_a_replacement() {
    let (dir, _root, top) = node();
    file(&dir, "conf", 0, 0o640);
    let meta = attributes(&entry(&top, "conf"));
    xattr::set(dir.path(), Acl::DEFAULT, &acl::bytes(&qemus_acl())).unwrap();
    replace_file(&top, OsStr::new("conf"), b"new", &meta).unwrap();
    assert_eq!(attributes(&entry(&top, "conf")), meta);
}

#[test]
#[ignore = "needs root: make test"]
fn a_planted_hard_link_is_refused() {
    let (dir, _root, top) = node();
    file(&dir, "shadow", 0, 0o600);
    fs::hard_link(dir.path().join("shadow"), dir.path().join("vhu0")).unwrap();
    let error = set_owner_mode(&entry(&top, "vhu0"), Some(QEMU), None, Some(0o666)).unwrap_err();
    assert!(error.downcast_ref::<Refused>().is_some(), "{error:#}");
    assert_eq!(state(&dir, "shadow"), (0, 0, 0o600));
}

#[test]
#[ignore = "needs root: make test"]
fn a_link_that_root_did_not_make_is_not_followed() {
    let (dir, root, _top) = node();
    fs::create_dir_all(dir.path().join("var")).unwrap();
    fs::create_dir_all(dir.path().join("run")).unwrap();
    symlink("/run", dir.path().join("var/run")).unwrap();
    let refused = || {
        let error = read_chain(&root, Path::new("/var/run")).unwrap_err();
        error.downcast_ref::<UnsafePath>().is_some()
    };
    lchown(dir.path().join("var/run"), Some(QEMU), None).unwrap();
    assert!(refused());
    lchown(dir.path().join("var/run"), Some(0), None).unwrap();
    assert!(read_chain(&root, Path::new("/var/run")).is_ok());
    chown(dir.path().join("var"), Some(QEMU), None).unwrap();
    assert!(refused());
}
