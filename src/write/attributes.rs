// SPDX-License-Identifier: Apache-2.0
//! Extended attributes: ACLs, security labels and what users keep there.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;

use crate::access::Acl;
use crate::base::root::Handle;

/// Hashes and signatures of the content and the attributes. The kernel keeps them, and old ones do not fit a new content.
const KEPT_BY_KERNEL: [&str; 2] = ["security.ima", "security.evm"];

/// Gives what is held one extended attribute.
pub(super) fn set_one(handle: &Handle, name: &str, value: &[u8]) -> Result<()> {
    let context = || format!("setting {name} of {} (setxattr)", handle.path().display());
    xattr::set_deref(handle.proc_path(), name, value).with_context(context)
}

/// Gives a file that is open under a temporary name, by its descriptor's path in /proc, the extended attributes that
/// [`Handle::xattrs`] told of another. Those it has besides are removed where they decide on access (a default ACL of the
/// directory gave them) or are a user's own; labels that a security module put there stay.
pub(super) fn set_through(proc_path: &Path, path: &Path, wanted: &[(OsString, Vec<u8>)]) -> Result<()> {
    for name in unwanted(proc_path, path, wanted)? {
        let context = || format!("removing {} of {} (removexattr)", name.display(), path.display());
        xattr::remove_deref(proc_path, &name).with_context(context)?;
    }
    for (name, value) in wanted.iter().filter(|(name, _)| !kept_by_kernel(name)) {
        // Writing a label takes a permission of its own, that even root may lack: not where it is right already.
        let now = xattr::get_deref(proc_path, name).ok().flatten();
        if now.as_ref() != Some(value) {
            let context = || format!("setting {} of {} (setxattr)", name.display(), path.display());
            xattr::set_deref(proc_path, name, value).with_context(context)?;
        }
    }
    Ok(())
}

fn unwanted(proc_path: &Path, path: &Path, wanted: &[(OsString, Vec<u8>)]) -> Result<Vec<OsString>> {
    let names = match xattr::list_deref(proc_path) {
        Ok(names) => names,
        Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("listing the attributes of {}", path.display()));
        }
    };
    let known = |name: &OsStr| wanted.iter().any(|(other, _)| other == name);
    Ok(names.filter(|name| removable(name) && !known(name)).collect())
}

fn removable(name: &OsStr) -> bool {
    name == Acl::ACCESS || name == Acl::DEFAULT || name.as_bytes().starts_with(b"user.")
}

fn kept_by_kernel(name: &OsStr) -> bool {
    KEPT_BY_KERNEL.iter().any(|kept| name == *kept)
}
