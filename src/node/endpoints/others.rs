// SPDX-License-Identifier: Apache-2.0
//! Other dataplanes than the switch that is asked: who listens at a socket by the kernel, and who was told to use it by its
//! own arguments.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::socket::Socket;
use super::{Machine, Owner};
use crate::base::root::Root;
use crate::base::root::ss::Stream;
use crate::dataplane::ovs::vswitchd::Vswitchd;
use crate::facts::domains::SocketMode;
use crate::facts::{diag, owners};

/// Who has each of these sockets, where that is not the switch.
pub fn name(root: &Root, sockets: &mut [Socket], vswitchd: &Vswitchd) {
    let kernels = diag::sockets(root).unwrap_or_default();
    let listener = |socket: &Socket| {
        let id = socket.id?;
        let listens = |found: &&Stream| found.listening && found.is_at(id, &socket.path);
        kernels.iter().find(listens).map(|found| found.inode)
    };
    let listeners: Vec<Option<u64>> = sockets.iter().map(listener).collect();
    let wanted: HashSet<u64> = listeners.iter().copied().flatten().collect();
    let holders = if wanted.is_empty() { HashMap::new() } else { owners::find(root, wanted, &[]) };
    for (socket, inode) in sockets.iter_mut().zip(listeners) {
        let holder = inode.and_then(|inode| holders.get(&inode));
        socket.other = holder.filter(|owner| !is_switch(vswitchd, owner.pid)).cloned();
    }
    by_arguments(root, sockets.iter_mut().filter(|socket| socket.other.is_none()).collect());
}

/// The same of all machines, whose listeners are known already. `is_ports` says of a path that a port of the switch has it.
pub fn name_all(
    root: &Root,
    machines: &mut [Machine],
    vswitchd: &Vswitchd,
    is_ports: &dyn Fn(&Path) -> bool,
) {
    // Where each socket has its port in the switch that is asked, another one makes no difference.
    let mut paths = machines.iter().flat_map(|machine| &machine.start.sockets).map(|socket| &socket.path);
    let known = machines.first().map(|machine| machine.start.seconds_units()).unwrap_or_default();
    let second = if paths.all(|path| is_ports(path)) { None } else { vswitchd.second(root, &known) };
    let mut unnamed = Vec::new();
    for machine in machines {
        machine.start.second.clone_from(&second);
        let qemu = machine.process.as_ref().map(|process| process.pid);
        for (socket, link) in machine.start.sockets.iter_mut().zip(&machine.links) {
            let listener = link.listener.as_ref().and_then(|end| end.owner.as_ref());
            let is_other = |owner: &&Owner| Some(owner.pid) != qemu && !is_switch(vswitchd, owner.pid);
            socket.other = listener.filter(is_other).cloned();
            if socket.other.is_none() && !is_ports(&socket.path) {
                unnamed.push(socket);
            }
        }
    }
    by_arguments(root, unnamed);
}

/// Whoever listens needs no arguments to be known.
fn by_arguments(root: &Root, sockets: Vec<&mut Socket>) {
    let paths: HashSet<&Path> = sockets.iter().map(|socket| socket.path.as_path()).collect();
    let named = owners::named(root, &paths);
    for socket in sockets {
        socket.other = named.get(&socket.path).cloned();
    }
}

fn is_switch(vswitchd: &Vswitchd, pid: u32) -> bool {
    vswitchd.process().is_some_and(|process| process.pid == pid)
}

/// The end that should be the dataplane's and the one that should be QEMU's.
pub fn sides<T>(mode: SocketMode, (listener, client): &(T, T)) -> (&T, &T) {
    match mode {
        SocketMode::Server => (client, listener),
        SocketMode::Client => (listener, client),
    }
}
