// SPDX-License-Identifier: Apache-2.0
//! What a line is about: QEMU has many sockets and many files of memory, and only some of them are vhost-user's. Told by
//! the option or QMP command that the line quotes, then by the character device's name (libvirt, src/qemu/qemu_alias.c),
//! then by the path.

use serde::{Deserialize, Serialize};

use crate::base::named::named;

named! {
    /// What kind of thing.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Thing {
        Network = "a vhost-user network port",
        /// A vhost-user disk (SPDK, qemu-storage-daemon).
        Disk = "a vhost-user disk",
        Filesystem = "a vhost-user filesystem (virtiofsd)",
        /// A vhost-user device of another kind, or one that the line does not tell.
        VhostUser = "a vhost-user device",
        Export = "an export of a disk (not a vhost-user network port)",
        Agent = "a channel to the guest's agent (not vhost-user)",
        Console = "a console or serial port (not vhost-user)",
        Monitor = "QEMU's monitor (not vhost-user)",
        Tpm = "a virtual TPM, served by swtpm (not vhost-user)",
        Migration = "the stream of a migration (not vhost-user)",
        /// A screen: SPICE or VNC.
        Display = "a screen (not vhost-user)",
        HugePages = "guest memory on hugetlbfs",
        MemoryFile = "guest memory in an ordinary file",
        /// OVSDB's socket, or a control socket of the switch.
        Control = "a control socket of the switch (not a vhost-user port)",
        Socket = "a socket; the line does not tell of what",
        /// The line does not say.
        Unknown = "",
    }
}

impl Thing {
    /// Is a back end of vhost-user at its other end?
    pub fn is_vhost_user(self) -> bool {
        matches!(self, Thing::Network | Thing::Disk | Thing::Filesystem | Thing::VhostUser)
    }
}

/// Words of options and QMP commands, the surest first.
const OPTIONS: &[(Thing, &str)] = &[
    (Thing::Disk, "vhost-user-blk, vhost-user-scsi"),
    (Thing::Filesystem, "vhost-user-fs"),
    (Thing::Network, "vhost-user-net, type=vhost-user, \"type\":\"vhost-user\""),
    (Thing::Export, "nbd-server, nbd_server, block-export, -nbd"),
    (Thing::Migration, "-incoming, 'migrate"),
    (Thing::Display, "-vnc, -spice"),
    (Thing::Monitor, "-qmp, -monitor"),
    (Thing::Tpm, "tpmdev, tpm-emulator"),
];

/// How names of character devices begin.
const CHARDEVS: &[(Thing, &str)] = &[
    (Thing::Network, "charnet, charhostnet, vhost-user-net, charua-vhost-user-net"),
    (Thing::Filesystem, "chr-vu-fs"),
    (Thing::Disk, "chr-vu-virtio-disk, chr-vu-disk"),
    (Thing::VhostUser, "chr-vu-"),
    (Thing::Tpm, "chrtpm, chartpm"),
    (Thing::Agent, "charchannel, qga"),
    (Thing::Console, "charserial, charconsole, charparallel"),
    (Thing::Display, "charredir"),
    (Thing::Monitor, "charmonitor, monitor, compat_monitor"),
    (Thing::Disk, "blk-"),
];

/// What a path has in it, in small letters.
const PATHS: &[(Thing, &str)] = &[
    (Thing::Tpm, "swtpm, tpm.sock"),
    (Thing::Filesystem, "-fs.sock, virtiofs, virtio-fs, vhost-fs, vhostqemu"),
    (Thing::Agent, "guest_agent, qemu-ga, /qga, org.qemu"),
    (Thing::Export, "nbd"),
    (Thing::Console, "console, serial"),
    (Thing::Monitor, ".monitor, /monitor, monitor.sock, mon.sock, qmp"),
    (Thing::Migration, "migrat"),
    (Thing::Control, "/db.sock, .ctl, .mgmt"),
    (
        Thing::Disk,
        "spdk, vhostblk, vhost-blk, vhost_blk, vhost-user-blk, /vhost.0, /vhost.1, /vhost.2, /vhost.3, vhostscsi, vhost_scsi",
    ),
    (Thing::Network, "/vhu, openvswitch/, vhost_socket, libvirt-vhost-user, vhost-user-client"),
    (Thing::VhostUser, "vhost-user"),
    (Thing::Network, "vhostuser, usrcni"),
    (Thing::VhostUser, "vhost, vsocket"),
    (Thing::Network, "virtio-forwarder"),
];

/// What the first word that fits stands for.
pub(super) fn holds<T: Copy>(table: &[(T, &str)], fits: impl Fn(&str) -> bool) -> Option<T> {
    table.iter().find(|(_, words)| words.split(", ").any(&fits)).map(|known| known.0)
}

/// What the line is about.
pub fn of_line(text: &str) -> Thing {
    if let Some(thing) = holds(OPTIONS, |word| text.contains(word)) {
        return thing;
    }
    let names = ["id=", "chardev=", "chardev '", "character device ", "chardev \"", "\"id\":\""];
    for name in names.iter().filter_map(|key| text.split_once(key)).map(|(_, rest)| rest) {
        if let Some(thing) = holds(CHARDEVS, |start| name.starts_with(start)) {
            return thing;
        }
    }
    let memory = ["backing store", "backing file", "mem-path", "memory-backend", "guest RAM"];
    let path = path(text);
    if memory.iter().any(|word| text.contains(word)) {
        return path.map_or(Thing::Unknown, of_memory);
    }
    let speaks_of_sockets =
        ["socket", "connect", "bind", "unix:", ".sock"].iter().any(|word| text.contains(word));
    match path.map_or(Thing::Unknown, of_socket) {
        Thing::Socket if !speaks_of_sockets => Thing::Unknown,
        thing => thing,
    }
}

/// What a socket's path tells.
pub fn of_socket(path: &str) -> Thing {
    let lower = path.to_ascii_lowercase();
    holds(PATHS, |word| lower.contains(word)).unwrap_or(Thing::Socket)
}

/// What a path of memory tells.
pub fn of_memory(path: &str) -> Thing {
    let lower = path.to_ascii_lowercase();
    let huge = ["huge", "libvirt/qemu/"].iter().any(|word| lower.contains(word));
    if huge && !lower.contains("/ram/") && !lower.contains("nvdimm") {
        Thing::HugePages
    } else {
        Thing::MemoryFile
    }
}

/// The first absolute path in a line, without what stands around it; a program's own is none.
pub fn path(text: &str) -> Option<&str> {
    let mut from = 0;
    while let Some(at) = text[from..].find('/').map(|at| at + from) {
        let before = text[..at].chars().next_back();
        let starts = before.is_none_or(|letter| " \t'\"=:(,[<>\u{201c}\u{2018}".contains(letter));
        let rest = &text[at..];
        let end = rest
            .find([' ', '\t', '\'', '"', ',', ')', ']', ';', '\u{201d}', '\u{2019}'])
            .unwrap_or(rest.len());
        let path = rest[..end].trim_end_matches([':', '.']);
        let program = ["/bin/", "/sbin/", "/libexec/"].iter().any(|word| path.contains(word));
        if starts && path.len() > 1 && !path.starts_with("//") && !program {
            return Some(path);
        }
        from = at + end.max(1);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Thing, of_line, path};

    #[test]
    fn things_are_told_apart() {
        for (line, thing) in [
            ("-chardev socket,id=charnet0,path=/x: Failed to connect", Thing::Network),
            ("-chardev socket,id=chrtpm,path=/var/tmp/a.sock: Failed to connect", Thing::Tpm),
            ("Failed to add chardev 'chr-vu-fs0': Failed to connect to '/var/a'", Thing::Filesystem),
            ("-device vhost-user-blk-pci,chardev=c: Failed to read msg header", Thing::Disk),
            ("unable to execute QEMU command 'nbd-server-start': Failed to bind socket to /x", Thing::Export),
            ("socket,path=/home/u/a.guest,server=on,id=qga0: Failed to bind", Thing::Agent),
            ("Failed to bind socket to /var/run/hyper/vm-1/console.sock: P", Thing::Console),
            ("can't open backing store /dev/hugepages/libvirt/qemu/1-a for guest RAM: x", Thing::HugePages),
            ("mem-path=/var/lib/NVM,share=on: can't open backing store /var/lib/NVM for", Thing::MemoryFile),
            ("Failed to bind socket to /run/openvswitch/vhu0: x", Thing::Network),
            ("Failed to connect to '/tmp/some.sock': x", Thing::Socket),
            ("Failed to set msg fds.", Thing::Unknown),
        ] {
            assert_eq!(of_line(line), thing, "{line}");
        }
        assert_eq!(path("/usr/bin/qemu-kvm: open '/dev/x': no"), Some("/dev/x"));
        assert_eq!(path("a/b //x / y"), None);
    }
}
