// SPDX-License-Identifier: Apache-2.0
//! Who listens at a socket file and who is connected through it, by the file's inode and not by its name: the name may
//! have been given to another socket meanwhile.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::socket::Socket;
use super::{FreePort, Machine};
use crate::base::root::Root;
use crate::base::root::ss::Stream;
use crate::dataplane::ovs::vswitchd::Vswitchd;
use crate::facts::domains::SocketMode;
use crate::facts::owners::{self, Expected, Owner};

/// One end of a connection, or a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct End {
    /// The socket's inode in sockfs.
    pub inode: u64,
    /// Who holds it; `None` where no process that we see does.
    pub owner: Option<Owner>,
}

/// What is behind a socket file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Link {
    /// Who listens.
    pub listener: Option<End>,
    /// Each connection through it: the listener's end first, then the one that connected.
    pub connections: Vec<(End, End)>,
}

/// All sockets that are bound to files, and who holds them.
pub struct Links {
    sockets: HashMap<u32, Vec<Stream>>,
    owners: HashMap<u64, Owner>,
}

impl Links {
    pub fn new(
        root: &Root,
        found: Vec<Stream>,
        machines: &[Machine],
        free: &[FreePort],
        vswitchd: &Vswitchd,
    ) -> Links {
        let ours = machines.iter().flat_map(|machine| &machine.start.sockets);
        let ours = ours.chain(free.iter().map(|port| &port.socket));
        let files: HashSet<u32> = ours.filter_map(|socket| Some(cut(socket.id?.1))).collect();
        let mut sockets: HashMap<u32, Vec<Stream>> = HashMap::new();
        for socket in found {
            if let Some((_, inode)) = socket.file.filter(|(_, inode)| files.contains(inode)) {
                sockets.entry(inode).or_default().push(socket);
            }
        }
        let concerned = sockets.values().flatten();
        let wanted: HashSet<u64> =
            concerned.flat_map(|socket| [Some(socket.inode), socket.peer]).flatten().collect();
        let expected = expected(&sockets, &wanted, machines, vswitchd);
        let owners = owners::find(root, wanted, &expected);
        Links { sockets, owners }
    }

    pub fn of(&self, socket: &Socket) -> Link {
        let mut link = Link::default();
        let Some(id) = socket.id else { return link };
        let candidates = self.sockets.get(&cut(id.1)).into_iter().flatten();
        for found in candidates.filter(|found| found.is_at(id, &socket.path)) {
            match (found.listening, found.peer) {
                (true, _) => link.listener = Some(self.end(found.inode)),
                (false, Some(peer)) => link.connections.push((self.end(found.inode), self.end(peer))),
                (false, None) => {}
            }
        }
        link
    }

    fn end(&self, inode: u64) -> End {
        End { inode, owner: self.owners.get(&inode).cloned() }
    }
}

/// QEMU has its VM's ends, the switch all others.
fn expected<'a>(
    sockets: &HashMap<u32, Vec<Stream>>,
    wanted: &HashSet<u64>,
    machines: &'a [Machine],
    vswitchd: &'a Vswitchd,
) -> Vec<Expected<'a>> {
    let mut of_switch = wanted.clone();
    let mut expected = Vec::new();
    for machine in machines {
        let Some(process) = &machine.process else { continue };
        let inodes: HashSet<u64> =
            machine.start.sockets.iter().flat_map(|socket| of_qemu(sockets, socket)).collect();
        for inode in &inodes {
            of_switch.remove(inode);
        }
        expected.push(Expected { pid: process.pid, name: &process.status.name, inodes });
    }
    let switch = vswitchd.process().map(|process| (process.pid, process.status.name.as_str()));
    expected.extend(switch.map(|(pid, name)| Expected { pid, name, inodes: of_switch }));
    expected
}

fn of_qemu(sockets: &HashMap<u32, Vec<Stream>>, socket: &Socket) -> Vec<u64> {
    let found = socket.id.and_then(|(_, inode)| sockets.get(&cut(inode))).map(Vec::as_slice);
    let own = |found: &Stream| match socket.endpoint.mode {
        SocketMode::Server => Some(found.inode),
        SocketMode::Client => found.peer,
    };
    found.unwrap_or_default().iter().filter_map(own).collect()
}

/// What sock_diag tells of an inode.
fn cut(inode: u64) -> u32 {
    (inode & u64::from(u32::MAX)) as u32
}
