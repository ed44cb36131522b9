// SPDX-License-Identifier: Apache-2.0
//! Where libvirt keeps its domains.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Domain, parse_domain};
use crate::base::parts::in_parts;
use crate::base::root::{Handle, Kind, NotInReport, Root};

/// Status files of the domains that run.
pub const RUNNING: &str = "/run/libvirt/qemu";
/// The defined domains. Its subdirectories `networks` and `autostart` hold something else.
const PERSISTENT: &str = "/etc/libvirt/qemu";

/// What a directory of domain files held.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Domains {
    /// The domains, in the order of their names' files.
    pub domains: Vec<Domain>,
    /// Files that could not be read.
    pub broken: Vec<BrokenFile>,
}

/// A domain file that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenFile {
    /// Which.
    pub path: PathBuf,
    /// Why, in one line.
    pub error: String,
}

/// The domains that run, from libvirt's status files. They stay readable when libvirtd does not run.
pub fn running(root: &Root) -> Result<Domains> {
    read_directory(root, Path::new(RUNNING))
}

/// The defined domains, those that run among them.
pub fn persistent(root: &Root) -> Result<Domains> {
    read_directory(root, Path::new(PERSISTENT))
}

fn read_directory(root: &Root, dir: &Path) -> Result<Domains> {
    let mut found = Domains::default();
    let Some(dir) = root.find(dir)?.filter(|dir| dir.kind() == Kind::Directory) else { return Ok(found) };
    let names: Vec<OsString> = dir.names()?.into_iter().filter(|name| is_domain_file(name)).collect();
    for part in in_parts(&names, |part| read_files(&dir, part)) {
        let Domains { domains, broken } = part?;
        found.domains.extend(domains);
        found.broken.extend(broken);
    }
    Ok(found)
}

fn read_files(dir: &Handle, names: &[OsString]) -> Result<Domains> {
    let mut found = Domains::default();
    for name in names {
        match read_file(dir, name) {
            Ok(domain) => found.domains.extend(domain),
            // A VM that is not in the report would be taken for one that is off, and its QEMU for a stranger.
            Err(error) if error.is::<NotInReport>() => return Err(error),
            Err(error) => {
                found.broken.push(BrokenFile { path: dir.path().join(name), error: format!("{error:#}") });
            }
        }
    }
    Ok(found)
}

fn is_domain_file(name: &OsStr) -> bool {
    let name = name.as_bytes();
    // libvirt writes `NAME.xml.new` beside it before a rename; a hidden file is none of its own.
    name.ends_with(b".xml") && !name.starts_with(b".")
}

/// `None` for what is no file, and for a domain that ended meanwhile.
fn read_file(dir: &Handle, name: &OsStr) -> Result<Option<Domain>> {
    let Some(file) = dir.entry(name)?.filter(|entry| entry.kind() == Kind::File) else { return Ok(None) };
    let text = String::from_utf8(file.read()?)?;
    parse_domain(&text).map(Some)
}
