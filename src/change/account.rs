// SPDX-License-Identifier: Apache-2.0
//! Groups, users and memberships.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::{Undone, file, named, tool};
use crate::accord::item::{self, Item, Member, User};
use crate::facts::accounts::{Accounts, Group};
use crate::facts::state::FileState;
use crate::root::Root;

pub fn make(root: &Root, item: &Item) -> Result<()> {
    add(root, item)?;
    if is_half(root, item)? {
        bail!("{}: is in one of /etc's two databases alone", item.target());
    }
    Ok(())
}

fn add(root: &Root, item: &Item) -> Result<()> {
    match item {
        Item::Group(item::Group { name, gid }) => {
            tool::accounts(root, "groupadd", &["--gid", &gid.to_string(), name])
        }
        Item::User(User { name, uid, gid }) => {
            let (uid, gid) = (uid.to_string(), gid.to_string());
            let account = ["--system", "--uid", &uid, "--gid", &gid, "--no-create-home"];
            let login = ["--home-dir", "/", "--shell", "/usr/sbin/nologin", name];
            tool::accounts(root, "useradd", &[account.as_slice(), login.as_slice()].concat())
        }
        Item::Member(Member { user, group }) => tool::accounts(root, "gpasswd", &["--add", user, group]),
        _ => bail!("{} is no account", item.target()),
    }
}

/// The databases go back through the tools, their backups by content.
pub fn undo(
    root: &Root,
    item: &Item,
    before: Option<u32>,
    now: Option<u32>,
    backups: &BTreeMap<PathBuf, Option<FileState>>,
) -> Result<Undone> {
    if before.is_some() {
        return Ok(Undone::AlreadyBack);
    }
    if now.is_some() {
        if let Some(why) = named::since(root, item)? {
            return Ok(Undone::Left(why));
        }
        if let Err(why) = remove(root, item) {
            return Ok(Undone::InUse(format!("{why:#}")));
        }
    }
    if left_in_shadow(root, item)? {
        // The tools take out only what is in both, and take the other for absent where they cannot see it.
        make(root, item)?;
        remove(root, item)?;
        if left_in_shadow(root, item)? {
            bail!("{}: is left in one of /etc's two databases", item.target());
        }
    }
    // One that was killed after it took the account back has the backups still to do.
    for (path, state) in backups {
        file::restore(root, path, state.as_ref())?;
    }
    Ok(if now.is_some() { Undone::Restored } else { Undone::AlreadyBack })
}

/// Takes out what a tool left in the open database alone when it was killed, so that it is made anew, whole.
pub fn take_half(root: &Root, item: &Item, before: Option<u32>) -> Result<()> {
    if before.is_none()
        && is_half(root, item)?
        && let Err(why) = remove(root, item)
    {
        // In use by now: it works without that line.
        tracing::warn!("{}: left as it is: {why:#}", item.target());
    }
    Ok(())
}

/// In the open database, and not in the other. Never one that is used: not a group that has members.
fn is_half(root: &Root, item: &Item) -> Result<bool> {
    let accounts = Accounts::read_files(root)?;
    let shadow = if matches!(item, Item::User(_)) { "/etc/shadow" } else { "/etc/gshadow" };
    let unused = |group: Group| group.members.is_empty() && accounts.users_of(group.gid).is_empty();
    let open = match item {
        Item::User(User { name, .. }) => accounts.user(name).is_some(),
        Item::Group(item) => accounts.group(&item.name).is_some_and(unused),
        Item::Member(Member { user, group }) => {
            accounts.group(group).is_some_and(|group| group.members.contains(user))
        }
        _ => false,
    };
    Ok(open && root.find(Path::new(shadow))?.is_some() && !left_in_shadow(root, item)?)
}

fn remove(root: &Root, item: &Item) -> Result<()> {
    match item {
        Item::Group(item::Group { name, .. }) => tool::accounts(root, "groupdel", &[name]),
        Item::User(User { name, .. }) => tool::accounts(root, "userdel", &[name]),
        Item::Member(Member { user, group }) => tool::accounts(root, "gpasswd", &["--delete", user, group]),
        _ => bail!("{} is no account", item.target()),
    }
}

/// The tools write the open database first: killed between, they leave the other one's entry behind.
fn left_in_shadow(root: &Root, item: &Item) -> Result<bool> {
    let (file, name) = match item {
        Item::User(User { name, .. }) => ("/etc/shadow", name),
        Item::Group(item::Group { name, .. }) | Item::Member(Member { group: name, .. }) => {
            ("/etc/gshadow", name)
        }
        _ => return Ok(false),
    };
    let text = root.read_text(Path::new(file))?.unwrap_or_default();
    let entry = text.lines().find_map(|line| line.strip_prefix(name.as_str())?.strip_prefix(':'));
    let lists = |entry: &str, user: &str| {
        entry.rsplit(':').next().is_some_and(|members| members.split(',').any(|member| member == user))
    };
    Ok(entry.is_some_and(|entry| match item {
        Item::Member(Member { user, .. }) => lists(entry, user),
        _ => true,
    }))
}
