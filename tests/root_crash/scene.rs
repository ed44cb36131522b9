// SPDX-License-Identifier: Apache-2.0
//! The images that are changed and taken back, and what each file of them may be on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::libc;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use super::trace::{self, Call, Run};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vhost-accord");

/// Every path with mode, owner, attributes and content.
pub type Tree = BTreeMap<PathBuf, String>;

/// The demo's image alone: what a Debian node gets with nothing configured.
pub const DEFAULT: &str = "default";
/// All kinds of changes but a new number: another dataplane user, both port types, old patches in packaged files.
pub const EVERYTHING: &str = "everything";
/// The group is there with another number, and files have it.
pub const RENUMBERED: &str = "renumbered";

const EXTRA: [(&str, &str); 6] = [
    ("etc/shadow", "root:*:19000:0:99999:7:::\nlibvirt-qemu:!:19000::::::\n"),
    ("etc/gshadow", "root:*::\nkvm:!::\nlibvirt-qemu:!::libvirt-qemu\n"),
    ("etc/group-", "root:x:0:\n"),
    ("etc/login.defs", "GID_MIN 1000\nGID_MAX 60000\nSYS_UID_MIN 100\nSYS_UID_MAX 999\nSYS_GID_MAX 999\n"),
    ("etc/logrotate.d/openvswitch-switch", "/var/log/openvswitch/*.log {\n    create 640 root adm\n}\n"),
    (
        "usr/share/openvswitch/scripts/ovs-ctl",
        "start () {\n        umask 0002 && start_daemon \"$OVS_VSWITCHD_PRIORITY\" \"$OVS_VSWITCHD_WRAPPER\" \"$@\"\n}\n",
    ),
];

pub struct Scene {
    pub name: &'static str,
    base: tempfile::TempDir,
    pub stock: Tree,
    pub applied: Tree,
    /// What account files are between whole runs of the tools that change them.
    accounts: BTreeMap<PathBuf, BTreeSet<String>>,
}

/// In memory, if it can be: the disk has nothing to do with it.
fn somewhere() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let is_memory = statfs(memory).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC);
    if is_memory { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

pub fn copy(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    let status = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(status.success());
}

pub fn tree(image: &Path) -> Tree {
    let (mut tree, mut todo) = (Tree::new(), vec![image.to_path_buf()]);
    while let Some(path) = todo.pop() {
        let state = fs::symlink_metadata(&path).unwrap();
        let content = if state.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            String::new()
        } else if state.is_symlink() {
            format!("{:?}", fs::read_link(&path).unwrap())
        } else {
            String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
        };
        let content = if path.to_string_lossy().contains("etc/shadow") { undated(&content) } else { content };
        let names = xattr::list(&path).unwrap();
        let xattrs: Vec<_> = names.map(|name| (name.clone(), xattr::get(&path, &name).unwrap())).collect();
        let line = format!("{:o} {}:{} {xattrs:?}\n{content}", state.mode(), state.uid(), state.gid());
        tree.insert(path.strip_prefix(image).unwrap().to_path_buf(), line);
    }
    tree
}

/// useradd writes the day into shadow(5): a run may last until after midnight.
fn undated(content: &str) -> String {
    let today = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 86400;
    content.replace(&format!(":{today}:"), ":TODAY:").replace(&format!(":{}:", today - 1), ":TODAY:")
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn append(path: &Path, text: &str) {
    write(path, &format!("{}{text}", fs::read_to_string(path).unwrap_or_default()));
}

fn build(name: &str, image: &Path) {
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/demo/image"), image);
    for directory in
        ["run", "dev/hugepages", "tmp", "proc", "var/lib", "etc/openvswitch", "var/log/openvswitch"]
    {
        fs::create_dir_all(image.join(directory)).unwrap();
    }
    xattr::set(image.join("etc/libvirt/qemu.conf"), "trusted.label", b"kept").unwrap();
    if name == DEFAULT {
        return;
    }
    EXTRA.iter().for_each(|(path, text)| write(&image.join(path), text));
    fs::set_permissions(image.join("etc/shadow"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(image.join("etc/gshadow"), fs::Permissions::from_mode(0o640)).unwrap();
    let config = image.join("etc/vhost-accord/vhost-accord.conf");
    if name == EVERYTHING {
        write(&config, "[accord]\nmodes = dpdkvhostuserclient dpdkvhostuser\ndataplane-user = openvswitch\n");
        append(
            &image.join("usr/lib/systemd/system/ovs-vswitchd.service"),
            "RuntimeDirectoryMode=0775\nGroup=libvirt-qemu\nUMask=0002\n",
        );
        return;
    }
    write(&config, "[accord]\ngid-mismatch = renumber\n");
    append(&image.join("etc/group"), "hugetlbfs:x:977:libvirt-qemu\n");
    append(&image.join("etc/gshadow"), "hugetlbfs:!::libvirt-qemu\n");
    append(&image.join("etc/passwd"), "hu:x:977:977::/:/bin/false\n");
    append(&image.join("etc/shadow"), "hu:!:19000::::::\n");
    for (file, mode) in [("srv/plain", 0o640), ("srv/special", 0o2755)] {
        write(&image.join(file), file);
        std::os::unix::fs::chown(image.join(file), None, Some(977)).unwrap();
        fs::set_permissions(image.join(file), fs::Permissions::from_mode(mode)).unwrap();
    }
}

impl Scene {
    pub fn new(name: &'static str) -> Scene {
        let base = somewhere();
        let path = |name: &str| base.path().join(name);
        build(name, &path("stock"));
        let stock = tree(&path("stock"));
        copy(&path("stock"), &path("applied"));
        let mut scene = Scene { name, base, stock, applied: Tree::new(), accounts: BTreeMap::new() };
        scene.note_accounts("stock");
        scene.rehearse("applied", "apply");
        scene.applied = tree(&scene.path("applied"));
        assert_ne!(scene.applied, scene.stock);
        copy(&scene.path("applied"), &scene.path("rehearsal"));
        scene.rehearse("rehearsal", "revert");
        scene
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    /// An image to try it on.
    pub fn fresh(&self, command: &str, to: &str) {
        copy(&self.path(if command == "apply" { "stock" } else { "applied" }), &self.path(to));
    }

    pub fn words<'a>(command: &'a str, image: &'a str) -> [&'a str; 4] {
        [PROGRAM, command, "--root", image]
    }

    pub fn run(&self, image: &str, command: &str) -> Run {
        let output = Command::new(PROGRAM).args([command, "--root"]).arg(self.path(image)).output().unwrap();
        Run {
            reached: false,
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            error: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// All calls of an undisturbed run.
    pub fn calls(&self, command: &str) -> Vec<Call> {
        let (image, mut calls) = (self.path("rehearsal"), Vec::new());
        self.fresh(command, "rehearsal");
        trace::run(&Scene::words(command, image.to_str().unwrap()), None, |call| calls.push(*call));
        calls
    }

    fn rehearse(&mut self, image: &str, command: &str) {
        let path = self.path(image);
        let ended = trace::run(&Scene::words(command, path.to_str().unwrap()), None, |call| {
            if call.at.process > 0 && call.at.number == libc::SYS_exit_group {
                self.note_accounts(image);
            }
        });
        assert_eq!(ended.code, Some(0), "{}: {command}: {ended:?}", self.name);
    }

    fn note_accounts(&mut self, image: &str) {
        let found = tree(&self.path(image));
        for (path, line) in found.into_iter().filter(|(path, _)| is_account(path)) {
            self.accounts.entry(path).or_default().insert(line);
        }
    }

    /// Is each file of others the old one or the new one, whole? Says which is not.
    pub fn torn(&self, now: &Tree) -> Option<String> {
        let files = self.stock.iter().filter(|(path, _)| !self.path("stock").join(path).is_dir());
        let torn = |(path, old): (&PathBuf, &String)| {
            let found = now.get(path);
            // The kernel takes setuid and setgid with the group; they are given back right after.
            let same =
                |other: &String| found.is_some_and(|now| now == other || *now == without_set_id(other));
            let whole = same(old)
                || self.applied.get(path).is_some_and(same)
                || found.is_some_and(|now| is_account(path) && self.is_whole(path, old, now));
            (!whole && !is_backup(path))
                .then(|| format!("{} is neither old nor new: {found:?}", path.display()))
        };
        files.filter_map(torn).next()
    }

    /// Accounts come and go one by one: all lines that were there from the beginning, and no line that never stood there.
    fn is_whole(&self, path: &Path, old: &str, now: &str) -> bool {
        let Some(states) = self.accounts.get(path) else { return false };
        let known: BTreeSet<&str> = states.iter().flat_map(|state| state.lines()).collect();
        let changed = |line: &str| states.iter().any(|state| state.lines().all(|other| other != line));
        now.ends_with('\n')
            && now.lines().all(|line| known.contains(line))
            && old.lines().all(|line| changed(line) || now.lines().any(|other| other == line))
    }
}

pub fn is_account(path: &Path) -> bool {
    ["group", "gshadow", "passwd", "shadow", "subuid", "subgid"]
        .iter()
        .any(|name| path == Path::new("etc").join(name))
}

fn without_set_id(line: &str) -> String {
    let (mode, rest) = line.split_once(' ').unwrap();
    format!("{:o} {rest}", u32::from_str_radix(mode, 8).unwrap() & !0o6000)
}

/// The backups that shadow's tools keep of the databases, for themselves.
pub fn is_backup(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.strip_suffix('-').is_some_and(|path| is_account(Path::new(path)))
}

/// The empty file that lckpwdf(3) locks. libc makes it once and never removes it.
pub fn is_libcs_lock(path: &Path) -> bool {
    path == Path::new("etc/.pwd.lock")
}
