// SPDX-License-Identifier: Apache-2.0
//! What a container cannot show: security modules, in a whole virtual machine with Debian's kernel. Emulated, so it takes
//! some minutes. A program of its own: nothing else is to run beside it.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The package that `tests/packages` made, where there is one.
fn package() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join(target).join("package/test/now");
    let mut files = std::fs::read_dir(made).ok()?.map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|found| found == "deb"))
}

/// libvirtd and QEMU are confined by the profiles of Debian's packages, and none of them refuses what the accord needs.
#[test]
#[ignore = "needs a real node: make test-all"]
fn apparmor_refuses_nothing() {
    let nodes = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node");
    let work = tempfile::tempdir().unwrap();
    let installed = match package() {
        Some(deb) => (deb, "vhost-accord.deb"),
        None => (PathBuf::from(env!("CARGO_BIN_EXE_vhost-accord")), "vhost-accord"),
    };
    let program = work.path().join(installed.1);
    std::fs::copy(&installed.0, &program).unwrap();
    let output = Command::new(nodes.join("node"))
        .args(["machine", "bookworm"])
        .args(
            ["machine/apparmor", "lib/setup", "domains/vmc.xml", "domains/vms.xml"]
                .map(|name| nodes.join(name)),
        )
        .arg(&program)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.trim_end().ends_with("\nno denial"), "{said}");
}
