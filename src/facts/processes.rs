// SPDX-License-Identifier: Apache-2.0
//! Running processes: with which ids, groups, umask and capabilities they really run (`/proc/PID/status`, proc(5)).

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::access::Identity;
use crate::base::root::Root;

/// Clock ticks per second in `/proc/PID/stat`: a constant of the kernel's interface, whatever `CONFIG_HZ` says.
const USER_HZ: u64 = 100;
const NANOS_PER_TICK: u64 = 1_000_000_000 / USER_HZ;
/// The kernel cuts a process's name to this length (`TASK_COMM_LEN` - 1).
const COMM_LENGTH: usize = 15;

/// User or group ids of a process, in the order of `/proc/PID/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// Who started it.
    pub real: u32,
    /// Whose rights it has.
    pub effective: u32,
    /// What it may switch back to.
    pub saved: u32,
    /// What the kernel compares with a file's owner.
    pub fs: u32,
}

/// When a process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Nanoseconds since boot, in steps of 10 ms. Together with the pid it names one process for ever.
    pub since_boot: u64,
    /// Nanoseconds since 1970 by today's clock, to compare with a file's times: the end of the 10 ms in which it
    /// started, so that it seems older than no file that it can have read. Wrong by as much as the clock was set meanwhile.
    pub at: i128,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number in our pid namespace.
    pub pid: u32,
    /// Its name, ids, groups and capabilities.
    #[serde(flatten)]
    pub status: Status,
    /// When it started.
    pub started: Started,
}

/// What `/proc/PID/status` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its name (`comm`), at most 15 bytes.
    pub name: String,
    /// User ids.
    pub uid: Ids,
    /// Group ids.
    pub gid: Ids,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// File mode creation mask; `None` on kernels before 4.7, which do not tell.
    pub umask: Option<u32>,
    /// Effective capabilities, one bit each.
    pub cap_eff: u64,
}

/// Reads the text of a `/proc/PID/status`.
pub fn parse_status(text: &str) -> Result<Status> {
    let field = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.map(str::trim).with_context(|| format!("no line {key}:"))
    };
    let ids = |key: &str| parse_ids(field(key)?).with_context(|| format!("in line {key}:"));
    let umask = field("Umask").ok().map(|text| u32::from_str_radix(text, 8).context("in line Umask:"));
    Ok(Status {
        name: field("Name")?.to_string(),
        uid: ids("Uid")?,
        gid: ids("Gid")?,
        groups: numbers(field("Groups")?).context("in line Groups:")?,
        umask: umask.transpose()?,
        cap_eff: u64::from_str_radix(field("CapEff")?, 16).context("in line CapEff:")?,
    })
}

fn parse_ids(text: &str) -> Result<Ids> {
    match numbers(text)?.as_slice() {
        &[real, effective, saved, fs] => Ok(Ids { real, effective, saved, fs }),
        _ => Err(anyhow!("'{text}' is not four ids")),
    }
}

fn numbers<T: FromStr<Err = std::num::ParseIntError>>(text: &str) -> Result<Vec<T>> {
    text.split_whitespace()
        .map(|word| word.parse().with_context(|| format!("reading the number '{word}'")))
        .collect()
}

/// Reads the start time, in nanoseconds since boot, from a `/proc/PID/stat`. The name in it may hold anything, `)` too.
pub fn parse_start(stat: &[u8]) -> Result<u64> {
    let end_of_name = stat.iter().rposition(|byte| *byte == b')').context("no name")?;
    let rest = std::str::from_utf8(&stat[end_of_name + 1..]).context("not text")?;
    let word = rest.split_whitespace().nth(19).context("no start time (field 22)")?;
    let ticks: u64 = word.parse().with_context(|| format!("reading the number '{word}'"))?;
    ticks.checked_mul(NANOS_PER_TICK).context("a start time out of range")
}

/// The numbers of all processes, in no order.
pub fn pids(root: &Root) -> Result<impl Iterator<Item = u32>> {
    let entries = root.list(Path::new("/proc"))?;
    Ok(entries.into_iter().filter_map(|entry| entry.to_str()?.parse().ok()))
}

/// All processes with one of these names. None for an image, where nothing runs; one that ends meanwhile is left out.
pub fn by_name(root: &Root, names: &[&str]) -> Result<Vec<Process>> {
    if !root.runs() {
        return Ok(Vec::new());
    }
    let wanted: Vec<&[u8]> = names.iter().map(|name| cut(name.as_bytes())).collect();
    let boot = boot_time(root).context("reading the clocks")?;
    let mut found = Vec::new();
    if let Some(report) = root.report() {
        // A report has either the states of all processes or none; one more and it could be the one that counts.
        report.file("/proc/1/status")?;
    }
    for pid in pids(root)? {
        match read_named(root, pid, &wanted, boot) {
            Ok(process) => found.extend(process),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error.context(format!("reading process {pid}"))),
        }
    }
    Ok(found)
}

/// The process with this number; none when it ended, or in an image.
pub fn by_pid(root: &Root, pid: u32) -> Option<Process> {
    if root.runs() { read(root, pid, boot_time(root).ok()?).ok()? } else { None }
}

/// The state of this process by `/proc/PID/stat`: `S`, `R`, `T`, `D`... ; none when it ended.
pub fn state(root: &Root, pid: u32) -> Option<char> {
    parse_state(&file(root, pid, "stat").ok()??)
}

fn parse_state(stat: &[u8]) -> Option<char> {
    let end_of_name = stat.iter().rposition(|byte| *byte == b')')?;
    stat[end_of_name + 1..].trim_ascii_start().first().map(|byte| char::from(*byte))
}

impl Process {
    /// Who the kernel takes it for when it opens or connects.
    pub fn identity(&self) -> Identity {
        let status = &self.status;
        let (uid, gid, groups) = (status.uid.fs, status.gid.fs, status.groups.clone());
        Identity { uid, gid, groups, capabilities: status.cap_eff }
    }

    /// In words.
    pub fn text(&self) -> String {
        format!("{} (pid {})", self.status.name, self.pid)
    }
}

fn cut(name: &[u8]) -> &[u8] {
    &name[..name.len().min(COMM_LENGTH)]
}

fn file(root: &Root, pid: u32, name: &str) -> Result<Option<Vec<u8>>> {
    root.read(Path::new(&format!("/proc/{pid}/{name}")))
}

fn read_named(root: &Root, pid: u32, wanted: &[&[u8]], boot: i128) -> Result<Option<Process>> {
    if let Some(report) = root.report() {
        // One that ended while the report was made is not missed.
        let Some(status) = report.copy_of(&format!("/proc/{pid}/status")) else { return Ok(None) };
        let status = parse_status(&status).context("reading its status")?;
        return if wanted.contains(&status.name.as_bytes()) { read(root, pid, boot) } else { Ok(None) };
    }
    let comm = file(root, pid, "comm")?;
    if comm.is_some_and(|comm| wanted.contains(&comm.trim_ascii_end())) {
        read(root, pid, boot)
    } else {
        Ok(None)
    }
}

fn read(root: &Root, pid: u32, boot: i128) -> Result<Option<Process>> {
    let Some(status) = file(root, pid, "status")? else { return Ok(None) };
    let Some(stat) = file(root, pid, "stat")? else { return Ok(None) };
    // One that ended and that nobody has waited for yet runs no more.
    if matches!(parse_state(&stat), Some('Z' | 'X')) {
        return Ok(None);
    }
    let status = parse_status(&String::from_utf8_lossy(&status)).context("reading its status")?;
    let since_boot = parse_start(&stat).context("reading its stat")?;
    let started = Started { since_boot, at: boot + i128::from(since_boot) + i128::from(NANOS_PER_TICK - 1) };
    Ok(Some(Process { pid, status, started }))
}

/// Nanoseconds since boot, as [`Started::since_boot`] counts them.
pub fn since_boot() -> Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).context("reading the clock")?;
    Ok(u64::try_from(std::time::Duration::from(now).as_nanos())?)
}

/// The same when the node was looked at, which is when its report was made.
pub fn since_boot_of(root: &Root) -> Result<u64> {
    if let Some(report) = root.report() {
        let uptime = report.file("/proc/uptime")?;
        let (seconds, rest) = uptime.split_once('.').context("reading /proc/uptime")?;
        let hundredths: u64 = rest.get(..2).context("reading /proc/uptime")?.parse()?;
        let nanos = seconds.parse::<u64>()?.checked_mul(1_000_000_000).context("an uptime out of range")?;
        return Ok(nanos.saturating_add(hundredths * 10_000_000));
    }
    since_boot()
}

/// When the node booted, in nanoseconds since 1970 by today's clock.
fn boot_time(root: &Root) -> Result<i128> {
    if let Some(report) = root.report() {
        let stat = report.file("/proc/stat")?;
        let second = stat.lines().find_map(|line| line.strip_prefix("btime ")).context("no boot time")?;
        // Whole seconds, cut: the end of that second, so that no process seems older than it is.
        return Ok(i128::from(second.trim().parse::<u64>()?) * 1_000_000_000 + 999_999_999);
    }
    let nanos = |clock| -> Result<i128> {
        let time = clock_gettime(clock)?;
        Ok(i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec()))
    };
    Ok(nanos(ClockId::CLOCK_REALTIME)? - nanos(ClockId::CLOCK_BOOTTIME)?)
}

/// A process that ended while it was read: its files give `ESRCH` or `ENOENT`.
fn is_gone(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let errno = cause.downcast_ref::<Errno>().copied();
        let io = cause
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::raw_os_error)
            .map(Errno::from_raw);
        matches!(errno.or(io), Some(Errno::ESRCH | Errno::ENOENT))
    })
}
