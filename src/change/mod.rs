// SPDX-License-Identifier: Apache-2.0
//! The only code that writes. One file a kind of item; each says what it would do, does it, and takes it back.

mod account;
pub mod conversion;
mod diff;
mod file;
pub mod grant;
mod link;
mod named;
mod owner;
pub mod port;
pub mod preflight;
mod renumber;
pub mod runtime;
mod shadow;
pub mod stale;
mod text;
mod tool;
pub mod write;

use anyhow::{Result, bail};
use serde::Serialize;

pub use diff::diff;
pub use file::place;

use crate::accord::Item;
use crate::accord::item::{Absent, File, Link, LogOwner, Owner, Setting, Unpatch};
use crate::facts::accounts::Accounts;
use crate::facts::state::{self, State};
use crate::root::Root;

/// An observed item that is to be made, or was. The value is facts' own; making and taking back is only here.
pub use crate::facts::state::Observed as Change;

/// How taking a change back ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undone {
    /// As it was before.
    Restored,
    /// As it was before, though someone had changed it since: what was there instead is gone.
    RestoredOver(String),
    /// Someone put it back already.
    AlreadyBack,
    /// Left as it is for good, and why.
    Left(String),
    /// Cannot go back as long as someone uses it; it stays in the journal.
    InUse(String),
}

impl Change {
    /// Does it, idempotently, and proves it by reading again.
    pub fn make(&self, root: &Root) -> Result<()> {
        match (&self.item, &self.before) {
            (Item::Group(_) | Item::User(_) | Item::Member(_), _) => account::make(root, &self.item)?,
            (Item::Renumber(item), State::Number { gid, files, special, .. }) => {
                renumber::make(root, item, *gid, files, special)?;
            }
            (Item::Owner(item), _) => owner::make(root, item)?,
            (Item::File(item), _) => file::make(root, item)?,
            (Item::Setting(item), _) => text::set(root, item)?,
            (Item::LogOwner(item), _) => text::give_logs(root, item)?,
            (Item::Unpatch(item), _) => text::unpatch(root, item)?,
            (Item::Link(item), _) => link::make(root, item)?,
            (Item::Conversion(item), _) => conversion::make(root, item)?,
            (Item::Renumber(_), _) => bail!("{}: not a state of a group's number", self.item.target()),
        }
        let now = state::observe(root, &Accounts::read(root)?, &self.item)?;
        if !now.satisfies(&self.item) {
            bail!("{} did not come out as asked", self.item.target());
        }
        Ok(())
    }

    /// Whether it has to be made again later: a renumbering is not over while processes run with the old number.
    pub fn lingers(&self, root: &Root) -> Result<bool> {
        match (&self.item, &self.before) {
            (Item::Renumber(item), State::Number { gid, .. }) => renumber::lingers(root, item, *gid),
            _ => Ok(false),
        }
    }

    /// Removes what somebody who was killed left beside it: a file on its way in, locks of shadow's tools.
    pub fn clear(&self, root: &Root) -> Result<()> {
        match &self.item {
            Item::File(File { path, .. })
            | Item::Setting(Setting { path, .. })
            | Item::LogOwner(LogOwner { path, .. })
            | Item::Link(Link { path, .. })
            | Item::Unpatch(Unpatch { path, .. })
            | Item::Owner(Owner { path, absent: Absent::Create, .. }) => file::clear(root, path),
            Item::Owner(_) | Item::Conversion(_) => Ok(()),
            Item::Group(_) | Item::User(_) | Item::Member(_) | Item::Renumber(_) => shadow::clear(root),
        }
    }

    /// The same, and takes out an account that was made by half, so that the next plan makes it anew.
    pub fn resume(&self, root: &Root) -> Result<()> {
        self.clear(root)?;
        match &self.before {
            State::Account { number, .. } => account::take_half(root, &self.item, *number),
            _ => Ok(()),
        }
    }

    /// Takes it back.
    pub fn undo(&self, root: &Root) -> Result<Undone> {
        self.clear(root)?;
        if let Item::Conversion(_) = &self.item
            && let Some(obstacle) = conversion::obstacle(root)?
        {
            return Ok(obstacle);
        }
        let now = state::observe(root, &Accounts::read(root)?, &self.item)?;
        match (&self.item, &self.before, &now) {
            (
                Item::Group(_) | Item::User(_) | Item::Member(_),
                State::Account { number, backups },
                State::Account { number: now, .. },
            ) => account::undo(root, &self.item, *number, *now, backups),
            (
                Item::Renumber(item),
                State::Number { gid, special, others, backups, .. },
                State::Number { gid: now, .. },
            ) => renumber::undo(root, item, renumber::Before { gid: *gid, special, others, backups }, *now),
            (Item::Owner(item), State::Owner { found }, State::Owner { found: now }) => {
                owner::undo(root, item, found.as_ref(), now.as_ref())
            }
            (Item::File(item), State::File { found }, State::File { found: now }) => {
                file::undo(root, &item.path, found.as_ref(), now.as_ref(), &item.content)
            }
            (Item::Setting(item), State::File { found }, State::File { found: now }) => {
                text::unset(root, item, found.as_ref(), now.as_ref())
            }
            (Item::LogOwner(item), State::File { found }, State::File { found: now }) => {
                text::take_logs(root, item, found.as_ref(), now.as_ref())
            }
            (Item::Unpatch(item), State::File { found }, State::File { found: now }) => {
                text::repatch(root, item, found.as_ref(), now.as_ref())
            }
            (Item::Link(item), State::Link { found }, State::Link { found: now }) => {
                link::undo(root, item, found.as_ref(), now.as_ref())
            }
            (
                Item::Conversion(item),
                State::Conversion { definition, ports },
                State::Conversion { definition: now, ports: ports_now },
            ) => {
                let before = conversion::Before { definition: definition.as_ref(), ports };
                let now = conversion::Before { definition: now.as_ref(), ports: ports_now };
                conversion::undo(root, item, &before, &now)
            }
            _ => bail!("{}: the journal holds a state of another kind", self.item.target()),
        }
    }
}
