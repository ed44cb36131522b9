// SPDX-License-Identifier: Apache-2.0
//! What shadow's tools leave in /etc when they are killed (lib/commonio.c): `group.PID`, which becomes the lock
//! `group.lock`, and `group+`, which becomes `group`. The next tool takes a lock from a process that is gone, and no more.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use anyhow::Result;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::base::root::{Handle, Kind, Root};
use crate::write;

/// The account databases, in /etc.
const DATABASES: [&str; 6] = ["group", "gshadow", "passwd", "shadow", "subuid", "subgid"];

/// Removes them if the process that created them is gone. Those of a database that is being changed stay.
pub fn clear(root: &Root) -> Result<()> {
    let Some(etc) = root.find(Path::new("/etc"))? else { return Ok(()) };
    let names = etc.names()?;
    for database in DATABASES {
        let new = OsString::from(format!("{database}+"));
        if unlock(&etc, &names, database)?
            && let Some(found) = etc.entry(&new)?
        {
            write::remove_file(&etc, &new, found.id())?;
        }
    }
    Ok(())
}

/// Removes locks of processes that are gone. False where another one is left.
fn unlock(etc: &Handle, names: &[OsString], database: &str) -> Result<bool> {
    let mut free = true;
    for name in names {
        let Some(end) = lock_end(name, database) else { continue };
        let Some(found) = etc.entry(name)? else { continue };
        if is_stale(&found, end)? {
            write::remove_file(etc, name, found.id())?;
        } else {
            free = false;
        }
    }
    Ok(free)
}

/// `lock` of `group.lock`, or the number of `group.PID`.
fn lock_end<'a>(name: &'a OsStr, database: &str) -> Option<&'a str> {
    let end = name.to_str()?.strip_prefix(database)?.strip_prefix('.')?;
    (end == "lock" || end.parse::<i32>().is_ok()).then_some(end)
}

/// Is the process that holds the lock gone? Its number is the lock's content, or, before that is written, the end of its name.
fn is_stale(found: &Handle, end: &str) -> Result<bool> {
    if found.kind() != Kind::File {
        return Ok(false);
    }
    let content = found.read()?;
    let written = String::from_utf8_lossy(&content);
    let holder = written.trim_end_matches('\0').trim().parse().or_else(|_| end.parse::<i32>());
    Ok(holder.is_ok_and(|pid| pid > 0 && kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)))
}
