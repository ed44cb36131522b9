// SPDX-License-Identifier: Apache-2.0
//! What a line is about: QEMU has many sockets and many files of memory, and only some of them are vhost-user's. Told by
//! the option or QMP command that the line quotes, then by the character device's name (libvirt, src/qemu/qemu_alias.c),
//! then by the path.

use serde::Serialize;

/// What kind of thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Thing {
    /// A vhost-user network card.
    Network,
    /// A vhost-user disk (SPDK, qemu-storage-daemon).
    Disk,
    /// A vhost-user filesystem (virtiofsd).
    Filesystem,
    /// A vhost-user device of another kind, or one that the line does not tell.
    VhostUser,
    /// An NBD export or another export of disks.
    Export,
    /// A channel to an agent in the guest.
    Agent,
    /// A serial port or console.
    Console,
    /// QEMU's monitor.
    Monitor,
    /// A virtual TPM (swtpm).
    Tpm,
    /// The stream of a migration.
    Migration,
    /// A screen: SPICE or VNC.
    Display,
    /// Memory on hugetlbfs.
    HugePages,
    /// Memory in an ordinary file.
    MemoryFile,
    /// OVSDB's socket, or a control socket of the switch.
    Control,
    /// A socket of which nothing is known but its path.
    Socket,
    /// The line does not say.
    Unknown,
}

impl Thing {
    /// As it is printed; nothing for what is not known.
    pub fn name(self) -> &'static str {
        match self {
            Thing::Network => "a vhost-user network port",
            Thing::Disk => "a vhost-user disk",
            Thing::Filesystem => "a vhost-user filesystem (virtiofsd)",
            Thing::VhostUser => "a vhost-user device",
            Thing::Export => "an export of a disk (not a vhost-user network port)",
            Thing::Agent => "a channel to the guest's agent (not vhost-user)",
            Thing::Console => "a console or serial port (not vhost-user)",
            Thing::Monitor => "QEMU's monitor (not vhost-user)",
            Thing::Tpm => "a virtual TPM, served by swtpm (not vhost-user)",
            Thing::Migration => "the stream of a migration (not vhost-user)",
            Thing::Display => "a screen (not vhost-user)",
            Thing::HugePages => "guest memory on hugetlbfs",
            Thing::MemoryFile => "guest memory in an ordinary file",
            Thing::Control => "a control socket of the switch (not a vhost-user port)",
            Thing::Socket => "a socket; the line does not tell of what",
            Thing::Unknown => "",
        }
    }

    /// Is a back end of vhost-user at its other end?
    pub fn is_vhost_user(self) -> bool {
        matches!(self, Thing::Network | Thing::Disk | Thing::Filesystem | Thing::VhostUser)
    }
}

/// Words of options and QMP commands, the surest first.
const OPTIONS: &[(&str, Thing)] = &[
    ("vhost-user-blk", Thing::Disk),
    ("vhost-user-scsi", Thing::Disk),
    ("vhost-user-fs", Thing::Filesystem),
    ("vhost-user-net", Thing::Network),
    ("type=vhost-user", Thing::Network),
    ("\"type\":\"vhost-user\"", Thing::Network),
    ("nbd-server", Thing::Export),
    ("nbd_server", Thing::Export),
    ("block-export", Thing::Export),
    ("-nbd", Thing::Export),
    ("-incoming", Thing::Migration),
    ("'migrate", Thing::Migration),
    ("-vnc", Thing::Display),
    ("-spice", Thing::Display),
    ("-qmp", Thing::Monitor),
    ("-monitor", Thing::Monitor),
    ("tpmdev", Thing::Tpm),
    ("tpm-emulator", Thing::Tpm),
];

/// How names of character devices begin.
const CHARDEVS: &[(&str, Thing)] = &[
    ("charnet", Thing::Network),
    ("charhostnet", Thing::Network),
    ("vhost-user-net", Thing::Network),
    ("charua-vhost-user-net", Thing::Network),
    ("chr-vu-fs", Thing::Filesystem),
    ("chr-vu-virtio-disk", Thing::Disk),
    ("chr-vu-disk", Thing::Disk),
    ("chr-vu-", Thing::VhostUser),
    ("chrtpm", Thing::Tpm),
    ("chartpm", Thing::Tpm),
    ("charchannel", Thing::Agent),
    ("qga", Thing::Agent),
    ("charserial", Thing::Console),
    ("charconsole", Thing::Console),
    ("charparallel", Thing::Console),
    ("charredir", Thing::Display),
    ("charmonitor", Thing::Monitor),
    ("monitor", Thing::Monitor),
    ("compat_monitor", Thing::Monitor),
    ("blk-", Thing::Disk),
];

/// What a path has in it, in small letters.
const PATHS: &[(&str, Thing)] = &[
    ("swtpm", Thing::Tpm),
    ("tpm.sock", Thing::Tpm),
    ("-fs.sock", Thing::Filesystem),
    ("virtiofs", Thing::Filesystem),
    ("virtio-fs", Thing::Filesystem),
    ("vhost-fs", Thing::Filesystem),
    ("vhostqemu", Thing::Filesystem),
    ("guest_agent", Thing::Agent),
    ("qemu-ga", Thing::Agent),
    ("/qga", Thing::Agent),
    ("org.qemu", Thing::Agent),
    ("nbd", Thing::Export),
    ("console", Thing::Console),
    ("serial", Thing::Console),
    (".monitor", Thing::Monitor),
    ("/monitor", Thing::Monitor),
    ("monitor.sock", Thing::Monitor),
    ("mon.sock", Thing::Monitor),
    ("qmp", Thing::Monitor),
    ("migrat", Thing::Migration),
    ("/db.sock", Thing::Control),
    (".ctl", Thing::Control),
    (".mgmt", Thing::Control),
    ("spdk", Thing::Disk),
    ("vhostblk", Thing::Disk),
    ("vhost-blk", Thing::Disk),
    ("vhost_blk", Thing::Disk),
    ("vhost-user-blk", Thing::Disk),
    ("/vhost.0", Thing::Disk),
    ("/vhost.1", Thing::Disk),
    ("/vhost.2", Thing::Disk),
    ("/vhost.3", Thing::Disk),
    ("vhostscsi", Thing::Disk),
    ("vhost_scsi", Thing::Disk),
    ("/vhu", Thing::Network),
    ("openvswitch/", Thing::Network),
    ("vhost_socket", Thing::Network),
    ("libvirt-vhost-user", Thing::Network),
    ("vhost-user-client", Thing::Network),
    ("vhost-user", Thing::VhostUser),
    ("vhostuser", Thing::Network),
    ("usrcni", Thing::Network),
    ("vhost", Thing::VhostUser),
    ("vsocket", Thing::VhostUser),
    ("virtio-forwarder", Thing::Network),
];

/// What the line is about.
pub fn of_line(text: &str) -> Thing {
    let fits = |(word, _): &&(&str, Thing)| text.contains(word);
    if let Some((_, thing)) = OPTIONS.iter().find(fits) {
        return *thing;
    }
    let names = ["id=", "chardev=", "chardev '", "character device ", "chardev \"", "\"id\":\""];
    for name in names.iter().filter_map(|key| text.split_once(key)).map(|(_, rest)| rest) {
        if let Some((_, thing)) = CHARDEVS.iter().find(|(start, _)| name.starts_with(start)) {
            return *thing;
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
    PATHS.iter().find(|(word, _)| lower.contains(word)).map_or(Thing::Socket, |known| known.1)
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
