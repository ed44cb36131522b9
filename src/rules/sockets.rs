// SPDX-License-Identifier: Apache-2.0
//! The sockets themselves, by the kernel's own rule: as they are (`live`), as a VM's start would meet them (`start`), and
//! as a VM that runs meets them (`running`).

mod live;
mod running;
mod start;

pub use live::qemu_identity;

use super::{Ask, Case, Evidence, Level, Meeting, Rule, StartCase};
use crate::config::Family;

pub const RULES: &[Rule] = &[
    Rule {
        id: "server-socket-missing",
        level: Level::Broken,
        cause: "no process has created this socket: 'Failed to connect to ...: No such file or directory'",
        asks: &[Ask::Start(Family::Sockets, None, start::missing)],
        effect: "the VM does not start: 'Failed to connect to ...: No such file or directory'",
        see: "ls -l PATH; systemctl status ovs-vswitchd",
        fix: "start the program that creates the socket; add the port",
        source: "QEMU util/qemu-sockets.c",
    },
    Rule {
        id: "server-socket-stale",
        level: Level::Broken,
        cause: "its process is gone: QEMU fails with 'Connection refused', and a back end that uses DPDK cannot create it again ('Address already in use')",
        asks: &[
            Ask::Node(live::stale),
            Ask::Start(
                Family::Sockets,
                Some(
                    "its process is gone: QEMU fails with 'Connection refused', and DPDK cannot create the socket again",
                ),
                start::stale,
            ),
        ],
        effect: "OVS cannot create the port ('Address already in use; remove it and try again'); VMs get 'Connection refused'",
        see: "ss -xlp src PATH; lsof PATH",
        fix: "remove the socket file, then restart the program that serves it",
        source: "DPDK lib/vhost/socket.c; seen after kill -9 of ovs-vswitchd 3.1",
    },
    Rule {
        id: "not-a-socket",
        level: Level::Broken,
        cause: "another file is at the path of the socket",
        asks: &[Ask::Start(Family::Sockets, None, start::not_a_socket)],
        effect: "the VM does not start",
        see: "stat PATH",
        fix: "move it away",
        source: "QEMU util/qemu-sockets.c",
    },
    Rule {
        id: "server-socket-refuses-qemu",
        level: Level::Broken,
        cause: "QEMU needs write permission to connect to this socket: 'Failed to connect to ...: Permission denied'",
        asks: &[
            Ask::Node(live::server_socket),
            Ask::Start(Family::Sockets, None, start::refuses_qemu),
            Ask::Socket(running::refuses_qemu),
        ],
        effect: "the VM does not start: 'Failed to connect to ...: Permission denied'",
        see: "ls -l PATH; namei -l PATH (QEMU needs write on the socket and search on each directory)",
        fix: "vhost-accord apply; or use a dpdkvhostuserclient port",
        source: "unix(7); launchpad 1546565; seen with OVS 3.1: root:root 0755",
    },
    Rule {
        id: "client-socket-in-use",
        level: Level::Broken,
        cause: "QEMU removes an existing socket before it creates its own, also that of another process",
        asks: &[Ask::Start(Family::Sockets, None, start::in_use)],
        effect: "another VM loses its network at the next reconnect; nothing is logged",
        see: "ss -xlp src PATH",
        fix: "give one of the two VMs another path",
        source: "QEMU util/qemu-sockets.c (unlink before bind)",
    },
    Rule {
        id: "client-socket-in-the-way",
        level: Level::Broken,
        cause: "a stale socket is in the way and QEMU may not remove it: 'Failed to unlink socket ...'",
        asks: &[Ask::Start(Family::Sockets, None, start::in_the_way)],
        effect: "the VM does not start: 'Failed to unlink socket ...'",
        see: "ls -ld PATH; ls -ld DIRECTORY (sticky bit)",
        fix: "remove the stale socket, and the sticky bit of the directory",
        source: "seen with QEMU 7.2 in a sticky directory",
    },
    Rule {
        id: "client-socket-refuses-dataplane",
        level: Level::Broken,
        cause: "OVS needs write permission to connect to this socket, and retries silently: the VM hangs or has no network",
        asks: &[
            Ask::Node(live::client_socket),
            Ask::Start(
                Family::Sockets,
                Some(
                    "OVS needs write permission to connect to this socket, and retries silently: the VM would hang forever",
                ),
                start::refuses_dataplane,
            ),
            Ask::Socket(running::refuses_dataplane),
        ],
        effect: "the VM hangs while it starts, or runs without network; OVS logs 'failed to connect: Permission denied' once",
        see: "namei -l PATH; grep -E '^(Uid|Gid)' /proc/$(pidof ovs-vswitchd)/status",
        fix: "vhost-accord apply",
        source: "DPDK lib/vhost/socket.c; ovs-issues 200; seen with OVS 3.1",
    },
    Rule {
        id: "client-socket-group",
        level: Level::Broken,
        cause: "the socket does not have the shared group, so a dataplane that is not root cannot connect",
        asks: &[Ask::Node(live::client_socket_group)],
        effect: "nothing while the dataplane is root; with another user, the VM loses its network",
        see: "ls -l /var/lib/vhost_sockets",
        fix: "vhost-accord apply",
        source: "seen with OVS 3.1 as openvswitch:hugetlbfs",
    },
];
