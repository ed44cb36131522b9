// SPDX-License-Identifier: Apache-2.0
//! The socket that QEMU is about to make, before it is there.

use crate::access::{Acl, AclEntry, Identity, Node, Perm, Tag};
use crate::base::root::Kind;

/// libvirt starts QEMU with umask 002 (src/qemu/qemu_process.c), and `bind` makes a socket 0777 less the umask.
const MODE: u32 = 0o775;
const SETGID: u32 = 0o2000;
const GROUP_BITS: u32 = 0o070;

/// What `bind` of this QEMU makes in this directory (net/unix/af_unix.c, `unix_bind_bsd`; fs/posix_acl.c,
/// `posix_acl_create`: the umask was applied before, and the directory's default ACL is cut by the mode).
pub fn socket(directory: &Node, default_acl: Option<&Acl>, qemu: &Identity) -> Node {
    let gid = if directory.mode & SETGID != 0 { directory.gid } else { qemu.gid };
    let acl = default_acl.and_then(cut);
    // Where there is an ACL, the mode's group bits are its mask.
    let mask =
        acl.as_ref().and_then(|acl| acl.entries().iter().find(|entry| entry.tag == Tag::Mask).copied());
    let mode = mask.map_or(MODE, |mask| (MODE & !GROUP_BITS) | u32::from(mask.perm.bits()) << 3);
    let path = directory.path.clone();
    Node { path, kind: Kind::Socket, uid: qemu.uid, gid, mode, acl, read_only: directory.read_only }
}

fn cut(default_acl: &Acl) -> Option<Acl> {
    let has_mask = default_acl.entries().iter().any(|entry| entry.tag == Tag::Mask);
    let entry = |entry: &AclEntry| {
        let limit = match entry.tag {
            Tag::Owner => MODE >> 6,
            Tag::OwningGroup if !has_mask => MODE >> 3,
            Tag::Mask => MODE >> 3,
            Tag::Other => MODE,
            Tag::OwningGroup | Tag::User(_) | Tag::Group(_) => 7,
        };
        AclEntry { tag: entry.tag, perm: entry.perm.and(Perm::from_bits(limit)) }
    };
    Acl::new(default_acl.entries().iter().map(entry).collect()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Wish, may};

    fn directory(gid: u32, mode: u32) -> Node {
        Node { path: "/d".into(), kind: Kind::Directory, uid: 64055, gid, mode, acl: None, read_only: false }
    }

    #[test]
    fn a_setgid_directory_gives_its_group() {
        let qemu = Identity::unprivileged(64055, 64055, vec![]);
        let dataplane = Identity::unprivileged(990, 42477, vec![]);
        let chain = |directory: &Node| vec![directory.clone(), socket(directory, None, &qemu)];
        assert!(may(&dataplane, &chain(&directory(42477, 0o2775)), Wish::Connect).is_ok());
        assert!(may(&dataplane, &chain(&directory(42477, 0o775)), Wish::Connect).is_err());
    }

    #[test]
    fn a_default_acl_is_inherited() {
        let entries =
            [(Tag::Owner, 7), (Tag::OwningGroup, 5), (Tag::Group(42477), 7), (Tag::Mask, 7), (Tag::Other, 0)];
        let entries = entries.map(|(tag, bits)| AclEntry { tag, perm: Perm::from_bits(bits) });
        let acl = Acl::new(entries.to_vec()).unwrap();
        let qemu = Identity::unprivileged(64055, 64055, vec![]);
        let made = socket(&directory(0, 0o775), Some(&acl), &qemu);
        let dataplane = Identity::unprivileged(990, 42477, vec![]);
        assert!(may(&dataplane, &[made], Wish::Connect).is_ok());
    }
}
