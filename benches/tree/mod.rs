// SPDX-License-Identifier: Apache-2.0
//! What benchmarks have in common: a private tree (chroot in a mount namespace) with the machine's programs and a real
//! ovsdb-server.
// Each benchmark uses its part.
#![allow(clippy::unwrap_used, clippy::print_stdout, dead_code)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

pub const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// A systemctl(1) that has no unit of any name.
pub const NO_UNITS: &str = "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift || exit 0; done\nshift\nfor unit; do printf 'Id=%s\\nLoadState=not-found\\n\\n' \"$unit\"; done\n";
/// The tree of a benchmark that runs itself again in one, and how many VMs it is to have.
pub const TREE: &str = "VHOST_ACCORD_BENCH_TREE";
pub const VMS: &str = "VHOST_ACCORD_BENCH_VMS";
/// A disk of a domain, as long as they are.
pub const DISK: &str = "    <disk type='file' device='disk'>\n      <driver name='qemu' type='qcow2' cache='none' io='native'/>\n      <source file='/var/lib/nova/instances/disk'/>\n      <target dev='vda' bus='virtio'/>\n      <alias name='virtio-disk0'/>\n    </disk>\n";

/// The tree with these directories, the ways to the machine's programs, and accounts.
pub fn lay_out(tree: &Path, directories: &[&str], passwd: &str, group: &str) {
    for directory in ["usr", "proc", "sys", "dev", "etc", "run/openvswitch", "var/lib/vhost_sockets", "tmp"] {
        fs::create_dir_all(tree.join(directory)).unwrap();
    }
    for directory in directories {
        fs::create_dir_all(tree.join(directory)).unwrap();
    }
    for link in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{link}"), tree.join(link)).unwrap();
    }
    symlink("/run", tree.join("var/run")).unwrap();
    fs::copy("/etc/ld.so.cache", tree.join("etc/ld.so.cache")).unwrap();
    fs::write(tree.join("etc/passwd"), passwd).unwrap();
    fs::write(tree.join("etc/group"), group).unwrap();
    fs::write(tree.join("etc/nsswitch.conf"), "passwd: files\ngroup: files\n").unwrap();
}

/// Runs this benchmark again for each number of VMs, in a tree of its own with its own processes.
pub fn run_in_trees(numbers: &[usize], head: &str, build: fn(&Path, usize)) -> ExitCode {
    if !nix::unistd::geteuid().is_root() || !Path::new(SCHEMA).exists() {
        println!("left out: needs root and ovsdb-server (openvswitch-switch)");
        return ExitCode::SUCCESS;
    }
    println!("{head}");
    for vms in numbers {
        let tree = tempfile::tempdir().unwrap();
        fs::set_permissions(tree.path(), PermissionsExt::from_mode(0o755)).unwrap();
        build(tree.path(), *vms);
        let status = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"])
            .arg(std::env::current_exe().unwrap())
            .env(TREE, tree.path())
            .env(VMS, vms.to_string())
            .status();
        assert!(status.unwrap().success());
    }
    ExitCode::SUCCESS
}

/// Runs a program, expecting success.
pub fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status();
    assert!(status.unwrap().success(), "{program}");
}

/// mount(8), with the place inside the tree.
pub fn mount(arguments: &[&str], place: &Path) {
    assert!(Command::new("mount").args(arguments).arg(place).status().unwrap().success(), "{arguments:?}");
}

/// The machine's own directory at the same place in the tree.
pub fn bind(tree: &Path, directory: &str) {
    mount(&["--rbind", &format!("/{directory}")], &tree.join(directory));
}

/// Makes the tree the root of all that follows.
pub fn enter(tree: &Path) {
    nix::unistd::chroot(tree).unwrap();
    std::env::set_current_dir("/").unwrap();
}

/// Kills what was started when the run is over.
pub struct Daemon(pub Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A real ovsdb-server with an empty database.
pub fn ovsdb_server() -> Daemon {
    run("/usr/bin/ovsdb-tool", &["create", "/tmp/conf.db", SCHEMA]);
    let server = Command::new("/usr/sbin/ovsdb-server")
        .args(["/tmp/conf.db", "--remote=punix:/run/openvswitch/db.sock", "--unixctl=/tmp/ctl", "--no-chdir"])
        // As every switch's has one: the program looks for it first.
        .arg("--pidfile=/run/openvswitch/ovsdb-server.pid")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = Daemon(server);
    while ["db.sock", "ovsdb-server.pid"]
        .iter()
        .any(|name| !Path::new("/run/openvswitch").join(name).exists())
    {
        std::thread::sleep(Duration::from_millis(10));
    }
    server
}
