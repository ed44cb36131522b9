// SPDX-License-Identifier: Apache-2.0
//! The way to the switch's database, for every command, entry and the hook. Since OVS 4.0 its socket can be systemd's
//! (`ovsdb-server.socket`): a connection starts an ovsdb-server that the operator has stopped. So nobody connects unless
//! an ovsdb-server runs already.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::ovsdb::Ovsdb;
use super::paths;
use super::vswitchd::Vswitchd;
use crate::base::root::ss::Stream;
use crate::base::root::{Handle, Root};
use crate::facts::processes;
use crate::facts::{diag, owners};

/// Why nothing is known.
pub const SILENT: &str = "OVSDB does not answer";

/// Connects to the database's socket. `limit` is for the whole conversation, from now on.
///
/// # Errors
/// No ovsdb-server runs, or it does not take the connection in time.
pub fn connect(root: &Root, limit: Duration) -> Result<Ovsdb> {
    if let Some(report) = root.report() {
        return Err(report.lacks("an answer of OVSDB"));
    }
    let socket = Path::new(paths::OVSDB_SOCKET);
    let missing = || format!("there is no {}", socket.display());
    let file = root.find(socket)?.with_context(missing)?;
    if root.is_live() {
        match Vswitchd::database(root) {
            Vswitchd::Running(_) => {}
            Vswitchd::NotRunning => bail!("ovsdb-server does not run"),
            Vswitchd::Unknown(why) if !is_served(root, &file, socket)? => {
                bail!("the switch's ovsdb-server does not run: {why}")
            }
            Vswitchd::Unknown(_) => {}
        }
    }
    Ovsdb::connect(root, socket, limit)
}

/// Is it an ovsdb-server that listens there, whatever its pid file is?
fn is_served(root: &Root, file: &Handle, path: &Path) -> Result<bool> {
    let listens = |found: &Stream| found.listening && found.is_at(file.id(), path);
    let listeners: HashSet<u64> =
        diag::sockets(root)?.into_iter().filter(listens).map(|found| found.inode).collect();
    let servers = processes::by_name(root, &["ovsdb-server"])?;
    let holds = |pid| !owners::held(root, pid, &listeners, None).is_empty();
    Ok(servers.into_iter().any(|server| holds(server.pid)))
}
