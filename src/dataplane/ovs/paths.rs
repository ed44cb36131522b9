// SPDX-License-Identifier: Apache-2.0
//! Every fixed place of OVS, once.

use std::path::{Path, PathBuf};

/// OVS's run directory: control sockets, the database's socket, `dpdkvhostuser` sockets.
pub const RUN: &str = "/run/openvswitch";
/// OVSDB's own socket.
pub const OVSDB_SOCKET: &str = "/run/openvswitch/db.sock";
/// OVS's configuration directory.
pub const ETC: &str = "/etc/openvswitch";
/// The database's directory since OVS 3.1 (RHEL) and on Debian; before, it is in [`ETC`].
pub const LIB: &str = "/var/lib/openvswitch";
/// OVS's logs.
pub const LOG: &str = "/var/log/openvswitch";
/// The script that starts both daemons.
pub const CTL: &str = "/usr/share/openvswitch/scripts/ovs-ctl";
/// The database's name, in [`ETC`] or [`LIB`].
pub const DATABASE: &str = "conf.db";

/// Where the database can be.
pub fn databases() -> [PathBuf; 2] {
    [ETC, LIB].map(|directory| Path::new(directory).join(DATABASE))
}
