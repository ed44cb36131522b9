// SPDX-License-Identifier: Apache-2.0
//! virtiofsd (the one of QEMU 5 to 7 in C, and the one in Rust) and other vhost-user filesystems.

use super::*;

const BY: &[Program] = &[Program::Virtiofsd, Program::Containers];
const OWN: &str = "virtiofsd's own log; dmesg | grep -E 'avc|apparmor=|seccomp'";

pub(super) const SIGNATURES: &[Signature] = &[
    known("virtiofsd-sandbox", SecurityModule, &[
        "mount({*}MS_REC|MS_SLAVE): Permission denied",
        "mount({*}MS_REC): Permission denied",
        "mount({*}): Permission denied",
        "mount({*}): Operation not permitted",
        "Error entering sandbox",
        "Error creating sandbox",
        "Failed to enter sandbox",
        "unshare({*}): Operation not permitted",
        "pivot_root({*}): ",
        "setup_mounts",
        "setup_seccomp",
        "Couldn't create user namespace: Operation not permitted",
    ], &[
        "virtiofsd may not build its sandbox (mount, unshare, pivot_root) and exits: in a container AppArmor's default profile, seccomp or a missing CAP_SYS_ADMIN forbids it. QEMU then only says that the connection was closed ('Failed to read msg header', 'vhost_dev_init failed: Operation not permitted')",
    ])
    .decide("dmesg | grep apparmor=; the container's security profile and capabilities")
    .fix("run that container with a profile that allows mount (AppArmor unconfined for it), or virtiofsd with --sandbox=chroot or none; the socket's owner and mode are right")
    .source("virtiofsd src/sandbox.rs; QEMU 5-7 tools/virtiofsd/passthrough_ll.c")
    .ends_connection(),
    known("virtiofsd-soft-limit", Harmless, &["open file descriptors is used instead"], &[
        "a note of virtiofsd: it may open fewer files than it would like",
    ])
    .fix("nothing")
    .source("virtiofsd src/limits.rs"),
    known("virtiofsd-limit", Setting, &[
        "Error increasing number of open files",
        "Failed to increase the limit of open files",
        "setrlimit(RLIMIT_NOFILE",
    ], &["the limit of open files is too low for virtiofsd, or may not be raised"])
        .by(BY)
        .decide("grep 'open files' /proc/PID/limits")
        .fix("LimitNOFILE= of the unit that starts it, or --rlimit-nofile=0")
        .source("virtiofsd src/limits.rs")
        .ends_connection(),
    known("virtiofsd-listen", Access, &[
        "Error creating listener",
        "Failed to create listener",
        "vhost socket failed to bind",
        "Error binding socket",
        "Failed creating listener",
        "vu_socket_path",
    ], &["virtiofsd cannot create its socket: its directory does not exist, or is not writable for its user", "SELinux or AppArmor"])
        .by(BY)
        .decide("namei -l PATH; the user that virtiofsd runs as")
        .fix("create the directory first, for virtiofsd's user; --socket-group=QEMU'S-GROUP lets QEMU connect")
        .source("virtiofsd src/main.rs"),
    known("virtiofsd-ended", BackEnd, &[
        "Waiting for daemon failed",
        "HandleRequest({*})",
        "virtiofsd died unexpectedly",
        "virtiofsd exited",
        "virtio_loop: Unexpected",
        "fv_queue_thread",
        "vu_panic: {*}",
    ], &["virtiofsd ended, or broke the connection off: the line says at what"])
        .by(&[Program::Virtiofsd, Program::Libvirt, Program::BackEnd, Program::Containers])
        .decide(OWN)
        .fix("what the line says; start the VM again, virtiofsd serves one connection only")
        .source("virtiofsd src/main.rs; libvhost-user")
        .ends_connection(),
    known("virtiofsd-waits", Harmless, &[
        "Waiting for vhost-user socket connection",
        "Client connected, servicing requests",
        "Client disconnected, shutting down",
        "virtio_session_mount: ",
    ], &["virtiofsd tells how it gets on: no error. It ends when its VM does"])
        .fix("nothing")
        .source("virtiofsd src/main.rs"),
    known("virtiofsd-missing", Unsupported, &[
        "Unable to find a satisfying virtiofsd",
        "virtiofsd binary {*} not found",
        "virtiofs is not supported",
    ], &["libvirt finds no virtiofsd: it is a package of its own since QEMU 8"])
        .decide("ls /usr/share/qemu/vhost-user /usr/libexec/virtiofsd")
        .fix("install the package virtiofsd")
        .source("libvirt src/qemu/qemu_vhost_user.c"),
];
