// SPDX-License-Identifier: Apache-2.0
//! Changes VMs through libvirt's own tool, virsh.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::base::program;
use crate::facts::libvirt::{self, VIRSH};

/// libvirt needs milliseconds to define a VM.
const LIMIT: Duration = Duration::from_secs(15);

/// How long to wait for a save that others began.
const SAVING: Duration = Duration::from_secs(120);

/// Gives libvirt the VM's definition.
pub fn define(definition: &str) -> Result<()> {
    virsh(&["define", "/dev/stdin"], definition, LIMIT).context("libvirt does not accept the definition")
}

/// Gives libvirt another XML for the memory that it saved.
pub fn define_saved(uuid: &str, xml: &str) -> Result<()> {
    virsh(&["managedsave-define", uuid, "/dev/stdin"], xml, LIMIT)
        .context("libvirt does not accept the definition for the saved memory")
}

/// Stops the VM and saves its memory to a file. After an error, the VM runs, or is off with its memory saved; no job is running.
pub fn save(uuid: &str, limit: Duration) -> Result<()> {
    let saved = virsh(&["managedsave", uuid], "", limit);
    if saved.is_err() {
        // Too slow: libvirt would continue and stop the VM later, when nobody expects it.
        let _ = virsh(&["domjobabort", uuid], "", LIMIT);
        wait_until_saved(uuid)?;
    }
    saved
}

/// Starts it, from that file where there is one.
pub fn start(uuid: &str, limit: Duration) -> Result<()> {
    virsh(&["start", uuid], "", limit)
}

/// Ends a start that hangs: the saved memory stays for the next one (libvirt: src/qemu/qemu_driver.c,
/// `qemuDomainObjStart`). A VM that runs is left alone.
pub fn stop_starting(uuid: &str) -> Result<()> {
    let info = libvirt::info(uuid)?;
    if info.is_off() || !info.saved {
        return Ok(());
    }
    virsh(&["destroy", uuid], "", LIMIT)
}

/// libvirt continues a save when its client is gone.
pub fn wait_until_saved(uuid: &str) -> Result<()> {
    let end = Instant::now() + SAVING;
    while libvirt::is_busy(uuid)? {
        if Instant::now() >= end {
            bail!("libvirt is still busy with VM {uuid} (virsh domjobinfo); try again later");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn virsh(arguments: &[&str], input: &str, limit: Duration) -> Result<()> {
    program::run_with(Path::new(libvirt::PROGRAM), &[&VIRSH, arguments].concat(), input, limit).map(drop)
}
