// SPDX-License-Identifier: Apache-2.0
//! What the root handle follows, and what it refuses to.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vhost_accord::base::root::{Handle, Root, UnsafePath};
use vhost_accord::facts::paths::{PathFact, read_chain};

/// A tree with `/run/openvswitch/db.sock` (a file here) and `/var/run -> /run`, as nodes have them.
fn tree() -> (TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("run/openvswitch")).unwrap();
    fs::create_dir_all(dir.path().join("var")).unwrap();
    fs::write(dir.path().join("run/openvswitch/db.sock"), "inside").unwrap();
    for name in ["run", "var", "run/openvswitch"] {
        chmod(&dir, name, 0o755);
    }
    symlink("/run", dir.path().join("var/run")).unwrap();
    let root = Root::open(dir.path()).unwrap();
    (dir, root)
}

fn chmod(dir: &TempDir, name: &str, mode: u32) {
    fs::set_permissions(dir.path().join(name), Permissions::from_mode(mode)).unwrap();
}

fn paths(handles: &[Handle]) -> Vec<&str> {
    handles.iter().map(|handle| handle.path().to_str().unwrap()).collect()
}

fn unsafe_path(root: &Root, path: &str) -> UnsafePath {
    let error = root.find(Path::new(path)).unwrap_err();
    error.downcast_ref::<UnsafePath>().unwrap_or_else(|| panic!("{error:#}")).clone()
}

#[test]
fn a_trusted_link_is_followed_inside_the_root() {
    let (_dir, root) = tree();
    let path = Path::new("/var/run/openvswitch/db.sock");
    let found = root.find(path).unwrap().unwrap();
    assert_eq!(found.path(), Path::new("/run/openvswitch/db.sock"));
    assert_eq!(root.read(path).unwrap().unwrap(), b"inside");
    let chain = root.reach(path).unwrap().passed;
    assert_eq!(paths(&chain), ["/", "/var", "/run", "/run/openvswitch", "/run/openvswitch/db.sock"]);
}

#[test]
fn a_link_that_climbs_stays_inside_the_root() {
    let (dir, root) = tree();
    symlink("../../../../run/openvswitch", dir.path().join("var/climbs")).unwrap();
    let chain = root.reach(Path::new("/var/climbs/db.sock")).unwrap().passed;
    assert_eq!(paths(&chain), ["/", "/var", "/run", "/run/openvswitch", "/run/openvswitch/db.sock"]);
    symlink("/", dir.path().join("var/top")).unwrap();
    assert_eq!(paths(&root.reach(Path::new("/var/top")).unwrap().passed), ["/var", "/"]);
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), dir.path().join("var/out")).unwrap();
    assert!(
        root.find(Path::new("/var/out")).unwrap().is_none(),
        "an absolute target outside is looked for inside"
    );
}

#[test]
fn a_link_itself_can_be_asked_for() {
    let (_dir, root) = tree();
    let link = root.find_nofollow(Path::new("/var/run")).unwrap().unwrap();
    assert_eq!((link.path(), link.kind()), (Path::new("/var/run"), vhost_accord::base::root::Kind::Symlink));
}

#[test]
fn a_link_where_others_may_write_is_refused() {
    for mode in [0o1777, 0o775] {
        let (dir, root) = tree();
        chmod(&dir, "var", mode);
        let refused = unsafe_path(&root, "/var/run/openvswitch");
        assert_eq!(refused.path, PathBuf::from("/var/run"), "{refused}");
        assert!(root.reach(Path::new("/var/run")).is_err());
        assert!(root.find_nofollow(Path::new("/var/run")).is_ok(), "not followed, nothing to refuse");
    }
}

#[test]
fn unclean_paths_are_refused() {
    let (_dir, root) = tree();
    for path in ["/var/../run", "/..", "run", "", "/run/\0"] {
        assert!(root.find(Path::new(path)).is_err(), "{path:?}");
    }
    assert!(root.find(Path::new("//run/./openvswitch/")).unwrap().is_some());
    let run = root.find(Path::new("/run")).unwrap().unwrap();
    for name in ["..", ".", "", "openvswitch/db.sock"] {
        assert!(run.entry(name.as_ref()).is_err(), "{name:?}");
    }
}

#[test]
fn loops_end() {
    let (dir, root) = tree();
    symlink("/var/b", dir.path().join("var/a")).unwrap();
    symlink("a", dir.path().join("var/b")).unwrap();
    let error = root.find(Path::new("/var/a")).unwrap_err();
    assert!(error.to_string().contains("too many symlinks"), "{error:#}");
}

#[test]
fn what_is_missing_is_told() {
    let (_dir, root) = tree();
    assert!(root.find(Path::new("/run/libvirt/qemu")).unwrap().is_none());
    assert!(root.reach(Path::new("/run/libvirt/qemu")).unwrap().missing.is_some());
    assert!(root.read(Path::new("/nothing")).unwrap().is_none());
    assert!(root.list(Path::new("/nothing")).unwrap().is_empty());
    let reached = root.reach(Path::new("/var/run/libvirt/qemu")).unwrap();
    assert_eq!(reached.missing, Some(PathBuf::from("/run/libvirt")));
    assert_eq!(paths(&reached.passed), ["/", "/var", "/run"]);
    let below_a_file = root.reach(Path::new("/run/openvswitch/db.sock/x")).unwrap();
    assert_eq!(below_a_file.missing, Some(PathBuf::from("/run/openvswitch/db.sock/x")));
}

#[test]
fn state_is_read_again_on_request() {
    let (dir, root) = tree();
    let run = root.find(Path::new("/run")).unwrap().unwrap();
    chmod(&dir, "run", 0o700);
    assert_eq!((run.mode(), run.again().unwrap().mode()), (0o755, 0o700));
    assert_eq!(run.again().unwrap().id(), run.id());
}

#[test]
fn what_stands_along_a_path_is_read() {
    let (dir, root) = tree();
    chmod(&dir, "run/openvswitch", 0o2750);
    let present = read_chain(&root, Path::new("/var/run/openvswitch/db.sock")).unwrap();
    assert_eq!(present.node().unwrap().path, Path::new("/run/openvswitch/db.sock"));
    let PathFact::Present { chain, id } = present else { panic!("{present:?}") };
    let modes: Vec<_> = chain.iter().skip(1).map(|node| node.mode).collect();
    assert_eq!(modes[..3], [0o755, 0o755, 0o2750]);
    assert!(chain.iter().all(|node| !node.read_only && node.acl.is_none()));
    assert_eq!(id, root.find(Path::new("/run/openvswitch/db.sock")).unwrap().unwrap().id());
    let missing = read_chain(&root, Path::new("/var/run/libvirt/qemu")).unwrap();
    assert_eq!(missing.node(), None);
    let PathFact::Missing { first, above } = missing else { panic!("{missing:?}") };
    assert_eq!((first, &above[2]), (PathBuf::from("/run/libvirt"), &chain[2]));
}

/// Shapes of paths that are no path for us, or no other than they say.
#[test]
fn odd_paths_lead_nowhere_else() {
    use std::os::unix::ffi::OsStrExt;
    let live = Root::open(Path::new("/")).unwrap();
    // Magic links of /proc lead out of every tree, and are not text: they are met as links, in a directory of the process.
    let magic = live.find(Path::new("/proc/self/fd/0/x"));
    assert!(!matches!(magic, Ok(Some(_))), "{magic:?}");
    let (dir, root) = tree();
    symlink("/proc/self/root", dir.path().join("run/magic")).unwrap();
    assert!(root.find(Path::new("/run/magic/etc")).unwrap().is_none(), "inside, there is no such thing");
    let longest = "n".repeat(255);
    fs::write(dir.path().join("run").join(&longest), "x").unwrap();
    assert!(root.find(&Path::new("/run").join(&longest)).unwrap().is_some());
    for longer in ["n".repeat(256), "n/".repeat(3000)] {
        let found = root.find(&Path::new("/run").join(&longer));
        assert!(!matches!(found, Ok(Some(_))), "{found:?}");
    }
    let odd = std::ffi::OsStr::from_bytes(b"\xff\x9b\n\x1b[2J");
    fs::write(dir.path().join("run").join(odd), "x").unwrap();
    assert!(root.list(Path::new("/run")).unwrap().contains(&odd.to_os_string()));
    assert!(root.find(&Path::new("/run").join(odd)).unwrap().is_some());
}
