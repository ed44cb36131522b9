// SPDX-License-Identifier: Apache-2.0
//! Fixes for sockets of other back ends than the switch: in the words of whoever has them, as far as the kernel tells.

use super::Start;
use crate::access::{Denial, Identity};
use crate::accord::Given;
use crate::base::shell;
use crate::config::PortType;
use crate::dataplane::ovs;
use crate::fixes;
use crate::node::endpoints::Socket;
use crate::rules::start::StartCase;

fn unit(socket: &Socket) -> Option<&str> {
    socket.other.as_ref()?.unit.as_deref().filter(|unit| unit.ends_with(".service"))
}

/// What was seen, and who has the socket.
pub fn seen(socket: &Socket, seen: String) -> String {
    match &socket.other {
        Some(other) => format!("{} listens on it; {seen}", other.text()),
        None => seen,
    }
}

/// Whoever is to serve it has to be started; where nobody was told to, the files that name it say who it is. A section's unit
/// may run and serve other VMs.
pub fn serve(case: &StartCase<'_>, socket: &Socket) -> String {
    if let Some(asked) = case.second(socket) {
        return ovs::fixes::serve(&asked.second, asked.port_at(&socket.path));
    }
    match (unit(socket), case.start.section(&socket.path)) {
        (Some(unit), _) => format!("systemctl restart {}", shell::quote(unit)),
        (None, Some(Given { unit, .. })) => {
            format!("systemctl start {}  # if it runs already: restart", shell::quote(unit))
        }
        (None, None) => {
            let path = shell::path(&socket.path);
            format!("grep -rlsF -e {path} /etc /run/systemd/system /usr/lib/systemd/system")
        }
    }
}

/// Lets QEMU through to this one socket, or through the directory that refuses it.
pub fn let_in(start: &Start, socket: &Socket, denial: &Denial, qemu: &Identity) -> String {
    let lacks = |given: &Given| match &socket.node {
        _ if denial.path == given.sockets.directory => given.sockets.pattern.is_none(),
        Some(node) => denial.path == socket.path && given.lacks(node.uid, node.gid, node.mode),
        None => false,
    };
    if start.section(&socket.path).is_some_and(lacks) {
        return fixes::APPLY.to_string();
    }
    let rights = if denial.path == socket.path { "rw" } else { "x" };
    let until = unit(socket).filter(|_| denial.path == socket.path);
    let until = until.map(|unit| format!("  # until {} is started again", comment(unit)));
    format!("{}{}", fixes::acl(qemu.uid, rights, &denial.path), until.unwrap_or_default())
}

/// Lets QEMU create its socket there, unless it is the dataplane that creates it.
pub fn let_create(start: &Start, socket: &Socket, denial: &Denial, qemu: &Identity) -> String {
    if start.section(&socket.path).is_some() {
        return fixes::convert_domain(&start.domain, &socket.path, PortType::Dpdkvhostuser, &socket.path);
    }
    fixes::acl(qemu.uid, "rwx", &denial.path)
}

/// The directory that QEMU creates its socket in.
pub fn directory(socket: &Socket, qemu: Option<&Identity>) -> String {
    let owner = qemu.map(|qemu| format!(" -o {}", qemu.uid)).unwrap_or_default();
    let parent = socket.path.parent().map(shell::path).unwrap_or_default();
    format!("install -d{owner} {parent}")
}

/// A unit's name as part of a comment: nothing that ends the line.
fn comment(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic()).collect()
}
