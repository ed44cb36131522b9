// SPDX-License-Identifier: Apache-2.0
//! What QEMU says of vhost-user devices once it is connected. Formats: hw/virtio/vhost*.c, net/vhost-user.c, hw/block and
//! hw/virtio/vhost-user-fs.c of QEMU 2.5 to 11.

use super::*;

const SOURCE: &str = "QEMU hw/virtio/vhost-user.c, hw/virtio/vhost.c";
const REFUSED: &[Thing] = &[Disk];

const CLOSED: &[&str] = &[
    "Failed to read msg header",
    "Failed to read msg payload",
    "Unexpected end-of-file before all data were read",
    "Failed to read from slave.",
    "Failed to read from backend",
    "Failed to write msg. Wrote",
    "Failed to set msg fds.",
    "ring restore failed",
    "vhost_dev_init failed",
    "vhost_backend_init failed",
    "vhost init failed",
    "vhost_set_vring_call failed",
    "vhost_set_vring_kick failed",
    "vhost_set_features failed",
    "vhost_set_owner failed",
    "vhost_set_log_base failed",
    "Error starting vhost: ",
    "vhost-user: failed to init vhost_net",
    "failed to init vhost_net for queue",
    "Received unexpected msg type",
    "Unexpected error: vhost",
];

pub(super) const SIGNATURES: &[Signature] = &[
    known("too-many-queues", Setting, &[
        "you are asking more queues than supported: {}",
        "The maximum number of queues supported by the backend is {}",
        "Invalid queue pair number",
        "backend supports fewer queues",
        "queue size {*} exceeds the maximum",
    ], &["the device has more queues than the back end offers"])
        .decide("the device's queues= or num-queues in the domain; the back end's own number (ovs: options:n_rxq, qemu-storage-daemon: num-queues=, SPDK: cores)")
        .fix("<driver queues='N'/> of at most what the back end has")
        .source("QEMU net/vhost-user.c, hw/block/vhost-user-blk.c"),
    known("config-refused", Setting, &["get block config failed", "Original request 24.", "VHOST_USER_PROTOCOL_F_CONFIG but the vhost-user backend does not support it"], &[
        "the back end closed the connection at GET_CONFIG (request 24): most often the disk has more queues (num-queues) than the export; what errno the message ends with is left over and says nothing",
        "the back end does not know vhost-user-blk's configuration, or crashed: its own log says so",
    ])
    .of(REFUSED)
    .decide("queues= of the disk in the domain; num-queues= of the export (qemu-storage-daemon, SPDK); the back end's log")
    .fix("no more queues in the domain than the back end has; it is no permission")
    .source("QEMU hw/block/vhost-user-blk.c")
    .ends_connection(),
    known("disk-back-end-closed", BackEnd, CLOSED, &[
        "the disk's back end (SPDK, qemu-storage-daemon) closed the connection: it was restarted, crashed, or refused a request (more queues than it has, memory that it cannot map). The number and text at the message's end (such as 'Invalid argument', 'Resource temporarily unavailable') are left over from something else",
    ])
    .of(&[Disk])
    .decide("the back end's own log and process at that time; <reconnect> of the disk in the domain")
    .fix("start the back end again; with <reconnect enabled='yes'/> QEMU connects by itself, else the disk is dead until the VM is started again")
    .source(SOURCE)
    .effect(),
    known("virtiofsd-closed", BackEnd, CLOSED, &[
        "virtiofsd closed the connection: it accepted it and then exited, so the socket's owner and mode are right. 'Operation not permitted' in vhost_dev_init is what QEMU says then, no permission",
        "it was refused something itself: its sandbox (mount, unshare) by a container's AppArmor, SELinux or seccomp",
    ])
    .of(&[Filesystem])
    .decide("virtiofsd's own log (/var/log/libvirt/qemu/NAME-fs0-virtiofsd.log, the container's log); dmesg | grep -E 'avc|apparmor='")
    .fix("fix what virtiofsd's own log says; --sandbox=chroot or none needs less of a container; then start the VM again")
    .source(SOURCE)
    .effect(),
    known("protocol-feature", Unsupported, &[
        "vhost lacks feature mask {} for backend",
        "backend does not support VHOST_USER_PROTOCOL_F",
        "requires reply-ack and slave-req protocol features",
        "VHOST_USER_PROTOCOL_F_{*} not supported",
        "vhost-user backend lacks",
        "invalid negotiated features",
        "vhost-user: unsupported protocol feature",
        "virtio legacy devices aren't supported",
        "vhost_user_set_features failed",
    ], &["front end and back end do not have the same features: one of them is older, or the device asks for more (packed=on, iommu, indirect) than the back end can"])
        .decide("the versions of QEMU and of the back end; the device's options in the domain (iommu, packed, rx_queue_size)")
        .fix("take the option out of the domain, or update the older end")
        .source(SOURCE),
    known("backend-went-away", BackEnd, CLOSED, &[
        "the back end (the switch, SPDK, ...) closed the connection after both had met: so it is no permission on the socket. It was restarted or crashed",
        "it refused a message: guest memory that is not shared or that it cannot map, no memory for packets on the VM's NUMA node, a feature or queue that it lacks, or a security module took the descriptors",
        "this line alone does not tell which. The errno at its end ('No such file or directory', 'Invalid argument', 'Operation not permitted') is left over: it names no missing file and no wrong argument",
    ])
    .by(QEMU)
    .findings(&["dataplane-not-running"])
    .decide("the back end's log just before that time (ovs-vswitchd.log: VHOST_CONFIG, VHOST_DATA, 'crashes'), and whether it still runs; for disks and filesystems SPDK's or virtiofsd's own log")
    .fix("what the back end's line says. Where QEMU serves the socket, or has <reconnect>, the connection comes back by itself; else the device is dead until the VM is started again")
    .source(SOURCE)
    .effect(),
    known("no-vhost-user", Unsupported, &[
        "Invalid parameter 'vhost-user'",
        "Parameter 'type' does not accept value 'vhost-user'",
        "'vhost-user-{}' is not a valid device model name",
        "Invalid parameter type 'vhost-user'",
        "Parameter 'type' expects a net backend type",
        "Device 'vhost-user-{}' not found",
    ], &["this QEMU cannot do it: a build or version without this vhost-user device"])
        .decide("qemu-system-x86_64 --version; -device help | grep vhost-user")
        .fix("a newer QEMU: RHEL and CentOS 7's qemu-kvm has none, qemu-kvm-ev or -rhev 2.6 and newer does (reconnecting: 2.7 and newer)")
        .source("QEMU net/net.c, qapi/net.json"),
    known("chardev-missing", Setting, &[
        "chardev \"{}\" not found",
        "chardev '{}' not found",
        "chardev \"{}\" is not a unix socket",
        "chardev \"{}\" is not a socket",
        "Chardev '{}' is busy",
        "Device '{}' is in use",
        "vhost-user requires frontend driver",
        "Property '{*}.netdev' can't find value '{}'",
        "Property '{*}.chardev' can't find value '{}'",
    ], &["the command line's or XML's parts do not fit together: the device names a chardev or netdev that does not exist, or that another device has already"])
        .decide("the -chardev, -netdev and -device of the VM's log")
        .fix("correct the names; each device needs a chardev of its own")
        .source("QEMU net/vhost-user.c"),
    known("chardev-options", Setting, &[
        "'wait' option is incompatible with socket in client connect mode",
        "'reconnect' option is incompatible with",
        "'reconnect-ms' option is incompatible",
        "'server' and 'reconnect'",
        "'fd' address type cannot be used",
    ], &["the management program (kata, a script) hands QEMU an option that does not go with the socket's role: wait= and server's options with a client, refused since QEMU 6.1. It is no conflict of roles between the two ends"])
        .decide("the version of QEMU and of the management program")
        .fix("update the management program, or leave out wait= (nowait) where server is off and reconnect where it is on")
        .source("QEMU chardev/char-socket.c"),
    known("host-feature", Harmless, &[
        "host doesn't support requested feature",
        "TCG doesn't support requested feature",
    ], &["the guest's CPU is asked for a feature that the host lacks: a warning, and nothing to do with vhost-user"])
        .fix("nothing")
        .source("QEMU target/i386/cpu.c"),
    known("queue-dead", BackEnd, &["VQ {*} size check failed", "Guest moved used index from", "virtio: bogus", "Virtqueue size exceeded"], &[
        "guest and back end disagree about a ring: the guest's driver was reset under it, or the back end was replaced while the VM ran (a restart without reconnecting properly)",
        "a defect of the back end or of QEMU (multi-queue reconnects of QEMU 4.2 to 5.1; packed rings)",
    ])
    .decide("the versions; whether the back end was restarted at that time")
    .fix("start the VM again; update QEMU and back end")
    .source("QEMU hw/virtio/virtio.c; QEMU issues 277, 248"),
];
