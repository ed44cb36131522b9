// SPDX-License-Identifier: Apache-2.0
//! `--root DIR`: an unbooted image is provisioned and taken back, and nothing outside it is touched.
//!
//! Each run is in a mount namespace of its own in which everything but the image is read-only: what would be written
//! elsewhere fails. The image holds links that lead out of it on the host.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "image/first_boot.rs"]
mod first_boot;
#[path = "image/sections.rs"]
mod sections;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const QEMU_CONF: &str =
    "# Master configuration.\n\n#user = \"libvirt-qemu\"\n\n# The group.\n#group = \"libvirt-qemu\"\n";
const VSWITCHD: &str = "[Unit]\nDescription=vswitchd\n\n[Service]\nType=forking\nEnvironmentFile=-/etc/default/openvswitch-switch\nExecStart=/usr/share/openvswitch/scripts/ovs-ctl --no-ovsdb-server start $OVS_CTL_OPTS\n";
const OVSDB: &str = "[Unit]\nDescription=ovsdb\n\n[Service]\nType=forking\nEnvironmentFile=-/etc/default/openvswitch-switch\nExecStart=/usr/share/openvswitch/scripts/ovs-ctl --no-ovs-vswitchd start $OVS_CTL_OPTS\nRuntimeDirectory=openvswitch\n";
const PATCH: &str = "RuntimeDirectoryMode=0775\nGroup=libvirt-qemu\nUMask=0002\n";

/// An image, and beside it what must not be touched.
struct Image {
    base: tempfile::TempDir,
}

impl Image {
    fn debian() -> Image {
        let image = Image { base: tempfile::tempdir().unwrap() };
        fs::create_dir(image.base.path().join("outside")).unwrap();
        for (path, text) in [
            (
                "etc/passwd",
                "root:x:0:0:root:/root:/bin/sh\nlibvirt-qemu:x:64055:104::/var/lib/libvirt:/usr/sbin/nologin\n",
            ),
            ("etc/shadow", "root:*:19000:0:99999:7:::\nlibvirt-qemu:!:19000::::::\n"),
            ("etc/group", "root:x:0:\nkvm:x:104:\nlibvirt-qemu:x:64055:libvirt-qemu\n"),
            ("etc/gshadow", "root:*::\nkvm:!::\nlibvirt-qemu:!::libvirt-qemu\n"),
            ("etc/group-", "root:x:0:\n"),
            ("etc/login.defs", "GID_MIN 1000\nGID_MAX 60000\nSYS_GID_MAX 999\n"),
            ("etc/nsswitch.conf", "passwd: files\ngroup: files\n"),
            ("etc/libvirt/qemu.conf", QEMU_CONF),
            ("etc/default/openvswitch-switch", "# OVS_CTL_OPTS=''\n"),
            ("etc/fstab", "# <what> <where>\nnodev /dev/hugepages1G hugetlbfs pagesize=1G 0 0\n"),
            ("etc/openvswitch/system-id.conf", "x\n"),
            (
                "usr/lib/systemd/system/dev-hugepages.mount",
                "[Mount]\nWhat=hugetlbfs\nWhere=/dev/hugepages\nType=hugetlbfs\n",
            ),
            ("usr/lib/systemd/system/libvirtd.service", "[Service]\nExecStart=/usr/sbin/libvirtd\n"),
            (
                "usr/lib/systemd/system/openvswitch-switch.service",
                "[Service]\nType=oneshot\nExecStart=/bin/true\n",
            ),
            ("usr/lib/systemd/system/ovs-vswitchd.service", &format!("{VSWITCHD}{PATCH}")),
            ("usr/lib/systemd/system/ovsdb-server.service", OVSDB),
            (
                "usr/share/openvswitch/scripts/ovs-ctl",
                "start () {\n        umask 0002 && start_daemon \"$OVS_VSWITCHD_PRIORITY\" \"$OVS_VSWITCHD_WRAPPER\" \"$@\"\n}\n",
            ),
            ("etc/vhost-accord/vhost-accord.conf", "[accord]\nmodes = dpdkvhostuserclient dpdkvhostuser\n"),
        ] {
            image.write(path, text);
        }
        for directory in ["dev/hugepages", "run", "proc", "var/lib/openvswitch", "var/log/openvswitch", "tmp"]
        {
            fs::create_dir_all(image.path(directory)).unwrap();
        }
        symlink("usr/lib", image.path("lib")).unwrap();
        symlink("/run", image.path("var/run")).unwrap();
        let mode = |path: &str, mode| {
            fs::set_permissions(image.path(path), fs::Permissions::from_mode(mode)).unwrap();
        };
        mode("etc/libvirt/qemu.conf", 0o600);
        mode("etc/gshadow", 0o640);
        mode("etc/shadow", 0o640);
        chown(image.path("etc/shadow"), Some(0), Some(42)).unwrap();
        xattr::set(image.path("etc/libvirt/qemu.conf"), "user.label", b"kept").unwrap();
        image
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn root(&self) -> PathBuf {
        self.base.path().join("image")
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// Moves a directory of the image out and leaves a link to it that is absolute, as seen on the host.
    fn lead_out(&self, directory: &str) -> PathBuf {
        let outside = self.base.path().join("outside").join(directory);
        fs::create_dir_all(outside.parent().unwrap()).unwrap();
        fs::rename(self.path(directory), &outside).unwrap();
        symlink(&outside, self.path(directory)).unwrap();
        outside
    }

    /// Runs the program where only the image can be written.
    fn run(&self, command: &str) -> Output {
        let script = "mount --make-rprivate / && mount --bind \"$1\" \"$1\" && \
            findmnt -rno TARGET | grep -v -e '^/proc' -e '^/sys' -e '^/dev' -e \"^$1\" | \
            while read -r target; do mount -o remount,bind,ro \"$(printf '%b' \"$target\")\" || exit 9; done; \
            ! touch \"$2\"/written 2>/dev/null && touch \"$1\"/written && rm \"$1\"/written || exit 9; \
            exec \"$3\" $4 --root \"$1\"";
        Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(self.root())
            .arg(self.base.path().join("outside"))
            .args([env!("CARGO_BIN_EXE_vhost-accord"), command])
            .output()
            .unwrap()
    }

    fn expect(&self, command: &str, code: i32) -> String {
        let output = self.run(command);
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{command}: {text}");
        text
    }

    /// Every path of image and surroundings with type, mode, owner, attributes and content; without the backups that
    /// shadow's tools keep of the account databases.
    fn tree(&self) -> BTreeMap<PathBuf, String> {
        let mut tree = BTreeMap::new();
        let mut todo = vec![self.base.path().to_path_buf()];
        while let Some(path) = todo.pop() {
            let state = fs::symlink_metadata(&path).unwrap();
            let content = if state.is_dir() {
                todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                String::new()
            } else if state.is_symlink() {
                format!("{:?}", fs::read_link(&path).unwrap())
            } else {
                format!("{:?}", fs::read(&path).unwrap())
            };
            let attributes: Vec<_> = xattr::list(&path)
                .unwrap()
                .map(|name| (name.clone(), xattr::get(&path, &name).unwrap()))
                .collect();
            let line = format!("{:o} {}:{} {attributes:?} {content}", state.mode(), state.uid(), state.gid());
            if !path.to_string_lossy().ends_with('-') {
                tree.insert(path, line);
            }
        }
        tree
    }
}

fn same(before: &BTreeMap<PathBuf, String>, after: &BTreeMap<PathBuf, String>) {
    let paths = before.keys().chain(after.keys());
    let differing: Vec<_> = paths
        .filter(|path| before.get(*path) != after.get(*path))
        .map(|path| (path, before.get(path), after.get(path)))
        .collect();
    assert!(differing.is_empty(), "{differing:#?}");
}

/// Times of everything: what a run that writes nothing leaves.
fn times(image: &Image) -> Vec<(PathBuf, i64, i64)> {
    let time = |path: PathBuf| {
        let state = fs::symlink_metadata(&path).unwrap();
        (path, state.ctime(), state.ctime_nsec())
    };
    // The lock comes and goes in run.
    let kept = |path: &PathBuf| *path != image.path("run") && *path != image.root();
    image.tree().into_keys().filter(kept).map(time).collect()
}

#[test]
#[ignore = "needs root: make test"]
fn an_image_is_provisioned_and_taken_back_to_the_byte() {
    let image = Image::debian();
    let stock = image.tree();
    let plan = image.expect("plan", 2);
    for expected in [
        "+ group hugetlbfs with gid 42477",
        "+ /var/lib/vhost_sockets/  libvirt-qemu:hugetlbfs 2775",
        "dev-hugepages1G.mount.d/50-vhost-accord.conf",
        "+Options=pagesize=1G,gid=42477,mode=0775",
        "+group = \"hugetlbfs\"",
        "-UMask=0002",
        "-        umask 0002 && start_daemon",
        "+ExecStartPre=-+/usr/bin/vhost-accord service vswitchd-pre",
    ] {
        assert!(plan.contains(expected), "{expected}: {plan}");
    }
    let check = image.expect("check", 2);
    assert_eq!(check.lines().last(), Some("broken"));
    let fix = format!("vhost-accord apply --root {}", image.root().display());
    assert_eq!(check.matches(&fix).count(), check.matches("vhost-accord apply").count(), "{check}");
    assert!(check.contains(&fix), "{check}");
    same(&stock, &image.tree());

    image.expect("apply", 0);
    assert!(image.read("etc/group").contains("\nhugetlbfs:x:42477:"));
    assert!(image.read("etc/gshadow").contains("\nhugetlbfs:"));
    assert!(image.read("etc/libvirt/qemu.conf").contains("\ngroup = \"hugetlbfs\"\n"));
    assert_eq!(image.read("usr/lib/systemd/system/ovs-vswitchd.service"), VSWITCHD);
    let directory = fs::metadata(image.path("var/lib/vhost_sockets")).unwrap();
    assert_eq!((directory.mode() & 0o7777, directory.uid(), directory.gid()), (0o2775, 64055, 42477));
    let conf = image.path("etc/libvirt/qemu.conf");
    assert_eq!(fs::metadata(&conf).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(xattr::get(&conf, "user.label").unwrap().as_deref(), Some(b"kept".as_slice()));
    assert!(!image.path("run/vhost-accord.lock").exists());

    let (tree, before) = (image.tree(), times(&image));
    assert_eq!(image.expect("apply", 0), "Nothing to change.\n");
    assert_eq!(image.expect("plan", 0), "Nothing to change.\n");
    assert_eq!(image.expect("check", 0), "agreed\n");
    assert_eq!(times(&image), before, "the second apply wrote something");
    same(&tree, &image.tree());

    image.expect("revert", 0);
    same(&stock, &image.tree());
    assert_eq!(image.expect("revert", 0), "Nothing to revert.\n");
}

#[test]
#[ignore = "needs root: make test"]
fn an_images_group_is_renumbered_with_its_files() {
    let image = Image::debian();
    image.write("etc/group", &format!("{}hugetlbfs:x:977:libvirt-qemu\n", image.read("etc/group")));
    image.write("etc/gshadow", &format!("{}hugetlbfs:!::libvirt-qemu\n", image.read("etc/gshadow")));
    image.write("etc/passwd", &format!("{}hu:x:977:977::/:/bin/false\n", image.read("etc/passwd")));
    image.write("srv/file", "x");
    symlink("/etc/passwd", image.path("srv/link")).unwrap();
    for path in ["srv", "srv/file"] {
        chown(image.path(path), None, Some(977)).unwrap();
    }
    std::os::unix::fs::lchown(image.path("srv/link"), None, Some(977)).unwrap();
    let (stock, host) = (image.tree(), fs::metadata("/etc/passwd").unwrap().gid());
    let plan = image.expect("plan --renumber", 2);
    assert!(plan.contains("and its 3 files too:\n  /srv\n  /srv/file\n  /srv/link\n"), "{plan}");
    image.expect("apply --renumber", 0);
    assert!(image.read("etc/group").contains("\nhugetlbfs:x:42477:libvirt-qemu\n"));
    assert!(image.read("etc/passwd").contains("\nhu:x:977:42477:"));
    for path in ["srv", "srv/file", "srv/link"] {
        assert_eq!(fs::symlink_metadata(image.path(path)).unwrap().gid(), 42477, "{path}");
    }
    assert_eq!(fs::metadata("/etc/passwd").unwrap().gid(), host);
    image.expect("revert", 0);
    same(&stock, &image.tree());
}

/// An absolute link in an image is one within the image: on the host it leads elsewhere.
#[test]
#[ignore = "needs root: make test"]
fn links_that_lead_out_of_the_image_stay_in_it() {
    for directory in ["etc", "etc/systemd", "usr/lib/systemd", "var", "etc/libvirt"] {
        let image = Image::debian();
        fs::create_dir_all(image.path("etc/systemd")).unwrap();
        let outside = image.lead_out(directory);
        let before = image.tree();
        // What is named does not exist within the image: refused or left out, never followed.
        let output = image.run("apply");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code().is_some_and(|code| code != 9), "{directory}: {text}");
        image.run("revert");
        let after = image.tree();
        let inside = |tree: &BTreeMap<PathBuf, String>, within: &Path| -> BTreeMap<PathBuf, String> {
            tree.iter()
                .filter(|(path, _)| path.starts_with(within))
                .map(|(path, line)| (path.clone(), line.clone()))
                .collect()
        };
        assert!(!inside(&before, &outside).is_empty());
        same(&inside(&before, &outside), &inside(&after, &outside));
        same(&before, &after);
    }
}

/// The same link with its target within the image as well: there it is followed.
#[test]
#[ignore = "needs root: make test"]
fn absolute_links_are_followed_within_the_image() {
    let image = Image::debian();
    fs::create_dir_all(image.path("data")).unwrap();
    fs::rename(image.path("etc/libvirt"), image.path("data/libvirt")).unwrap();
    symlink("/data/libvirt", image.path("etc/libvirt")).unwrap();
    let stock = image.tree();
    image.expect("apply", 0);
    assert!(image.read("data/libvirt/qemu.conf").contains("\ngroup = \"hugetlbfs\"\n"));
    image.expect("revert", 0);
    same(&stock, &image.tree());
}

/// libvirt does not start with a group in its configuration that is not there.
#[test]
#[ignore = "needs root: make test"]
fn the_group_stays_while_a_file_that_names_it_cannot_be_put_back() {
    let image = Image::debian();
    let stock = image.tree();
    image.expect("apply", 0);
    let (file, aside) = (image.path("etc/libvirt/qemu.conf"), image.path("etc/libvirt/aside"));
    fs::rename(&file, &aside).unwrap();
    fs::create_dir(&file).unwrap();
    let said = image.expect("revert", 2);
    assert!(said.contains("failed: ") && said.contains("kept until the rest is restored"), "{said}");
    assert!(image.read("etc/group").contains("hugetlbfs:x:42477:"));
    fs::remove_dir(&file).unwrap();
    fs::rename(&aside, &file).unwrap();
    image.expect("revert", 0);
    same(&stock, &image.tree());
}

/// Else its number has no name, and the next group that gets it may write where VMs have their sockets.
#[test]
#[ignore = "needs root: make test"]
fn the_group_stays_while_a_directory_with_its_number_is_not_empty() {
    let image = Image::debian();
    let stock = image.tree();
    image.expect("apply", 0);
    image.write("var/lib/vhost_sockets/of_a_vm", "");
    let said = image.expect("revert", 1);
    let kept = "group hugetlbfs: in use: it is the group of a user or directory that is still there";
    assert!(said.contains("in use: not empty (1 inside)") && said.contains(kept), "{said}");
    assert!(image.read("etc/group").contains("\nhugetlbfs:x:42477:"));
    fs::remove_file(image.path("var/lib/vhost_sockets/of_a_vm")).unwrap();
    image.expect("revert", 0);
    same(&stock, &image.tree());
}

#[test]
#[ignore = "needs root: make test"]
fn an_image_with_nothing_in_it_is_refused_or_left_alone() {
    let image = Image { base: tempfile::tempdir().unwrap() };
    fs::create_dir(image.base.path().join("outside")).unwrap();
    fs::create_dir(image.root()).unwrap();
    // Nowhere to lock, then nowhere for the journal.
    for (directory, missing) in [(None, "/run does not exist"), (Some("run"), "/var/lib does not exist")] {
        if let Some(name) = directory {
            fs::create_dir(image.path(name)).unwrap();
        }
        let before = image.tree();
        let output = image.run("apply");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.lines().count() == 1 && text.contains(missing), "{text}");
        same(&before, &image.tree());
    }
}
