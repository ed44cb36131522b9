// SPDX-License-Identifier: Apache-2.0
//! The kernel's own rule as a pure function: may this identity search, read, write, create, connect to or remove what
//! is at this path?
//!
//! Written after `inode_permission` and `may_delete` (fs/namei.c) and `posix_acl_permission` (fs/posix_acl.c), and
//! compared with a running kernel by `tests/root_access.rs`. Not covered here, since nothing in owner, mode and ACL shows
//! it: security modules (SELinux, AppArmor), the immutable and append-only flags, ids that a user namespace does not map.

mod acl;
mod identity;
mod perm;
mod rule;
#[cfg(test)]
mod tests;
mod verdict;

pub use acl::{Acl, AclEntry, Tag};
pub use identity::{CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, Identity};
pub use perm::Perm;
pub use rule::{Node, Wish, may, refusal};
pub use verdict::{Denial, Names, Numbers, Why, owner_text};
