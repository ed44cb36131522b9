// SPDX-License-Identifier: Apache-2.0
//! The sockets themselves, by the kernel's own rule: as they are (`live`), as a VM's start would meet them (`start`), and
//! as a VM that runs meets them (`running`).

mod live;
mod running;
mod start;

pub use live::qemu_identity;

use super::{Case, Evidence, Meeting, StartCase};

rules! {
    Broken "server-socket-missing" [Each<Sockets>(start::missing)]
        cause: "no process has created this socket: 'Failed to connect to ...: No such file or directory'",
        effect: "the VM does not start: 'Failed to connect to ...: No such file or directory'",
        see: "ls -l PATH; systemctl status ovs-vswitchd",
        fix: "start the program that creates the socket; add the port",
        source: "QEMU util/qemu-sockets.c",
    Broken "server-socket-stale" [Node(live::stale), Each<Sockets>(start::stale)]
        cause: "its process is gone: QEMU fails with 'Connection refused', and a back end that uses DPDK cannot create it again ('Address already in use')",
        ahead: "its process is gone: QEMU fails with 'Connection refused', and DPDK cannot create the socket again",
        effect: "OVS cannot create the port ('Address already in use; remove it and try again'); VMs get 'Connection refused'",
        see: "ss -xlp src PATH; lsof PATH",
        fix: "remove the socket file, then restart the program that serves it",
        source: "DPDK lib/vhost/socket.c; seen after kill -9 of ovs-vswitchd 3.1",
    Broken "not-a-socket" [Each<Sockets>(start::not_a_socket)]
        cause: "another file is at the path of the socket",
        effect: "the VM does not start",
        see: "stat PATH",
        fix: "move the file away, then start the VM",
        source: "QEMU util/qemu-sockets.c",
    Broken "server-socket-refuses-qemu" [Node(live::server_socket), Each<Sockets>(start::refuses_qemu), Socket(running::refuses_qemu)]
        cause: "QEMU needs write permission to connect to this socket: 'Failed to connect to ...: Permission denied'",
        effect: "the VM does not start: 'Failed to connect to ...: Permission denied'",
        see: "ls -l PATH; namei -l PATH (QEMU needs write on the socket and search on each directory)",
        fix: "vhost-accord apply; or use a dpdkvhostuserclient port",
        source: "unix(7); launchpad 1546565; seen with OVS 3.1: root:root 0755",
    Broken "client-socket-in-use" [Each<Sockets>(start::in_use)]
        cause: "QEMU removes an existing socket before it creates its own, also that of another process",
        effect: "another VM loses its network at the next reconnect; nothing is logged",
        see: "ss -xlp src PATH",
        fix: "give one of the two VMs another path",
        source: "QEMU util/qemu-sockets.c (unlink before bind)",
    Broken "client-socket-in-the-way" [Each<Sockets>(start::in_the_way)]
        cause: "a stale socket is in the way and QEMU may not remove it: 'Failed to unlink socket ...'",
        effect: "the VM does not start: 'Failed to unlink socket ...'",
        see: "ls -ld PATH; ls -ld DIRECTORY (sticky bit)",
        fix: "remove the stale socket, and the sticky bit of the directory",
        source: "seen with QEMU 7.2 in a sticky directory",
    Broken "client-socket-refuses-dataplane" [Node(live::client_socket), Each<Sockets>(start::refuses_dataplane), Socket(running::refuses_dataplane)]
        cause: "OVS needs write permission to connect to this socket, and retries silently: the VM hangs or has no network",
        ahead: "OVS needs write permission to connect to this socket, and retries silently: the VM would hang forever",
        effect: "the VM hangs while it starts, or runs without network; OVS logs 'failed to connect: Permission denied' once",
        see: "namei -l PATH; grep -E '^(Uid|Gid)' /proc/$(pidof ovs-vswitchd)/status",
        fix: "vhost-accord apply",
        source: "DPDK lib/vhost/socket.c; ovs-issues 200; seen with OVS 3.1",
    Broken "client-socket-group" [Node(live::client_socket_group)]
        cause: "the socket does not have the shared group, so a dataplane that is not root cannot connect",
        effect: "nothing while the dataplane is root; with another user, the VM loses its network",
        see: "ls -l /var/lib/vhost_sockets",
        fix: "vhost-accord apply",
        source: "seen with OVS 3.1 as openvswitch:hugetlbfs",
}
