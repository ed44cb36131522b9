// SPDX-License-Identifier: Apache-2.0
//! What is now at the target of an item: enough to compare, and enough to put it back.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::accord::item::{
    Absent, File, Group, Item, Link, LogOwner, Member, Owner, Renumber, Setting, Subject, Unpatch, User,
};
use crate::edit::{legacy, logrotate, virconf};
use crate::facts::accounts::Accounts;
use crate::facts::carriers::{self, Carrier, Special};
use crate::facts::conversion;
use crate::facts::ovsdb::PortState;
use crate::paths;
use crate::root::{Handle, Kind, Root};

/// Bytes in a journal that people can read: text as text, anything else in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bytes {
    /// UTF-8.
    Text(String),
    /// Two digits a byte.
    Hex(String),
}

impl Bytes {
    /// Wraps bytes.
    pub fn new(bytes: Vec<u8>) -> Bytes {
        match String::from_utf8(bytes) {
            Ok(text) => Bytes::Text(text),
            Err(error) => Bytes::Hex(error.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()),
        }
    }

    /// The bytes again.
    pub fn to_vec(&self) -> Result<Vec<u8>> {
        let digits = match self {
            Bytes::Text(text) => return Ok(text.clone().into_bytes()),
            Bytes::Hex(digits) => digits.as_bytes(),
        };
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        match digits.chunks(2).map(byte).collect() {
            Some(bytes) => Ok(bytes),
            None => bail!("not hexadecimal digits"),
        }
    }

    /// The text, empty where it is none.
    pub fn text(&self) -> &str {
        match self {
            Bytes::Text(text) => text,
            Bytes::Hex(_) => "",
        }
    }
}

/// A regular file, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    /// Its bytes.
    pub content: Bytes,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits.
    pub mode: u32,
    /// Its extended attributes: ACL and security label among them.
    pub xattrs: Vec<(String, Bytes)>,
}

impl FileState {
    /// Reads the file at `path`, none if there is none. A symlink is an error: it is someone else's arrangement.
    pub fn read(root: &Root, path: &Path) -> Result<Option<FileState>> {
        let Some(handle) = root.find_nofollow(path)? else { return Ok(None) };
        if handle.kind() != Kind::File {
            bail!("{} is not a regular file", path.display());
        }
        handle.known()?;
        let xattr = |(name, value): (OsString, Vec<u8>)| {
            (String::from_utf8_lossy(name.as_bytes()).into_owned(), Bytes::new(value))
        };
        Ok(Some(FileState {
            content: Bytes::new(handle.read()?),
            uid: handle.uid(),
            gid: handle.gid(),
            mode: handle.mode(),
            xattrs: handle.xattrs()?.into_iter().map(xattr).collect(),
        }))
    }

    /// The extended attributes as bytes.
    pub fn raw_xattrs(&self) -> Result<Vec<(OsString, Vec<u8>)>> {
        let raw = |(name, value): &(String, Bytes)| {
            Ok((OsString::from_vec(name.clone().into_bytes()), value.to_vec()?))
        };
        self.xattrs.iter().map(raw).collect()
    }
}

/// Owner, group and mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerState {
    /// What it is.
    pub kind: Kind,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits.
    pub mode: u32,
}

impl OwnerState {
    /// Of something that was found, which may not be known in a report.
    fn read(handle: &Handle) -> Result<OwnerState> {
        handle.known().map(OwnerState::of)
    }

    /// Of something that was found.
    pub fn of(handle: &Handle) -> OwnerState {
        OwnerState { kind: handle.kind(), uid: handle.uid(), gid: handle.gid(), mode: handle.mode() }
    }
}

/// A symlink, or something else in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkState {
    /// What it leads to; `None`: it is no symlink.
    pub target: Option<PathBuf>,
}

impl LinkState {
    fn read(root: &Root, path: &Path) -> Result<Option<LinkState>> {
        let Some(handle) = root.find_nofollow(path)? else { return Ok(None) };
        let target = match handle.kind() {
            Kind::Symlink => Some(handle.known()?.target()?),
            _ => None,
        };
        Ok(Some(LinkState { target }))
    }
}

/// What is at an item's target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// A group, user or membership.
    Account {
        /// The group's or user's number; the group's where the user is listed in it.
        number: Option<u32>,
        /// The backups that shadow's tools keep beside the databases: they change them as well.
        backups: BTreeMap<PathBuf, Option<FileState>>,
    },
    /// A group's number.
    Number {
        /// Now; none where there is no such group.
        gid: Option<u32>,
        /// Files with that number, found only where it is not the one asked for.
        files: Vec<PathBuf>,
        /// Those of them that lose more than their group by it: what is killed half-way is put right from here.
        #[serde(default)]
        special: Vec<Special>,
        /// Files that have the number asked for already: another's, or of nobody. They keep it at `revert`.
        #[serde(default)]
        others: Vec<PathBuf>,
        /// Processes with the group's number now, for people: the journal outlives them.
        #[serde(default, skip_serializing)]
        processes: Vec<Carrier>,
        /// As those of an account.
        #[serde(default)]
        backups: BTreeMap<PathBuf, Option<FileState>>,
    },
    /// Owner, group, mode; nothing is there.
    Owner {
        /// What is there.
        found: Option<OwnerState>,
    },
    /// A file; nothing is there.
    File {
        /// What is there.
        found: Option<FileState>,
    },
    /// A symlink; nothing is there.
    Link {
        /// What is there.
        found: Option<LinkState>,
    },
    /// A VM and ports.
    Conversion {
        /// The VM's definition as libvirt gives it out; none where there is no such VM.
        definition: Option<String>,
        /// Those of the ports that are there.
        ports: Vec<PortState>,
    },
}

/// An item with what is there instead, or already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// What shall be.
    pub item: Item,
    /// What is there; where it was changed, what goes back there at `revert`.
    pub before: State,
}

impl Observed {
    /// Does the item hold?
    pub fn holds(&self) -> bool {
        self.before.satisfies(&self.item)
    }
}

/// Reads what is at the item's target.
pub fn observe(root: &Root, accounts: &Accounts, item: &Item) -> Result<State> {
    match item {
        Item::Group(Group { name, .. }) => account(root, accounts.group(name).map(|group| group.gid), false),
        Item::User(User { name, .. }) => account(root, accounts.user(name).map(|user| user.uid), true),
        Item::Member(Member { user, group }) => {
            let listed = accounts.group(group).filter(|group| group.members.contains(user));
            account(root, listed.map(|group| group.gid), false)
        }
        Item::Renumber(Renumber { group, gid }) => {
            number(root, accounts.group(group).map(|group| group.gid), *gid)
        }
        // On the way to something of ours a link that root made is as good as a directory.
        Item::Owner(Owner { path, subject: Subject::Parent, .. }) => {
            Ok(State::Owner { found: root.find(path)?.as_ref().map(OwnerState::read).transpose()? })
        }
        // The mount root or directory itself: whoever may replace it by a link shall not direct us elsewhere.
        Item::Owner(Owner { path, .. }) => {
            Ok(State::Owner { found: root.find_nofollow(path)?.as_ref().map(OwnerState::read).transpose()? })
        }
        Item::File(File { path, .. })
        | Item::Setting(Setting { path, .. })
        | Item::LogOwner(LogOwner { path, .. })
        | Item::Unpatch(Unpatch { path, .. }) => Ok(State::File { found: FileState::read(root, path)? }),
        Item::Link(Link { path, .. }) => Ok(State::Link { found: LinkState::read(root, path)? }),
        Item::Conversion(item) => {
            let (definition, ports) = conversion::read(root, item)?;
            Ok(State::Conversion { definition, ports })
        }
    }
}

fn number(root: &Root, now: Option<u32>, wanted: u32) -> Result<State> {
    let Some(old) = now.filter(|now| *now != wanted) else {
        let (files, special, others, processes, backups) = Default::default();
        return Ok(State::Number { gid: now, files, special, others, processes, backups });
    };
    if let Some(report) = root.report() {
        return Err(report.lacks(&format!("which files have the group {old}")));
    }
    let files = carriers::files(root, old)?;
    Ok(State::Number {
        gid: now,
        special: carriers::special(root, &files)?,
        files,
        others: carriers::files(root, wanted)?,
        processes: carriers::processes(root, old)?,
        // groupmod changes the primary group of users as well.
        backups: backups(root, true)?,
    })
}

fn account(root: &Root, number: Option<u32>, is_user: bool) -> Result<State> {
    Ok(State::Account { number, backups: backups(root, is_user)? })
}

fn backups(root: &Root, is_user: bool) -> Result<BTreeMap<PathBuf, Option<FileState>>> {
    let mut backups = BTreeMap::new();
    // What undoing needs: nothing is done to a report.
    if root.report().is_some() {
        return Ok(backups);
    }
    let touched = |path: &&&str| {
        path.ends_with('-') && (is_user || path.contains("/group") || path.contains("/gshadow"))
    };
    for path in paths::ACCOUNT_FILES.iter().filter(touched) {
        backups.insert(PathBuf::from(path), FileState::read(root, Path::new(path))?);
    }
    Ok(backups)
}

impl State {
    /// Does it hold what the item asks for?
    pub fn satisfies(&self, item: &Item) -> bool {
        match (item, self) {
            (Item::Group(_) | Item::User(_) | Item::Member(_), State::Account { number, .. }) => {
                number.is_some()
            }
            (Item::Renumber(Renumber { gid, .. }), State::Number { gid: now, .. }) => {
                now.is_none_or(|now| now == *gid)
            }
            (Item::Owner(owner), State::Owner { found }) => owner_holds(owner, found.as_ref()),
            (Item::File(File { content, .. }), State::File { found }) => found.as_ref().is_some_and(|file| {
                file.content.text() == content && (file.uid, file.gid, file.mode) == (0, 0, 0o644)
            }),
            (Item::Setting(Setting { key, value, .. }), State::File { found }) => {
                let text = found.as_ref().map_or("", |file| file.content.text());
                let now = virconf::VirConf::parse(text).ok().and_then(|conf| conf.get(key));
                now == Some(virconf::Value::Text(value.clone()))
            }
            (Item::LogOwner(LogOwner { user, .. }), State::File { found }) => {
                let text = found.as_ref().map_or("", |file| file.content.text());
                logrotate::owners(text).iter().all(|owner| owner == user)
            }
            (Item::Unpatch(Unpatch { kind, .. }), State::File { found }) => {
                found.as_ref().is_none_or(|file| legacy::find(*kind, file.content.text()).is_empty())
            }
            (Item::Link(Link { target, .. }), State::Link { found }) => {
                found.as_ref().is_some_and(|link| link.target.as_ref() == Some(target))
            }
            (Item::Conversion(item), State::Conversion { definition, ports }) => {
                let has_cards = |text: &String| conversion::has_cards(text, item);
                definition.as_ref().is_some_and(has_cards) && *ports == item.ports
            }
            _ => false,
        }
    }
}

fn owner_holds(owner: &Owner, found: Option<&OwnerState>) -> bool {
    let Some(found) = found else { return owner.absent == Absent::Fine };
    // A symlink where a file was expected is left to those who made it: what it leads to is an item of its own.
    if owner.absent == Absent::Fine && found.kind == Kind::Symlink {
        return true;
    }
    if owner.absent == Absent::Create && found.kind != Kind::Directory {
        return false;
    }
    owner.uid.is_none_or(|uid| uid == found.uid)
        && owner.gid.is_none_or(|gid| gid == found.gid)
        && owner.mode.is_none_or(|mode| mode == found.mode)
}
