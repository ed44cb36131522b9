// SPDX-License-Identifier: Apache-2.0
//! QEMU in the node: its messages, and QEMU itself.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::config::PortType;
use crate::probe::{Failed, Side, Step, Trial, Who};

/// Where distributions install it.
const PROGRAMS: [&str; 3] =
    ["/usr/bin/qemu-system-x86_64", "/usr/local/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm"];
/// QEMU starts within a second; on a busy machine within a few.
const LIMIT: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(20);

const OPTIONS: &str = "-S -nodefaults -display none -accel tcg -machine q35,memory-backend=ram -m 16 \
    -object memory-backend-memfd,id=ram,size=16M,share=on";
const CARD: &str =
    "-netdev vhost-user,chardev=charnet0,id=hostnet0 -device virtio-net-pci,netdev=hostnet0,romfile=";

/// The name of the port.
pub(super) fn port(kind: PortType) -> &'static str {
    match kind {
        PortType::Dpdkvhostuserclient => "vhus0",
        PortType::Dpdkvhostuser => "vhuc0",
    }
}

/// What an operator finds in the log of the VM, or of the switch: QEMU's words (util/qemu-sockets.c) and DPDK's
/// (lib/vhost/socket.c).
pub(super) fn complaint(failed: &Failed) -> String {
    let path = failed.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let why = failed.error.split(": ").last().unwrap_or_default();
    let why = why.split(" (os error").next().unwrap_or_default();
    match (failed.step, failed.side) {
        (Step::Bind, Side::Qemu) => format!("qemu-system-x86_64: Failed to bind socket to {path}: {why}"),
        (Step::Connect, Side::Qemu) => format!("qemu-system-x86_64: Failed to connect to '{path}': {why}"),
        (Step::Connect, Side::Dataplane) => format!("VHOST_CONFIG: ({path}) failed to connect: {why}"),
        (Step::Bind, Side::Dataplane) => format!("VHOST_CONFIG: ({path}) failed to bind: {why}"),
        _ => format!("{}: {path}: {}", failed.step.name(), failed.error),
    }
}

/// QEMU, if it is installed.
pub(super) fn installed() -> Option<PathBuf> {
    PROGRAMS.iter().map(PathBuf::from).find(|program| program.exists())
}

/// Real QEMU as the node would run it, stopped before the guest's first instruction; its network card is set up before that.
#[derive(Debug)]
pub(super) struct Qemu {
    process: Child,
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Qemu {
    pub(super) fn start(program: &Path, trial: &Trial) -> Result<Qemu> {
        let socket = trial.directory.join(&trial.name);
        let server = if trial.kind == PortType::Dpdkvhostuserclient { ",server=on" } else { "" };
        let process = Command::new("/proc/self/exe")
            .args(["demo-qemu", &serde_json::to_string(&trial.qemu)?])
            .arg(program)
            .args(OPTIONS.split(' '))
            .args(["-chardev", &format!("socket,id=charnet0,path={}{server}", socket.display())])
            .args(CARD.split(' '))
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting QEMU")?;
        Ok(Qemu { process })
    }

    /// Waits until the socket is there; false when QEMU ended without making it.
    pub(super) fn makes(&mut self, socket: &Path) -> Result<bool> {
        let end = Instant::now() + LIMIT;
        while Instant::now() < end && self.process.try_wait()?.is_none() {
            if socket.exists() {
                return Ok(true);
            }
            std::thread::sleep(PAUSE);
        }
        Ok(false)
    }

    /// Its last error output.
    pub(super) fn last_words(mut self) -> Result<String> {
        let _ = self.process.kill();
        let mut text = String::new();
        if let Some(errors) = &mut self.process.stderr {
            errors.read_to_string(&mut text).context("reading what QEMU says")?;
        }
        Ok(text.lines().filter(|line| !line.contains("info:")).collect::<Vec<_>>().join("\n"))
    }
}

/// Takes the identity, then executes QEMU; returns only if that fails.
pub fn become_qemu(who: &str, arguments: &[OsString]) -> Result<()> {
    let who: Who = serde_json::from_str(who).context("reading whom to become")?;
    who.become_it()?;
    let (program, arguments) = arguments.split_first().context("QEMU is not named")?;
    Err(Command::new(program).args(arguments).exec()).context("running QEMU")
}
