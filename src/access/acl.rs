// SPDX-License-Identifier: Apache-2.0
//! A POSIX ACL, as the kernel hands it out in an extended attribute.

use std::fmt;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::verdict::{Names, Numbers, Why, lacking};
use super::{Identity, Perm};
use crate::base::root::Handle;

/// `POSIX_ACL_XATTR_VERSION` (linux/posix_acl_xattr.h).
const VERSION: u32 = 2;
/// Bytes of one entry: tag (2), permissions (2), id (4).
const ENTRY_BYTES: usize = 8;

/// Whom an entry is about. The order is the one the kernel keeps entries in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// The file's owner.
    Owner,
    /// A user by id.
    User(u32),
    /// The file's group.
    OwningGroup,
    /// A group by id.
    Group(u32),
    /// The mask: the most that named users and all groups can get.
    Mask,
    /// Everybody else.
    Other,
}

impl Tag {
    /// The kernel's number for it (`ACL_USER_OBJ` and so on, linux/posix_acl.h), ascending in the order of entries.
    fn number(self) -> u16 {
        match self {
            Tag::Owner => 0x01,
            Tag::User(_) => 0x02,
            Tag::OwningGroup => 0x04,
            Tag::Group(_) => 0x08,
            Tag::Mask => 0x10,
            Tag::Other => 0x20,
        }
    }

    fn from_number(number: u16, id: u32) -> Option<Tag> {
        let tags = [Tag::Owner, Tag::User(id), Tag::OwningGroup, Tag::Group(id), Tag::Mask, Tag::Other];
        tags.into_iter().find(|tag| tag.number() == number)
    }
}

/// One entry of an ACL. Its Display is as `getfacl -n` prints it: `user:107:rwx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AclEntry {
    /// Whom it is about.
    pub tag: Tag,
    /// What it grants, before the mask.
    pub perm: Perm,
}

impl AclEntry {
    /// What Display made.
    fn from_text(text: &str) -> Option<AclEntry> {
        let mut parts = text.splitn(3, ':');
        let (kind, id, perm) = (parts.next()?, parts.next()?, parts.next()?);
        let tag = match (kind, id) {
            ("user", "") => Tag::Owner,
            ("user", id) => Tag::User(id.parse().ok()?),
            ("group", "") => Tag::OwningGroup,
            ("group", id) => Tag::Group(id.parse().ok()?),
            ("mask", "") => Tag::Mask,
            ("other", "") => Tag::Other,
            _ => return None,
        };
        let perm = (0..8).map(Perm::from_bits).find(|known| known.to_string() == perm)?;
        Some(AclEntry { tag, perm })
    }

    /// As Display, with names in place of ids.
    pub fn text(&self, names: &dyn Names) -> String {
        let who = match self.tag {
            Tag::Owner => "user:".to_string(),
            Tag::User(uid) => format!("user:{}", names.user(uid)),
            Tag::OwningGroup => "group:".to_string(),
            Tag::Group(gid) => format!("group:{}", names.group(gid)),
            Tag::Mask => "mask:".to_string(),
            Tag::Other => "other:".to_string(),
        };
        format!("{who}:{}", self.perm)
    }
}

impl fmt::Display for AclEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&Numbers))
    }
}

impl Serialize for AclEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AclEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AclEntry, D::Error> {
        let text = String::deserialize(deserializer)?;
        AclEntry::from_text(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("'{}' is no entry of an ACL", text.escape_debug()))
        })
    }
}

impl TryFrom<Vec<AclEntry>> for Acl {
    type Error = anyhow::Error;

    fn try_from(entries: Vec<AclEntry>) -> Result<Acl> {
        Acl::new(entries)
    }
}

/// An access ACL (or a directory's default ACL), well-formed by the kernel's rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<AclEntry>")]
pub struct Acl(Vec<AclEntry>);

impl Acl {
    /// The extended attribute that holds the ACL which decides on access.
    pub const ACCESS: &str = "system.posix_acl_access";
    /// The extended attribute of a directory with the ACL that new entries get.
    pub const DEFAULT: &str = "system.posix_acl_default";

    /// Checks as `posix_acl_valid` (fs/posix_acl.c) does: entries in the order of [`Tag`], one each of owner, owning group
    /// and other, a mask when anyone is named.
    pub fn new(entries: Vec<AclEntry>) -> Result<Acl> {
        let count = |number: u16| entries.iter().filter(|entry| entry.tag.number() == number).count();
        let named = count(Tag::User(0).number()) + count(Tag::Group(0).number());
        if !entries.is_sorted_by_key(|entry| entry.tag.number()) {
            bail!("an ACL with its entries out of order");
        }
        for tag in [Tag::Owner, Tag::OwningGroup, Tag::Other] {
            if count(tag.number()) != 1 {
                bail!("an ACL with {} entries for {tag:?}", count(tag.number()));
            }
        }
        let masks = count(Tag::Mask.number());
        if masks > 1 || (named > 0 && masks == 0) {
            bail!("an ACL with {named} named entries and {masks} masks");
        }
        Ok(Acl(entries))
    }

    /// The ACL of an open file, by the name of its attribute; `None` if it has none.
    pub fn of(handle: &Handle, attribute: &str) -> Result<Option<Acl>> {
        let of_entries = |entries: &[String]| {
            Acl::new(entries.iter().filter_map(|entry| AclEntry::from_text(entry)).collect())
        };
        let acl = match handle.told_acl(attribute == Acl::DEFAULT) {
            Some(told) => told?.map(of_entries),
            None => handle.xattr(attribute)?.map(|bytes| Acl::parse(&bytes)),
        };
        acl.transpose().with_context(|| format!("reading the ACL of {}", handle.path().display()))
    }

    /// Reads the value of [`Acl::ACCESS`] or [`Acl::DEFAULT`]: a version, then entries, little endian.
    pub fn parse(bytes: &[u8]) -> Result<Acl> {
        let Some((version, rest)) = bytes.split_first_chunk::<4>() else {
            bail!("an ACL of {} bytes", bytes.len())
        };
        if u32::from_le_bytes(*version) != VERSION {
            bail!("an ACL of version {}, not {VERSION}", u32::from_le_bytes(*version));
        }
        let (chunks, left) = rest.as_chunks::<ENTRY_BYTES>();
        if !left.is_empty() {
            bail!("an ACL cut off in an entry");
        }
        Acl::new(chunks.iter().map(parse_entry).collect::<Result<_>>()?)
    }

    /// The entries, in the kernel's order.
    pub fn entries(&self) -> &[AclEntry] {
        &self.0
    }

    /// `posix_acl_permission` for someone who is not the owner: what is missing and why, `None` when nothing is.
    pub(super) fn refusal(&self, identity: &Identity, owning_gid: u32, wanted: Perm) -> Option<(Perm, Why)> {
        let mut groups = Vec::new();
        for entry in &self.0 {
            match entry.tag {
                Tag::User(uid) if uid == identity.uid => return self.masked(*entry, wanted),
                Tag::OwningGroup if identity.in_group(owning_gid) => groups.push(*entry),
                Tag::Group(gid) if identity.in_group(gid) => groups.push(*entry),
                Tag::Other if groups.is_empty() => return lacking(wanted, entry.perm, Why::Other),
                _ => {}
            }
            // One entry has to grant all that is wanted; the first that does is the one the mask applies to.
            if let Some(last) = groups.last()
                && last.perm.contains(wanted)
            {
                return self.masked(*last, wanted);
            }
        }
        let together = groups.iter().fold(Perm::NONE, |sum, entry| sum | entry.perm);
        let missing = if together.contains(wanted) { wanted } else { wanted.without(together) };
        Some((missing, Why::AclGroups { entries: groups }))
    }

    fn masked(&self, entry: AclEntry, wanted: Perm) -> Option<(Perm, Why)> {
        let mask = self.0.iter().find(|entry| entry.tag == Tag::Mask).map(|mask| mask.perm);
        lacking(wanted, entry.perm, Why::AclUser { entry })
            .or_else(|| mask.and_then(|mask| lacking(wanted, mask, Why::AclMask { entry, mask })))
    }
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries: Vec<_> = self.0.iter().map(AclEntry::to_string).collect();
        f.write_str(&entries.join(","))
    }
}

fn parse_entry(bytes: &[u8; ENTRY_BYTES]) -> Result<AclEntry> {
    let [tag_low, tag_high, perm_low, perm_high, id @ ..] = *bytes;
    let number = u16::from_le_bytes([tag_low, tag_high]);
    let perm = u16::from_le_bytes([perm_low, perm_high]);
    let Some(tag) = Tag::from_number(number, u32::from_le_bytes(id)) else {
        bail!("an ACL entry with tag {number:#x}")
    };
    if perm > 7 {
        bail!("an ACL entry with permissions {perm:#x}");
    }
    Ok(AclEntry { tag, perm: Perm::from_bits(perm.into()) })
}
