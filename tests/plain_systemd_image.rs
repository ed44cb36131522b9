// SPDX-License-Identifier: Apache-2.0
//! The units of an unbooted image.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vhost_accord::base::root::Root;
use vhost_accord::systemd::{Act, UnitFact, connect};

struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Tree {
        Tree(tempfile::tempdir().unwrap())
    }

    fn path(&self, path: &str) -> PathBuf {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn file(&self, path: &str, text: &str) {
        std::fs::write(self.path(path), text).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        symlink(target, self.path(path)).unwrap();
    }

    fn unit(&self, name: &str) -> Option<UnitFact> {
        let root = Root::open(self.0.path()).unwrap();
        connect(&root).unwrap().unit(name).unwrap()
    }
}

const OVSDB: &str = "[Unit]\nDefaultDependencies=no\n[Service]\nType=forking\nUMask=0027\nGroup=a\n\
    EnvironmentFile=-/etc/default/openvswitch-switch\nEnvironment=A=1 \"B=2 3\"\nEnvironment=A=4\n\
    RuntimeDirectory=openvswitch\nRuntimeDirectoryPreserve=yes\nExecStartPre=-/bin/sh -c 'a b'\n\
    ExecStart=/usr/share/ovs-ctl \\\n  start $OVS_CTL_OPTS\n";

#[test]
fn merges_a_unit_with_its_drop_ins() {
    let tree = Tree::new();
    tree.file("usr/lib/systemd/system/ovsdb-server.service", OVSDB);
    tree.file("usr/lib/systemd/system/ovsdb-server.service.d/20-b.conf", "[Service]\nGroup=masked\n");
    tree.file("etc/systemd/system/ovsdb-server.service.d/20-b.conf", "[Service]\nGroup=b\n");
    tree.file(
        "etc/systemd/system/ovsdb-server.service.d/10-a.conf",
        "[Service]\nGroup=c\nUMask=0002\nEnvironmentFile=\n",
    );
    tree.file("etc/systemd/system/ovsdb-server.service.d/30-c.conf.bak", "[Service]\nGroup=d\n");
    tree.file(
        "etc/systemd/system/service.d/05-all.conf",
        "[Service]\nRuntimeDirectory=\nRuntimeDirectory=x y\n",
    );
    tree.link("etc/systemd/system/ovsdb-server.service.d/40-d.conf", "/dev/null");
    tree.file("usr/lib/systemd/system/ovsdb-server.service.d/40-d.conf", "[Service]\nGroup=e\n");
    let unit = tree.unit("ovsdb-server.service").unwrap();
    assert_eq!((unit.group.as_deref(), unit.umask), (Some("b"), 0o002));
    let drop_ins =
        ["service.d/05-all.conf", "ovsdb-server.service.d/10-a.conf", "ovsdb-server.service.d/20-b.conf"];
    let base = Path::new("/etc/systemd/system");
    assert_eq!(unit.drop_ins, drop_ins.map(|name| base.join(name)));
    assert_eq!(unit.fragment.as_deref(), Some(Path::new("/usr/lib/systemd/system/ovsdb-server.service")));
    assert_eq!(unit.environment, ["A=4", "B=2 3"]);
    assert!(unit.environment_files.is_empty() && !unit.default_dependencies);
    assert_eq!(unit.runtime_directory, ["x", "y"]);
    assert_eq!(unit.runtime_directory_preserve, "yes");
    assert_eq!(unit.exec_start_pre, [["/bin/sh", "-c", "a b"]]);
    assert_eq!(unit.exec_start, [["/usr/share/ovs-ctl", "start", "$OVS_CTL_OPTS"]]);
    assert_eq!((unit.load_state.as_str(), unit.unit_file_state.as_str()), ("loaded", "static"));
}

#[test]
fn the_administrators_file_replaces_the_packages() {
    let tree = Tree::new();
    tree.file("usr/lib/systemd/system/a.service", "[Service]\nUser=package\n");
    tree.file("etc/systemd/system/a.service", "[Service]\nUser=admin\n");
    assert_eq!(tree.unit("a.service").unwrap().user.as_deref(), Some("admin"));
    tree.file("run/systemd/system/b.service", "[Service]\n");
    assert_eq!(tree.unit("b.service"), None);
}

#[test]
fn follows_aliases_within_the_image_only() {
    let tree = Tree::new();
    tree.file(
        "usr/lib/systemd/system/real.service",
        "[Service]\nUser=x\n[Install]\nWantedBy=multi-user.target\n",
    );
    tree.link("etc/systemd/system/alias.service", "/usr/lib/systemd/system/real.service");
    tree.file("etc/systemd/system/alias.service.d/x.conf", "[Service]\nUMask=0007\n");
    tree.link(
        "etc/systemd/system/multi-user.target.wants/real.service",
        "/usr/lib/systemd/system/real.service",
    );
    let unit = tree.unit("alias.service").unwrap();
    assert_eq!((unit.name.as_str(), unit.user.as_deref(), unit.umask), ("real.service", Some("x"), 0o007));
    assert_eq!(unit.unit_file_state, "enabled");

    tree.file("opt/linked.service", "[Service]\nUser=y\n");
    tree.link("etc/systemd/system/linked.service", "/opt/linked.service");
    assert_eq!(tree.unit("linked.service").unwrap().user.as_deref(), Some("y"));
    // There on the host, not in the image.
    tree.link("etc/systemd/system/outside.service", "/etc/passwd");
    assert_eq!(tree.unit("outside.service"), None);
    tree.link("etc/systemd/system/loop-a.service", "loop-b.service");
    tree.link("etc/systemd/system/loop-b.service", "loop-a.service");
    let root = Root::open(tree.0.path()).unwrap();
    assert!(connect(&root).unwrap().unit("loop-a.service").is_err());
}

#[test]
fn masked_units_are_known_as_such() {
    let tree = Tree::new();
    tree.link("etc/systemd/system/a.service", "/dev/null");
    tree.file("etc/systemd/system/b.service", "");
    for name in ["a.service", "b.service"] {
        let unit = tree.unit(name).unwrap();
        assert_eq!((unit.load_state.as_str(), unit.unit_file_state.as_str()), ("masked", "masked"));
    }
}

#[test]
fn reads_a_mount() {
    let tree = Tree::new();
    let text = "[Mount]\nWhat=hugetlbfs\nWhere=/dev/hugepages\nType=hugetlbfs\n";
    tree.file("usr/lib/systemd/system/dev-hugepages.mount", text);
    tree.file("etc/systemd/system/dev-hugepages.mount.d/x.conf", "[Mount]\nOptions=gid=42477,mode=0775\n");
    let unit = tree.unit("dev-hugepages.mount").unwrap();
    assert_eq!(unit.mount_where.as_deref(), Some(Path::new("/dev/hugepages")));
    assert_eq!(unit.mount_options.as_deref(), Some("gid=42477,mode=0775"));
}

#[test]
fn nothing_can_be_started_in_an_image() {
    let tree = Tree::new();
    let root = Root::open(tree.0.path()).unwrap();
    let image = connect(&root).unwrap();
    image.reload().unwrap();
    assert!(
        image.act(Act::Restart, "a.service").is_err()
            && image.act(Act::Start(Duration::ZERO), "a.service").is_err()
            && image.act(Act::Stop(Duration::ZERO), "a.service").is_err()
    );
    assert!(image.unit("../etc/passwd").is_err() && image.unit("noextension").is_err());
}
