// SPDX-License-Identifier: Apache-2.0
//! QEMU and its sockets that are vhost-user's, or that nothing is known of. Formats: util/qemu-sockets.c and chardev/
//! of QEMU 2.5 to 11.

use super::*;

const PORT: &[Thing] = &[Network, VhostUser, Socket, Unknown];
const SOURCE: &str = "QEMU util/qemu-sockets.c";

const BIND_DENIED: &[&str] =
    &["Failed to bind socket to {}: Permission denied", "bind(unix:{}): Permission denied"];
const CONNECT_DENIED: &[&str] = &[
    "Failed to connect to '{}': Permission denied",
    "Failed to connect socket {}: Permission denied",
    "Failed to connect socket: Permission denied",
    "connect(unix:{}): Permission denied",
];
const CONNECT_MISSING: &[&str] = &[
    "Failed to connect to '{}': No such file or directory",
    "Failed to connect socket {}: No such file or directory",
    "Failed to connect socket: No such file or directory",
    "connect(unix:{}): No such file or directory",
];
const CONNECT_REFUSED: &[&str] = &[
    "Failed to connect to '{}': Connection refused",
    "Failed to connect socket {}: Connection refused",
    "Failed to connect socket: Connection refused",
    "connect(unix:{}): Connection refused",
];
const OWNER_OR_MODULE: &str =
    "owner and mode: connecting needs write on the socket and search on each directory above it";
const MODULE: &str = "SELinux or AppArmor: then ls -l looks right, and no chmod helps";

pub(super) const SIGNATURES: &[Signature] = &[
    known("qemu-bind-denied", Access, BIND_DENIED, &[
        "QEMU creates this socket (mode='server') and may not write or search its directory",
        "SELinux or AppArmor: then owner and mode look right. A socket in <qemu:commandline> gets no AppArmor rule",
        "the path is not the one that was meant, for example without a '/' between directory and name",
    ])
    .by(QEMU)
    .of(PORT)
    .findings(&["socket-directory-refuses-qemu", "socket-directory-owner", "socket-directory-mode", "selinux-label"])
    .asks(Actor::Qemu, Wish::Create)
    .decide(LOOK)
    .fix("put the socket into a directory made for such sockets, which QEMU may write (mode 2770 or 2775, owned by QEMU's user); never hand a home directory, /tmp or another program's directory to QEMU")
    .source(SOURCE),
    known("qemu-bind-no-directory", Missing, &["Failed to bind socket to {}: No such file or directory"], &[
        "the directory in which QEMU creates this socket does not exist (one below /run is gone after a boot)",
        "it exists elsewhere only: QEMU runs in a container, or in a mount namespace of its own",
    ])
    .by(QEMU)
    .of(PORT)
    .findings(&["socket-directory-missing"])
    .asks(Actor::Qemu, Wish::Create)
    .decide("namei -l PATH, on the host and in the container")
    .fix("create the directory by a tmpfiles.d line, so that it is there after each boot")
    .source(SOURCE),
    known("qemu-bind-read-only", Missing, &["Failed to bind socket to {}: Read-only file system"], &[
        "the directory is on a filesystem that is mounted read-only",
    ])
    .by(QEMU)
    .of(PORT)
    .findings(&["socket-directory-refuses-qemu"])
    .decide("findmnt -T PATH")
    .fix("mount it rw, or give ports and VMs another socket directory")
    .source(SOURCE),
    known("qemu-bind-in-use", Stale, &["Failed to bind socket to {}: Address already in use"], &[
        "another process created the socket between QEMU's unlink and its bind: two VMs, or a VM and the switch, have the same path",
    ])
    .by(QEMU)
    .of(PORT)
    .decide("ss -xlp | grep PATH; ovs-vsctl --columns=name,type,options find Interface")
    .fix("one path for one port; only one of the two ends may serve it")
    .source(SOURCE),
    known("qemu-connect-denied", Access, CONNECT_DENIED, &[OWNER_OR_MODULE, MODULE])
        .by(QEMU)
        .of(&[Network])
        .findings(&["server-socket-refuses-qemu", "dataplane-umask"])
        .asks(Actor::Qemu, Wish::Connect)
        .decide(LOOK)
        .fix("the switch created this socket (port type dpdkvhostuser): its group must be one of QEMU's, with write; a chmod is lost at the next start. Better: a dpdkvhostuserclient port, whose socket QEMU creates")
        .source(SOURCE),
    known("virtiofsd-socket-denied", Access, CONNECT_DENIED, &[
        "virtiofsd, started by hand or by a unit, made its socket for its own user only (0700 without --socket-group)",
        "SELinux or AppArmor: the socket has its directory's label, not one that QEMU may connect to",
    ])
    .by(QEMU)
    .of(&[Filesystem])
    .decide(LOOK)
    .fix("start virtiofsd with --socket-group=QEMU'S-GROUP; with SELinux also chcon -t svirt_image_t on the socket; or let libvirt start it (no <source socket=>). A running VM is not harmed by a failed attach")
    .source("QEMU util/qemu-sockets.c; virtiofsd src/main.rs (--socket-group)"),
    known("back-end-socket-denied", Access, CONNECT_DENIED, &[
        "the back end (SPDK, qemu-storage-daemon, ...) created the socket with its own user and umask: QEMU may not write it",
        MODULE,
    ])
    .by(QEMU)
    .of(&[Disk, VhostUser, Socket, Unknown])
    .decide(LOOK)
    .fix("give QEMU's user the socket by the back end's own option, by UMask= of its unit with a common group, or by an ACL after it started (setfacl -m u:USER:rw); libvirt sets no owner of such sockets. AppArmor has no rule for <disk type='vhostuser'>: add one")
    .source(SOURCE),
    known("qemu-connect-missing", Missing, CONNECT_MISSING, &[
        "nobody created this socket: the switch is down, or has no such port",
        "both ends are clients: a dpdkvhostuserclient port waits for QEMU to create it (mode='server' in the domain); typical after an upgrade or a migration of old VMs",
        "the path is another one for the switch (container, /var/run), or longer than 107 bytes",
    ])
    .by(QEMU)
    .of(&[Network])
    .findings(&["server-socket-missing", "both-ends-client", "dataplane-not-running", "port-missing"])
    .decide("ovs-vsctl --columns=name,type,options find Interface; systemctl status ovs-vswitchd")
    .fix("give both ends one path and different roles: dpdkvhostuserclient with mode='server', dpdkvhostuser with mode='client'")
    .source(SOURCE),
    known("back-end-socket-missing", Missing, CONNECT_MISSING, &[
        "the back end is not running yet, or ended: it creates this socket when it starts (virtiofsd serves one VM, then exits)",
        "it created the socket elsewhere: another path, a container without this directory, a deleted directory that is still mounted there",
    ])
    .by(QEMU)
    .of(&[Disk, Filesystem, VhostUser, Socket, Unknown])
    .decide("ss -xlp | grep NAME-OF-THE-SOCKET; the log of the back end")
    .fix("start the back end before the VM, and again for each start of the VM if it serves one connection only")
    .source(SOURCE),
    known("qemu-connect-refused", Stale, CONNECT_REFUSED, &[
        "the socket file exists and QEMU may write it, but nobody listens: the switch that created it was killed",
    ])
    .by(QEMU)
    .of(&[Network])
    .findings(&["server-socket-stale", "dataplane-not-running"])
    .decide("ss -xl | grep PATH; systemctl status ovs-vswitchd")
    .fix("remove the socket file if nobody listens, then restart the switch")
    .source(SOURCE),
    known("back-end-socket-refused", Stale, CONNECT_REFUSED, &[
        "the socket file exists and QEMU may write it, but nobody listens: the back end (virtiofsd, SPDK, ...) exited, crashed or never listened. This is no question of owner or mode",
    ])
    .by(QEMU)
    .of(&[Disk, Filesystem, VhostUser, Socket, Unknown])
    .decide("ss -xl | grep PATH; the back end's own log and exit status")
    .fix("start the back end again (it removes the stale file, or remove it by hand), then the VM")
    .source(SOURCE),
    known("qemu-connect-retry", Stale, &[
        "Unable to connect character device {}: Connection refused",
        "Unable to connect character device {*}: {}: ",
    ], &["QEMU is the client and tries again (reconnect): the back end is not there now"])
        .by(QEMU)
        .decide("ss -xl | grep PATH; the back end's own log")
        .fix("start the back end; QEMU connects by itself")
        .source("QEMU chardev/char-socket.c"),
    known("chardev-failed", Access, &["chardev: opening backend \"{}\" failed"], &[
        "QEMU could not create or connect its socket: the end of the line, or the line before, says why (old QEMU's words for all of it)",
        "permission: owner or mode of the socket or its directory, or a security module",
    ])
    .by(QEMU)
    .decide(LOOK)
    .fix("what the line's end says")
    .source("QEMU 1.x and 2.x qemu-char.c"),
    known("qemu-unlink-denied", Access, &["Failed to unlink socket {}: "], &[
        "a socket of another user is in the way, and QEMU may not remove it: a sticky directory such as /tmp, or a directory that QEMU may not write",
        MODULE,
    ])
    .by(QEMU)
    .of(PORT)
    .findings(&["client-socket-in-the-way", "socket-directory-owner", "socket-directory-mode"])
    .decide("ls -ld the directory; ls -l the socket; ss -xl | grep PATH")
    .fix("remove the socket if nobody listens on it; no sticky bit on a directory for such sockets")
    .source(SOURCE),
    known("qemu-waits", Stale, &[
        "QEMU waiting for connection on: disconnected:unix:{},server",
        "QEMU waiting for connection on: unix:{},server",
    ], &[
        "not an error by itself: QEMU serves this socket and does not run the VM until the other end connects (virsh start seems to hang)",
        "if it stays: the switch has no dpdkvhostuserclient port with exactly this vhost-server-path, may not reach the socket, or serves the same path itself",
    ])
    .findings(&["port-missing", "both-ends-server", "client-socket-refuses-dataplane", "dataplane-not-running"])
    .decide("ovs-vsctl --columns=name,type,options find Interface type=dpdkvhostuserclient; vhost-accord check")
    .fix("add or start the other end; virsh destroy ends the waiting")
    .source("QEMU chardev/char-socket.c"),
    known("socket-path-too-long", Setting, &["UNIX socket path '{}' is too long", "Path must be less than {*} bytes"], &[
        "a Unix socket's path has at most 107 bytes (DPDK cuts the rest off without a word)",
    ])
    .findings(&["socket-path-too-long"])
    .fix("use a directory with a shorter path, or bind-mount one there")
    .source(SOURCE),
];
