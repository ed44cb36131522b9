// SPDX-License-Identifier: Apache-2.0
//! What groups, users and memberships have in common: shadow's tools create and remove them, in two databases.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::{Item, Kind, Target, Undone, shadow};
use crate::base::root::Root;
use crate::facts::accounts::Accounts;

/// An entry of the account databases.
pub trait Account: Clone + Into<Item> {
    /// As [`Kind::target`].
    fn name(&self) -> Target;

    /// Its number in the open database; the group's where it is a membership.
    fn number(&self, accounts: &Accounts) -> Option<u32>;

    /// The change, as one line.
    fn line(&self) -> String;

    /// Is it in the open database and not in use? A group that has members is in use.
    fn is_unused(&self, accounts: &Accounts) -> bool;

    /// The closed database, and the name of the entry in it.
    fn closed(&self) -> (&'static str, &str);

    /// Does the entry with this text, which follows its name, have what is wanted?
    fn is_in(&self, _entry: &str) -> bool {
        true
    }

    /// What still refers to it, so that it must stay.
    fn named(&self, _root: &Root) -> Result<Option<String>> {
        Ok(None)
    }

    /// Has a tool create it.
    fn add(&self, root: &Root) -> Result<()>;

    /// Has a tool remove it.
    fn remove(&self, root: &Root) -> Result<()>;
}

impl<A: Account> Kind for A {
    type Found = Option<u32>;

    fn target(&self) -> Target {
        self.name()
    }

    fn observe(&self, _root: &Root, accounts: &Accounts) -> Result<Option<u32>> {
        Ok(self.number(accounts))
    }

    fn holds(&self, found: &Option<u32>) -> bool {
        found.is_some()
    }

    fn show(&self, _before: &Option<u32>, _accounts: &Accounts) -> String {
        format!("+ {}\n", self.line())
    }

    fn writes(&self) -> Vec<PathBuf> {
        vec![PathBuf::from("/etc/group")]
    }

    fn make(&self, root: &Root, _before: &Option<u32>) -> Result<()> {
        create(self, root)
    }

    /// Only the tools change the databases.
    fn undo(&self, root: &Root, before: &Option<u32>, now: &Option<u32>) -> Result<Undone> {
        if before.is_some() {
            return Ok(Undone::AlreadyBack);
        }
        if now.is_some() {
            if let Some(why) = self.named(root)? {
                return Ok(Undone::Left(why));
            }
            if let Err(why) = self.remove(root) {
                return Ok(Undone::InUse(format!("{why:#}")));
            }
        }
        if is_in_closed(self, root)? {
            // The tools remove only an entry that is in both databases, so it is created in both first.
            create(self, root)?;
            self.remove(root)?;
            if is_in_closed(self, root)? {
                bail!("{}: is still in one of the two account files", self.name());
            }
        }
        Ok(if now.is_some() { Undone::Restored } else { Undone::AlreadyBack })
    }

    fn clear(&self, root: &Root) -> Result<()> {
        shadow::clear(root)
    }

    /// Removes an entry that a killed tool left in the open database only, so that it is created again in both.
    fn resume(&self, root: &Root, before: &Option<u32>) -> Result<()> {
        self.clear(root)?;
        if before.is_none()
            && is_half(self, root)?
            && let Err(why) = self.remove(root)
        {
            // In use by now: it works without the closed database.
            tracing::warn!("{}: not changed: {why:#}", self.name());
        }
        Ok(())
    }
}

fn create(account: &impl Account, root: &Root) -> Result<()> {
    account.add(root)?;
    if is_half(account, root)? {
        bail!("{}: is in one of the two account files only", account.name());
    }
    Ok(())
}

/// In the open database only, and not in use.
fn is_half(account: &impl Account, root: &Root) -> Result<bool> {
    let (closed, _) = account.closed();
    Ok(account.is_unused(&Accounts::read_files(root)?)
        && root.find(Path::new(closed))?.is_some()
        && !is_in_closed(account, root)?)
}

/// Is it in the closed database? The tools write the open one first; killed before the second, they leave an old entry there.
fn is_in_closed(account: &impl Account, root: &Root) -> Result<bool> {
    let (file, name) = account.closed();
    let text = root.read_text(Path::new(file))?.unwrap_or_default();
    let entry = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(entry.is_some_and(|entry| account.is_in(entry)))
}
