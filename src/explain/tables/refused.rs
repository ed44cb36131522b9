// SPDX-License-Identifier: Apache-2.0
//! Sockets, files and devices of QEMU's that are not a vhost-user port: the same words, another answer.

use super::*;

const OTHER: &[Thing] = &[Export, Agent, Console, Monitor, Migration, Display, Control];
const SOURCE: &str = "QEMU util/qemu-sockets.c";

pub(super) const SIGNATURES: &[Signature] = &[
    known("libvirt-socket", Unrelated, &[
        "Failed to connect socket to '{}': Permission denied",
        "Failed to connect socket to '{}': No such file or directory",
        "Failed to connect socket to '{}': Connection refused",
        "Cannot recv data: Connection reset by peer",
        "authentication unavailable: no polkit agent",
        "failed to connect to the hypervisor",
    ], &["the client cannot reach libvirt's daemon: it is not running, or the caller may not (group libvirt, polkit). No vhost-user socket is concerned"])
        .decide("systemctl status virtqemud libvirtd; id")
        .fix("start the daemon; put the caller into the group libvirt")
        .source("libvirt src/rpc/virnetsocket.c"),
    known("monitor-missing", Unrelated, &[
        "dial unix {}: connect: no such file or directory",
        "dial unix {}: connect: connection refused",
        "Unable to connect to unix socket ({})",
    ], &["QEMU's monitor is not there (yet): QEMU did not start, or ended. Its own message, or the log of the VM, says why; this line does not"])
        .of(&[Monitor])
        .decide("QEMU's own lines in the same log; is the process there")
        .fix("what QEMU's own line says")
        .source("QEMU qmp; kata virtcontainers"),
    known("socket-filesystem", Unsupported, &[
        "Failed to bind socket to {}: Operation not permitted",
        "Failed to bind socket to {}: Operation not supported",
    ], &[
        "EPERM, not EACCES: the filesystem there does not support Unix sockets (a shared folder of a VM or a desktop's container machine, some network and FUSE filesystems). It is no question of owner, mode or label",
    ])
    .decide("findmnt -T PATH")
    .fix("put the socket on a local filesystem, such as one below /run")
    .source("bind(2), mknod of the filesystem"),
    known("tpm-socket-denied", Access, &[
        "Failed to connect to '{}': Permission denied",
        "Failed to connect socket {}: Permission denied",
        "Failed to connect socket: Permission denied",
        "Failed to bind socket to {}: Permission denied",
    ], &[
        "the socket of a virtual TPM: swtpm serves it, no switch. QEMU's user or group has no write on it (swtpm's default mode is 0600, so a group that is right has no right)",
        "SELinux or AppArmor: a swtpm that libvirt did not start has no label that QEMU may connect to",
    ])
    .of(&[Tpm])
    .decide(LOOK)
    .fix("let libvirt start swtpm (<tpm> with <backend type='emulator'/>), or start it with --ctrl type=unixio,path=...,mode=0660,gid=...; a chmod is lost at its next start")
    .source("swtpm(8), QEMU util/qemu-sockets.c"),
    known("tpm-socket", Unrelated, &["Failed to connect to '{}': ", "Failed to connect socket {}: ", "Failed to bind socket to {}: "], &[
        "the socket of a virtual TPM: swtpm serves it and is not running, or died",
    ])
    .of(&[Tpm])
    .decide("journalctl -t swtpm; ls -l /var/log/swtpm/libvirt/qemu")
    .fix("see swtpm's own log")
    .source("swtpm(8)"),
    known("other-socket-denied", Access, &[
        "Failed to bind socket to {}: Permission denied",
        "Failed to connect to '{}': Permission denied",
        "Failed to connect socket {}: Permission denied",
        "Failed to unlink socket {}: ",
        "bind(unix:{}): Permission denied",
        "connect(unix:{}): Permission denied",
    ], &[
        "not a vhost-user port: another socket of QEMU's. QEMU's user may not write it, or search or write its directory",
        "SELinux or AppArmor: a path that is only in <qemu:commandline> or that a management program invented has no rule. Where QEMU runs as root, it is this",
    ])
    .of(OTHER)
    .decide(LOOK)
    .fix("give it a path that libvirt knows (below /var/lib/libvirt/qemu or /run/libvirt/qemu), or a directory of its own that QEMU may write; AppArmor: a rule in /etc/apparmor.d/local/abstractions/libvirt-qemu")
    .source(SOURCE),
    known("other-socket", Unrelated, &[
        "Failed to bind socket to {}: ",
        "Failed to connect to '{}': ",
        "Failed to connect socket {}: ",
    ], &["not a vhost-user port: another socket of QEMU's. Its directory does not exist, or nobody listens, as the message says"])
        .of(OTHER)
        .decide("namei -l PATH; ss -xlp | grep PATH")
        .fix("start what serves it, or create its directory")
        .source(SOURCE),
    known("database-missing", Missing, &[
        "unix:{}: database connection failed (No such file or directory)",
        "unix:{}: database connection failed (Connection refused)",
        "unix:{}: database connection attempt failed (No such file or directory)",
        "unix:{}: database connection attempt failed (Connection refused)",
        "unix:{}: connection failed (No such file or directory)",
        "unix:{}: connection failed (Connection refused)",
        "unix:{}: connection attempt failed (No such file or directory)",
        "unix:{}: connection attempt failed (Connection refused)",
        "failed to connect to \"unix:{}\"",
    ], &[
        "the switch's control socket was not there at that moment: the caller ran before ovsdb-server or ovs-vswitchd was up (compare the times: a race at boot or at a restart)",
        "if it is still missing: the daemon is not running, or has another run directory (container, OVS_RUNDIR)",
    ])
    .decide("systemctl status ovsdb-server ovs-vswitchd; ls -l /run/openvswitch/db.sock")
    .fix("order the caller After=ovs-vswitchd.service (Requires= alone orders nothing), or let it try again; then start the daemon if it is down")
    .source("OVS lib/stream-unix.c, utilities/ovs-vsctl.c, systemd units"),
    known("stale-mount", Stale, &[
        "dial unix {}: connect: no such file or directory",
        "connect to {}: no such file or directory",
        "connect: {}: No such file or directory",
    ], &[
        "the daemon that creates this socket is not running, or creates it elsewhere",
        "in a container: its directory is a deleted one. The daemon's RuntimeDirectory= was removed and created anew at a restart, and the container's bind mount still shows the old one",
    ])
    .decide("stat -c '%d %i' of the directory, on the host and in the container: two numbers are a stale mount")
    .fix("restart the container; for good mount the parent directory, or set RuntimeDirectoryPreserve=yes for the daemon's unit. This holds for /run/openvswitch too")
    .source("systemd.exec(5) RuntimeDirectory=; mount_namespaces(7)"),
    known("socket-denied", Access, &[
        "dial unix {}: connect: permission denied",
        "connect: {}: Permission denied",
    ], &[
        "the caller may not write this socket, or search its directory",
        "a container or security module keeps it out, whatever the mode",
    ])
    .decide(LOOK)
    .fix("run the caller as a user or group of the socket's; in a container compare numbers, not names")
    .source("unix(7)"),
    known("socket-refused", Stale, &["dial unix {}: connect: connection refused"], &[
        "the socket file exists, and nobody listens: its daemon ended",
    ])
    .decide("ss -xlp | grep PATH")
    .fix("start the daemon")
    .source("unix(7)"),
];
