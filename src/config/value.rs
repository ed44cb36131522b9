// SPDX-License-Identifier: Apache-2.0
//! What each value may be. A check's error is what was expected, to be put behind "expected".

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A vhost-user port type of OVS. It says which side makes the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortType {
    /// QEMU makes the socket (libvirt `mode='server'`), OVS connects and reconnects.
    Dpdkvhostuserclient,
    /// OVS makes the socket (libvirt `mode='client'`); deprecated since OVS 2.8, still in the field.
    Dpdkvhostuser,
}

impl PortType {
    /// Both.
    pub const ALL: [PortType; 2] = [PortType::Dpdkvhostuserclient, PortType::Dpdkvhostuser];

    /// As in OVSDB's column `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            PortType::Dpdkvhostuserclient => "dpdkvhostuserclient",
            PortType::Dpdkvhostuser => "dpdkvhostuser",
        }
    }

    /// The type of this name.
    pub fn named(name: &str) -> Option<PortType> {
        PortType::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for PortType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What to do with a group of the right name and another number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GidMismatch {
    /// Use it with the number it has.
    Keep,
    /// The same, and let `check` say so.
    Report,
    /// Give it the configured number, its files with it.
    Renumber,
}

/// How QEMU is let in to a socket that OVS made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerAccess {
    /// Each socket is given to QEMU's group after OVS made it; OVS's control sockets stay its own.
    Grant,
    /// OVS runs with QEMU's group and umask 0002: its control sockets become QEMU's as well.
    Umask,
}

/// Whom the dataplane runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataplaneUser {
    /// The distribution's user; where that is not root, with the shared group.
    Keep,
    /// root, without `--ovs-user`.
    Root,
    /// This user and group (the shared one when not given).
    Named(String, Option<String>),
}

/// The group in qemu.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QemuGroup {
    /// The shared group.
    Shared,
    /// Whatever it is.
    Keep,
    /// This one.
    Named(String),
}

/// The parts of the node that `apply` may touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Managed(BTreeSet<&'static str>);

impl Managed {
    /// The parts there are.
    pub const PARTS: [&'static str; 7] =
        ["accounts", "sockets", "hugepages", "dataplane", "qemu-conf", "hook", "legacy"];

    /// Everything.
    pub fn all() -> Managed {
        Managed(Managed::PARTS.into_iter().collect())
    }

    /// May this part be touched? `part` is one of [`Managed::PARTS`].
    pub fn has(&self, part: &str) -> bool {
        self.0.contains(part)
    }
}

pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t', ',']).filter(|word| !word.is_empty())
}

/// `None`: what is found on the node.
pub(super) fn modes(text: &str) -> Result<Option<Vec<PortType>>, String> {
    if text == "look" {
        return Ok(None);
    }
    let mut modes = Vec::new();
    for word in words(text) {
        let known = PortType::named(word);
        let expected = || format!("look, or dpdkvhostuserclient or dpdkvhostuser, not '{word}'");
        modes.push(known.ok_or_else(expected)?);
    }
    modes.sort();
    modes.dedup();
    Ok(Some(modes))
}

/// As shadow's tools on every distribution accept it (shadow 4.13, lib/chkname.c).
pub(super) fn account_name(text: &str) -> Result<String, String> {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    let rest = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    if first && rest && text.len() <= 32 {
        Ok(text.to_string())
    } else {
        Err("an account name: a lower-case letter or '_', then letters, digits, '_' or '-', at most 32"
            .into())
    }
}

pub(super) fn gid(text: &str) -> Result<u32, String> {
    // 65534 is nobody's, 65535 and 2^32-1 mean "no change" in old and new calls.
    text.parse::<u32>()
        .ok()
        .filter(|gid| *gid > 0 && !matches!(*gid, 65534 | 65535 | u32::MAX))
        .ok_or_else(|| "a group number from 1 to 4294967294 that no system uses for 'nobody'".to_string())
}

pub(super) const GID_MISMATCHES: [(&str, GidMismatch); 3] =
    [("keep", GidMismatch::Keep), ("report", GidMismatch::Report), ("renumber", GidMismatch::Renumber)];

pub(super) const SERVER_ACCESSES: [(&str, ServerAccess); 2] =
    [("grant", ServerAccess::Grant), ("umask", ServerAccess::Umask)];

pub(super) const YES_OR_NO: [(&str, bool); 2] = [("yes", true), ("no", false)];

/// One of these words, for what it stands for. What is expected names them all: `keep, report or renumber`.
pub(super) fn one_of<T: Copy, const N: usize>(
    words: [(&'static str, T); N],
) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let names = words.map(|(word, _)| word).join(", ");
            names.rsplit_once(", ").map_or(names.clone(), |(others, last)| format!("{others} or {last}"))
        })
    }
}

/// A socket's whole path has at most 107 bytes (sun_path of unix(7) less its NUL), and neutron's names have 14.
const LONGEST_DIRECTORY: usize = 107 - "/".len() - 14;

pub(super) fn directory(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let clean = |component| matches!(component, Component::RootDir | Component::Normal(_));
    if !path.is_absolute() {
        return Err("an absolute path".into());
    }
    if !path.components().all(clean) || path.components().collect::<PathBuf>().as_os_str() != text {
        return Err("a clean path: no '.', '..', '//' or final '/'".into());
    }
    if path.components().count() < 3 || !text.bytes().all(|b| b.is_ascii_graphic() && b != b'%' && b != b'"')
    {
        return Err("a directory of its own below a top directory, without blanks or quotes".into());
    }
    if text.len() > LONGEST_DIRECTORY {
        return Err(format!("at most {LONGEST_DIRECTORY} bytes, since a socket's path has at most 107"));
    }
    Ok(path.to_path_buf())
}

pub(super) fn dataplane_user(text: &str) -> Result<DataplaneUser, String> {
    match text {
        "keep" => return Ok(DataplaneUser::Keep),
        "root" => return Ok(DataplaneUser::Root),
        _ => {}
    }
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let group = group.map(account_name).transpose()?;
    if user == "root" {
        return Err("keep, root, or USER[:GROUP] with a user that is not root".into());
    }
    Ok(DataplaneUser::Named(account_name(user)?, group))
}

pub(super) fn qemu_group(text: &str) -> Result<QemuGroup, String> {
    match text {
        "shared" => Ok(QemuGroup::Shared),
        "keep" => Ok(QemuGroup::Keep),
        name => account_name(name).map(QemuGroup::Named),
    }
}

pub(super) fn qemu_ids(text: &str) -> Result<Option<(u32, u32)>, String> {
    if text == "look" {
        return Ok(None);
    }
    // The last number means "no change" to chown(2); names would be this node's, and not the container's.
    let number = |text: &str| text.parse().ok().filter(|number| *number != u32::MAX);
    let ids = text.split_once(':').and_then(|(uid, gid)| Some((number(uid)?, number(gid)?)));
    ids.filter(|(uid, _)| *uid != 0)
        .map(Some)
        .ok_or_else(|| "look, or UID:GID in numbers, and not root's".into())
}

pub(super) fn managed(text: &str) -> Result<Managed, String> {
    if text == "all" {
        return Ok(Managed::all());
    }
    let mut parts = BTreeSet::new();
    for word in words(text) {
        let part = Managed::PARTS.into_iter().find(|part| *part == word);
        parts.insert(part.ok_or_else(|| format!("all, or some of {}", Managed::PARTS.join(" ")))?);
    }
    Ok(Managed(parts))
}

/// Seconds within these bounds.
pub(super) fn seconds(bounds: RangeInclusive<f64>) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| {
        let seconds: Option<f64> = text.parse().ok().filter(|seconds| bounds.contains(seconds));
        let expected = || format!("seconds from {} to {}", bounds.start(), bounds.end());
        seconds.map(Duration::from_secs_f64).ok_or_else(expected)
    }
}
