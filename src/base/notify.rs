// SPDX-License-Identifier: Apache-2.0
//! What a service of `Type=notify` tells systemd (`sd_notify(3)`): lines of `NAME=VALUE` in one datagram.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Tells systemd, if it started this process.
pub fn notify(lines: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let send = || -> std::io::Result<()> {
        let bytes = path.as_encoded_bytes();
        let address = match bytes.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&path)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.send_to_addr(lines.as_bytes(), &address).map(drop)
    };
    // Ignored: without these messages systemd restarts us.
    let _ = send();
}
