// SPDX-License-Identifier: Apache-2.0
//! An ACL as the kernel takes it (linux/posix_acl_xattr.h): a version, then entries, little endian. The program only reads them.

use super::{Acl, Tag};

const VERSION: u32 = 2;
/// `ACL_UNDEFINED_ID`: what stands for the id in entries that have none.
const NO_ID: u32 = u32::MAX;

pub fn bytes(acl: &Acl) -> Vec<u8> {
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for entry in acl.entries() {
        let (number, id): (u16, u32) = match entry.tag {
            Tag::Owner => (0x01, NO_ID),
            Tag::User(id) => (0x02, id),
            Tag::OwningGroup => (0x04, NO_ID),
            Tag::Group(id) => (0x08, id),
            Tag::Mask => (0x10, NO_ID),
            Tag::Other => (0x20, NO_ID),
        };
        bytes.extend(number.to_le_bytes());
        bytes.extend(u16::from(entry.perm.bits()).to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}
