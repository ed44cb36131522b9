// SPDX-License-Identifier: Apache-2.0
//! Where lines come from: files, standard input, the journal. Each is read as a stream and bounded; what was left out is said.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;

use super::Reading;
use crate::base::root::{Kind, Root};

/// Of a file, its end.
const MOST_OF_A_FILE: u64 = 16 << 20;
/// Of standard input, its beginning.
const MOST_OF_INPUT: u64 = 64 << 20;
/// Of a line, its beginning.
const MOST_OF_A_LINE: u64 = 64 << 10;
/// Logs of VMs that are read when none is named: those written last.
const MOST_VMS: usize = 50;
const VM_LOGS: &str = "/var/log/libvirt/qemu";
const USUAL: [&str; 4] = [
    "/var/log/openvswitch/ovs-vswitchd.log",
    "/var/log/openvswitch/ovsdb-server.log",
    "/var/log/audit/audit.log",
    "/var/log/libvirt/libvirtd.log",
];
/// Entries of the journal, and how long it may take to give them.
const JOURNAL_ENTRIES: &str = "20000";
const JOURNAL_LIMIT: Duration = Duration::from_secs(10);
const IDENTIFIERS: [&str; 8] =
    ["libvirtd", "virtqemud", "ovs-vswitchd", "ovsdb-server", "ovs-ctl", "kernel", "audit", "nova-compute"];

/// One log that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// How many lines.
    pub lines: u64,
    /// What of it was not read.
    pub cut: Option<String>,
}

/// Reads lines until the end; how many there were.
pub fn stream(name: &str, input: impl Read, reading: &mut Reading) -> Result<u64> {
    let mut input = BufReader::new(input);
    let (mut lines, mut line) = (0, Vec::new());
    loop {
        line.clear();
        let read = (&mut input).take(MOST_OF_A_LINE).read_until(b'\n', &mut line);
        if read.with_context(|| format!("reading {name}"))? == 0 {
            return Ok(lines);
        }
        if line.last() != Some(&b'\n') {
            input.skip_until(b'\n').with_context(|| format!("reading {name}"))?;
        }
        lines += 1;
        reading.take(name, &String::from_utf8_lossy(&line));
    }
}

/// A file that someone named.
pub fn file(path: &Path, reading: &mut Reading) -> Result<Source> {
    let name = path.display().to_string();
    // A FIFO that nobody writes to shall not hold us.
    let file = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    let file = file.with_context(|| format!("opening {name}"))?;
    if file.metadata()?.is_dir() {
        bail!("{name} is a directory");
    }
    tail(name, file, reading)
}

fn tail(name: String, mut file: File, reading: &mut Reading) -> Result<Source> {
    let length = file.metadata().with_context(|| format!("reading the state of {name}"))?.len();
    let mut cut = None;
    if length > MOST_OF_A_FILE {
        file.seek(SeekFrom::End(-(MOST_OF_A_FILE as i64))).with_context(|| format!("reading {name}"))?;
        cut = Some(format!("only the last {} of {} MiB", MOST_OF_A_FILE >> 20, length >> 20));
    }
    let lines = stream(&name, file, reading)?;
    Ok(Source { name, lines, cut })
}

/// Standard input.
pub fn input(input: impl Read, reading: &mut Reading) -> Result<Source> {
    let mut bounded = input.take(MOST_OF_INPUT);
    let lines = stream("standard input", &mut bounded, reading)?;
    let cut = (bounded.limit() == 0).then(|| format!("only the first {} MiB", MOST_OF_INPUT >> 20));
    Ok(Source { name: "standard input".to_string(), lines, cut })
}

/// The usual places of a node; of the running one, its journal too.
pub fn usual(root: &Root, reading: &mut Reading) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let (vms, left) = vm_logs(root)?;
    for path in vms.into_iter().chain(USUAL.map(PathBuf::from)) {
        let name = path.display().to_string();
        match root.find(&path) {
            Ok(Some(handle)) if handle.kind() == Kind::File => {
                sources.push(tail(name, File::from(handle.reopen(OFlag::O_RDONLY)?), reading)?);
            }
            Ok(_) => {}
            // QEMU may put a symlink among its logs: that one is not read, all others are.
            Err(error) => {
                sources.push(Source { name, lines: 0, cut: Some(format!("not read: {error:#}")) });
            }
        }
    }
    if left > 0 {
        let cut = Some(format!("{left} older logs of VMs were left out"));
        sources.push(Source { name: VM_LOGS.to_string(), lines: 0, cut });
    }
    if root.is_live() {
        sources.extend(journal(reading));
    }
    Ok(sources)
}

fn vm_logs(root: &Root) -> Result<(Vec<PathBuf>, usize)> {
    let mut found = Vec::new();
    for name in root.list(Path::new(VM_LOGS))? {
        let path = Path::new(VM_LOGS).join(name);
        if path.extension().is_some_and(|extension| extension == "log")
            && let Some(handle) = root.find_nofollow(&path)?
        {
            found.push((handle.modified(), path));
        }
    }
    found.sort();
    let left = found.len().saturating_sub(MOST_VMS);
    Ok((found.into_iter().skip(left).map(|(_, path)| path).collect(), left))
}

/// The last day of the daemons concerned. A node without journald has none.
fn journal(reading: &mut Reading) -> Option<Source> {
    let mut child = Command::new("journalctl")
        .args(["-o", "json", "--no-pager", "-q", "--since=-1day", "-n", JOURNAL_ENTRIES])
        .args(IDENTIFIERS.iter().flat_map(|name| ["-t", name]))
        .env_clear()
        .env("PATH", crate::base::paths::SEARCH)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let stdout = child.stdout.take()?;
    let (done, wait) = mpsc::channel::<()>();
    let pid = Pid::from_raw(child.id().cast_signed());
    // It is ours and not waited for yet, so the number is still its own.
    let limit = std::thread::spawn(move || {
        let late = wait.recv_timeout(JOURNAL_LIMIT) == Err(mpsc::RecvTimeoutError::Timeout);
        late && kill(pid, Signal::SIGKILL).is_ok()
    });
    let lines = stream("the journal", stdout.take(MOST_OF_INPUT), reading);
    drop(done);
    let late = limit.join().unwrap_or_default();
    let _ = child.kill();
    let _ = child.wait();
    let cut = late.then(|| format!("it took longer than {} s", JOURNAL_LIMIT.as_secs()));
    Some(Source { name: "the journal (last day)".to_string(), lines: lines.unwrap_or_default(), cut })
}
