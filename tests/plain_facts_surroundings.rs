// SPDX-License-Identifier: Apache-2.0
//! What else has a say, read from an image: tmpfiles.d, qemu.conf, labels.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use vhost_accord::base::root::Root;
use vhost_accord::edit::virconf::Value;
use vhost_accord::facts::surroundings::{Surroundings, parse_label_type, parse_tmpfiles};
use vhost_accord::survey::{Options, Survey};
use vhost_accord::systemd;

fn image() -> tempfile::TempDir {
    let image = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/demo/image/.");
    let copied = std::process::Command::new("cp").arg("-r").arg(from).arg(image.path()).status();
    assert!(copied.unwrap().success());
    image
}

fn read(image: &Path) -> Surroundings {
    let root = Root::open(image).unwrap();
    let manager = systemd::connect(&root).unwrap();
    Survey::take(&root, manager.as_ref(), Options::default()).unwrap().surroundings
}

fn write(image: &Path, path: &str, text: &str) {
    let path = image.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn only_the_line_that_is_in_force_counts() {
    let image = image();
    let line = "d /var/lib/vhost_sockets 0755 root root -\nd /var/lib/other 0755 root root -\n";
    write(image.path(), "usr/lib/tmpfiles.d/vhost.conf", line);
    write(image.path(), "usr/lib/tmpfiles.d/vhost.txt", line);
    write(image.path(), "etc/tmpfiles.d/vhost-accord.conf", line);
    let found = read(image.path()).tmpfiles;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].file, Path::new("/usr/lib/tmpfiles.d/vhost.conf"));
    assert_eq!((found[0].mode, found[0].group.as_deref()), (Some(0o755), Some("root")));
    write(image.path(), "etc/tmpfiles.d/vhost.conf", "# hidden\n");
    assert_eq!(read(image.path()).tmpfiles, []);
}

#[test]
fn lines_that_set_nothing_say_nothing() {
    let text =
        "d /a\nz /b/ :0755 ~x -\nL+ /c 0755 root root\nZ \"/var/run/d\" 2770 - 42477\nx\n\n#d /e 0700\n";
    let found = parse_tmpfiles(&PathBuf::from("/f"), text);
    let found: Vec<_> =
        found.iter().map(|line| (line.path.to_str().unwrap(), line.mode, line.group.as_deref())).collect();
    assert_eq!(found, [("/a", None, None), ("/b", None, None), ("/run/d", Some(0o2770), Some("42477"))]);
}

#[test]
fn keys_of_qemu_conf_are_those_that_are_set() {
    let image = image();
    write(
        image.path(),
        "etc/libvirt/qemu.conf",
        "#user = \"root\"\ndynamic_ownership = 0\nnamespaces = []\n",
    );
    let found = read(image.path()).qemu_conf;
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found["dynamic_ownership"], Value::Integer(0));
    write(image.path(), "etc/libvirt/qemu.conf", "user = \"root\nbroken");
    assert!(read(image.path()).qemu_conf.is_empty(), "libvirt does not read it either");
}

#[test]
fn the_type_in_a_label() {
    assert_eq!(parse_label_type(b"system_u:object_r:virt_cache_t:s0\0").as_deref(), Some("virt_cache_t"));
    assert_eq!(parse_label_type(b"a:b:c:s0:c1,c2").as_deref(), Some("c"));
    assert_eq!(parse_label_type(b"unlabeled"), None);
    assert_eq!(parse_label_type(b"\xff:b:c"), None);
}
