// SPDX-License-Identifier: Apache-2.0
//! hugetlbfs mounts that will be there after the next boot: units and fstab.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use crate::base::root::Root;
use crate::systemd::Units;
use crate::systemd::declared;

/// systemd's own hugetlbfs mount.
const DEFAULT_MOUNT: &str = "/dev/hugepages";

/// A mount that a unit declares, generated from fstab or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeclaredMount {
    /// Where.
    pub path: PathBuf,
    /// The unit.
    pub unit: String,
    /// Its options without our own.
    pub options: String,
}

pub(super) fn look(root: &Root, units: &dyn Units) -> Result<Vec<DeclaredMount>> {
    let fstab = root.read_text(Path::new("/etc/fstab"))?.unwrap_or_default();
    let mut candidates = vec![(PathBuf::from(DEFAULT_MOUNT), None)];
    candidates.extend(fstab_mounts(&fstab).map(|(path, options)| (path, Some(options))));
    for name in root.list(Path::new(crate::base::paths::UNIT_DIRECTORY))? {
        if let Some(path) = name.to_str().and_then(unescape_mount) {
            candidates.push((path, None));
        }
    }
    let mut mounts: Vec<DeclaredMount> = Vec::new();
    for (path, fstab_options) in candidates {
        let unit = format!("{}.mount", escape_path(&path));
        if mounts.iter().any(|mount| mount.unit == unit) {
            continue;
        }
        let declaration = units.unit(&unit)?.map(|fact| declared(root, &fact)).transpose()?;
        let from_unit = declaration
            .filter(|text| text.last("Mount", "Type").is_some_and(|kind| kind == "hugetlbfs"))
            .map(|text| text.last("Mount", "Options").unwrap_or_default().to_string());
        if let Some(options) = from_unit.or(fstab_options) {
            mounts.push(DeclaredMount { path, unit, options });
        }
    }
    Ok(mounts)
}

/// fstab(5) lines of type hugetlbfs: where and with which options.
fn fstab_mounts(text: &str) -> impl Iterator<Item = (PathBuf, String)> {
    text.lines().filter(|line| !line.trim_start().starts_with('#')).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (path, kind) = (fields.next()?, fields.next()?);
        let options = fields.next().unwrap_or("defaults");
        (kind == "hugetlbfs").then(|| (PathBuf::from(path.replace("\\040", " ")), options.to_string()))
    })
}

/// The name systemd gives a path's unit (systemd.unit(5), "String escaping for inclusion in unit names").
pub fn escape_path(path: &Path) -> String {
    let trimmed: Vec<&[u8]> =
        path.as_os_str().as_bytes().split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
    if trimmed.is_empty() {
        return "-".to_string();
    }
    let joined = trimmed.join(&b'/');
    let mut escaped = String::new();
    for (position, byte) in joined.iter().enumerate() {
        match byte {
            b'/' => escaped.push('-'),
            b'.' if position > 0 => escaped.push('.'),
            b':' | b'_' => escaped.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => escaped.push(char::from(*byte)),
            byte => escaped.push_str(&format!("\\x{byte:02x}")),
        }
    }
    escaped
}

/// The path of a mount unit's name; none if it is no mount unit.
fn unescape_mount(unit: &str) -> Option<PathBuf> {
    let name = unit.strip_suffix(".mount")?;
    let mut bytes = vec![b'/'];
    let mut rest = name.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'-' => bytes.push(b'/'),
            b'\\' => {
                let hex = std::str::from_utf8(rest.get(1..3)?).ok()?;
                bytes.push(u8::from_str_radix(hex, 16).ok()?);
                rest = rest.get(3..)?;
            }
            byte => bytes.push(*byte),
        }
    }
    Some(PathBuf::from(OsString::from_vec(bytes)))
}
