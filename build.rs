// SPDX-License-Identifier: Apache-2.0
//! Links gcc's unwinder into the program: as a library of its own, which no defect of ours ever asks for anything but a
//! backtrace, it takes a twelfth of the time that the program takes to start, and libvirt waits for that in front of every
//! VM. Where the compiler has no archive of it, the library stays.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::process::Command;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    let target = |key: &str| env::var(format!("CARGO_CFG_TARGET_{key}")).unwrap_or_default();
    let (Ok(directory), "linux", "gnu") = (env::var("OUT_DIR"), &*target("OS"), &*target("ENV")) else {
        return Ok(());
    };
    if has_archive() {
        // A linker script under the library's name, found before the library.
        fs::write(Path::new(&directory).join("libgcc_s.so"), "INPUT(-lgcc_eh -lgcc)\n")?;
        println!("cargo::rustc-link-arg-bins=-L{directory}");
    }
    Ok(())
}

/// gcc prints the path of what it has, and the name alone of what it has not.
fn has_archive() -> bool {
    let linker = env::var("RUSTC_LINKER").unwrap_or_else(|_| "cc".to_string());
    let told = Command::new(linker).arg("-print-file-name=libgcc_eh.a").output();
    told.is_ok_and(|told| told.status.success() && told.stdout.contains(&b'/'))
}
