// SPDX-License-Identifier: Apache-2.0
//! The writing primitives, as far as they can be shown without root.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{getegid, geteuid};
use tempfile::TempDir;
use vhost_accord::base::root::{Handle, Root};
use vhost_accord::write::{
    FileMeta, Refused, create_directory, remove_empty_directory, remove_file, replace_file, set_owner_mode,
    temporary_name,
};

/// An empty node: its directory, and the handle of its root.
fn node() -> (TempDir, Handle) {
    node_in(&std::env::temp_dir())
}

/// One where files can have attributes of users: a tmpfs, as /tmp may be, has them since Linux 6.6 only.
fn node_with_attributes() -> (TempDir, Handle) {
    node_in(Path::new(env!("CARGO_TARGET_TMPDIR")))
}

fn node_in(place: &Path) -> (TempDir, Handle) {
    let dir = tempfile::tempdir_in(place).unwrap();
    let top = Root::open(dir.path()).unwrap().find(Path::new("/")).unwrap().unwrap();
    (dir, top)
}

fn entry(parent: &Handle, name: &str) -> Handle {
    parent.entry(OsStr::new(name)).unwrap().unwrap()
}

fn me() -> (u32, u32) {
    (geteuid().as_raw(), getegid().as_raw())
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn names(dir: &TempDir) -> Vec<OsString> {
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

fn is_refused<T: std::fmt::Debug>(result: anyhow::Result<T>) -> String {
    let error = result.unwrap_err();
    assert!(error.downcast_ref::<Refused>().is_some(), "{error:#}");
    error.to_string()
}

fn write(dir: &TempDir, name: &str, content: &str, mode: u32) {
    fs::write(dir.path().join(name), content).unwrap();
    fs::set_permissions(dir.path().join(name), Permissions::from_mode(mode)).unwrap();
}

#[test]
fn mode_is_set_once() {
    let (dir, top) = node();
    let listener = UnixListener::bind(dir.path().join("vhu0")).unwrap();
    write(&dir, "file", "", 0o600);
    fs::create_dir(dir.path().join("sockets")).unwrap();
    for (name, wanted) in [("vhu0", 0o770), ("file", 0o640), ("sockets", 0o2775)] {
        let handle = entry(&top, name);
        assert!(set_owner_mode(&handle, None, None, Some(wanted)).unwrap(), "{name}");
        assert_eq!(mode(dir.path().join(name)), wanted, "{name}");
        assert!(!set_owner_mode(&handle, Some(me().0), None, Some(wanted)).unwrap(), "{name}: nothing to do");
    }
    drop(listener);
}

#[test]
fn what_is_held_is_changed_whatever_has_its_name() {
    let (dir, top) = node();
    write(&dir, "file", "", 0o600);
    write(&dir, "victim", "", 0o600);
    let held = entry(&top, "file");
    fs::rename(dir.path().join("file"), dir.path().join("moved")).unwrap();
    symlink("victim", dir.path().join("file")).unwrap();
    assert!(set_owner_mode(&held, None, None, Some(0o644)).unwrap());
    assert_eq!((mode(dir.path().join("moved")), mode(dir.path().join("victim"))), (0o644, 0o600));
}

#[test]
fn links_are_refused() {
    let (dir, top) = node();
    write(&dir, "file", "", 0o600);
    symlink("file", dir.path().join("symlink")).unwrap();
    fs::hard_link(dir.path().join("file"), dir.path().join("planted")).unwrap();
    let why = is_refused(set_owner_mode(&entry(&top, "planted"), None, None, Some(0o666)));
    assert_eq!(why, "/planted: a file with 2 hard links, not touched");
    is_refused(set_owner_mode(&entry(&top, "symlink"), None, None, Some(0o666)));
    assert_eq!(mode(dir.path().join("file")), 0o600);
    let held = entry(&top, "planted");
    fs::remove_file(dir.path().join("planted")).unwrap();
    assert!(
        set_owner_mode(&held, None, None, Some(0o640)).unwrap(),
        "links are counted now, not when it was found"
    );
}

#[test]
fn an_error_names_path_and_call() {
    let (_dir, _top) = node();
    let proc = Root::open(Path::new("/proc")).unwrap().find(Path::new("/self/status")).unwrap().unwrap();
    let error = set_owner_mode(&proc, None, None, Some(0o666)).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.starts_with("setting the mode of /") && text.contains("(fchmodat): E"), "{text}");
    assert!(error.downcast_ref::<Errno>().is_some());
}

#[test]
fn directories_are_made_or_adjusted() {
    let (dir, top) = node();
    let (uid, gid) = me();
    let made = create_directory(&top, OsStr::new("sockets"), uid, gid, 0o2770).unwrap();
    assert_eq!((made.uid(), made.gid(), made.mode()), (uid, gid, 0o2770));
    fs::write(dir.path().join("sockets/vhu0"), "").unwrap();
    let again = create_directory(&top, OsStr::new("sockets"), uid, gid, 0o0750).unwrap();
    assert_eq!((again.id(), again.mode()), (made.id(), 0o0750));
    assert!(dir.path().join("sockets/vhu0").exists());
}

#[test]
fn directories_are_not_made_elsewhere() {
    let (dir, top) = node();
    let (uid, gid) = me();
    write(&dir, "file", "content", 0o600);
    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    symlink("elsewhere", dir.path().join("link")).unwrap();
    let untouched = fs::metadata(dir.path().join("elsewhere")).unwrap().modified().unwrap();
    symlink("nothing", dir.path().join("dangling")).unwrap();
    for name in ["file", "link", "dangling"] {
        is_refused(create_directory(&top, OsStr::new(name), uid, gid, 0o755));
    }
    for name in ["link/below", "..", ".", "", "elsewhere/below"] {
        assert!(create_directory(&top, OsStr::new(name), uid, gid, 0o755).is_err(), "{name}");
    }
    let elsewhere = fs::metadata(dir.path().join("elsewhere")).unwrap();
    assert_eq!(elsewhere.modified().unwrap(), untouched, "not even for a moment");
    assert_eq!(
        (mode(dir.path().join("elsewhere")), mode(dir.path().join("file"))),
        (0o755 & !umask(), 0o600)
    );
    assert_eq!(names(&dir), ["dangling", "elsewhere", "file", "link"]);
}

/// From the state of this process: asking by `umask(2)` would change it.
/// What the file has now.
fn attributes(file: &Handle) -> FileMeta {
    let now = file.again().unwrap();
    FileMeta { uid: now.uid(), gid: now.gid(), mode: now.mode(), xattrs: now.xattrs().unwrap() }
}

fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap();
    u32::from_str_radix(value.trim(), 8).unwrap()
}

#[test]
fn a_file_is_replaced_whole() {
    let (dir, top) = node_with_attributes();
    let (uid, gid) = me();
    write(&dir, "qemu.conf", "old", 0o640);
    xattr::set(dir.path().join("qemu.conf"), "user.note", b"kept").unwrap();
    let old = entry(&top, "qemu.conf");
    let meta = attributes(&old);
    assert_eq!(meta.mode, 0o640);
    assert!(meta.xattrs.contains(&("user.note".into(), b"kept".to_vec())));
    let mut reader = fs::File::open(dir.path().join("qemu.conf")).unwrap();
    replace_file(&top, OsStr::new("qemu.conf"), b"new", &meta).unwrap();
    let new = entry(&top, "qemu.conf");
    assert_eq!((new.read().unwrap(), attributes(&new)), (b"new".to_vec(), meta));
    assert_ne!(new.id(), old.id());
    let mut seen = String::new();
    std::io::Read::read_to_string(&mut reader, &mut seen).unwrap();
    assert_eq!(seen, "old", "who had it open reads on in the old one");
    replace_file(&top, OsStr::new("fresh"), b"", &FileMeta::plain(uid, gid, 0o604)).unwrap();
    assert_eq!(
        (mode(dir.path().join("fresh")), names(&dir)),
        (0o604, vec!["fresh".into(), "qemu.conf".into()])
    );
}

#[test]
fn what_a_killed_run_left_is_removed_first() {
    let (dir, top) = node();
    let (uid, gid) = me();
    write(&dir, "victim", "untouched", 0o600);
    symlink("victim", dir.path().join(".conf.vhost-accord-new")).unwrap();
    replace_file(&top, OsStr::new("conf"), b"new", &FileMeta::plain(uid, gid, 0o644)).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("conf")).unwrap(), "new");
    assert_eq!(fs::read_to_string(dir.path().join("victim")).unwrap(), "untouched");
    assert_eq!(names(&dir), ["conf", "victim"]);
}

#[test]
fn a_failed_replacement_leaves_the_old_file() {
    let (dir, top) = node();
    let (uid, gid) = me();
    write(&dir, "conf", "old", 0o640);
    let mut meta = FileMeta::plain(uid, gid, 0o644);
    meta.xattrs.push(("nonsense.name".into(), b"refused by every filesystem".to_vec()));
    let error = replace_file(&top, OsStr::new("conf"), b"new", &meta).unwrap_err();
    assert!(format!("{error:#}").contains("nonsense.name"), "{error:#}");
    assert_eq!(fs::read_to_string(dir.path().join("conf")).unwrap(), "old");
    assert_eq!((names(&dir), mode(dir.path().join("conf"))), (vec!["conf".into()], 0o640));
    fs::create_dir(dir.path().join("directory")).unwrap();
    symlink("conf", dir.path().join("link")).unwrap();
    for name in ["directory", "link"] {
        is_refused(replace_file(&top, OsStr::new(name), b"new", &FileMeta::plain(uid, gid, 0o644)));
    }
    assert_eq!(names(&dir), ["conf", "directory", "link"]);
}

#[test]
fn names_of_any_length_and_bytes_are_replaced() {
    let (dir, top) = node();
    let (uid, gid) = me();
    let longest = OsString::from("n".repeat(255));
    assert_eq!(temporary_name(&longest).len(), 255);
    assert_eq!(temporary_name(OsStr::new("a")), ".a.vhost-accord-new");
    for name in [longest.as_os_str(), OsStr::from_bytes(b"not \xff utf-8\n")] {
        replace_file(&top, name, b"content", &FileMeta::plain(uid, gid, 0o600)).unwrap();
        assert_eq!(fs::read(dir.path().join(name)).unwrap(), b"content");
    }
    assert_eq!(names(&dir).len(), 2);
}

#[test]
fn attributes_are_restored_exactly() {
    let (dir, top) = node_with_attributes();
    write(&dir, "conf", "", 0o644);
    let path = dir.path().join("conf");
    xattr::set(&path, "user.kept", b"before").unwrap();
    let handle = entry(&top, "conf");
    let before = handle.xattrs().unwrap();
    xattr::set(&path, "user.kept", b"after").unwrap();
    xattr::set(&path, "user.added", b"later").unwrap();
    // The kernel's own seals are not carried over: asking for one that cannot be set must not fail.
    let mut sealed = before.clone();
    sealed.push(("security.evm".into(), vec![1, 2, 3]));
    let like = FileMeta { xattrs: sealed, ..attributes(&handle) };
    replace_file(&top, OsStr::new("conf"), b"", &like).unwrap();
    assert_eq!(entry(&top, "conf").xattrs().unwrap(), before);
}

#[test]
fn only_the_expected_file_is_removed() {
    let (dir, top) = node();
    write(&dir, "vhu0", "old", 0o600);
    let old = entry(&top, "vhu0");
    // The old one is kept under another name: its inode's number must not be given to the new one.
    fs::rename(dir.path().join("vhu0"), dir.path().join("old")).unwrap();
    write(&dir, "vhu0", "new", 0o600);
    is_refused(remove_file(&top, OsStr::new("vhu0"), old.id()));
    assert!(dir.path().join("vhu0").exists());
    assert!(remove_file(&top, OsStr::new("old"), old.id()).unwrap());
    assert!(!remove_file(&top, OsStr::new("old"), old.id()).unwrap(), "nothing there");
    symlink("vhu0", dir.path().join("link")).unwrap();
    assert!(remove_file(&top, OsStr::new("link"), entry(&top, "link").id()).unwrap());
    assert_eq!(names(&dir), ["vhu0"], "the link went, not what it led to");
}

#[test]
fn only_empty_directories_are_removed() {
    let (dir, top) = node();
    fs::create_dir_all(dir.path().join("sockets/below")).unwrap();
    write(&dir, "file", "", 0o600);
    let error = remove_empty_directory(&top, OsStr::new("sockets")).unwrap_err();
    assert_eq!(error.downcast_ref::<Errno>(), Some(&Errno::ENOTEMPTY), "{error:#}");
    is_refused(remove_empty_directory(&top, OsStr::new("file")));
    is_refused(remove_file(&top, OsStr::new("sockets"), entry(&top, "sockets").id()));
    fs::remove_dir(dir.path().join("sockets/below")).unwrap();
    assert!(remove_empty_directory(&top, OsStr::new("sockets")).unwrap());
    assert!(!remove_empty_directory(&top, OsStr::new("sockets")).unwrap(), "nothing there");
}
