// SPDX-License-Identifier: Apache-2.0
//! Everything that can be changed on a node. One file for each kind of change says what it is, how it is observed, shown,
//! made and undone. A new kind is a file here and a line in the list of kinds below.

mod account;
mod diff;
mod named;
pub mod preflight;
mod shadow;
mod state;
mod text;
mod tool;
pub mod vm;

pub use conversion::{Card, Side, VmState};
pub use link::LinkState;
pub use owner::{Absent, OwnerState, Subject};
pub use renumber::{Number, progress as progress_of_search};
pub use state::{Bytes, FileState, NotAFile};

use std::fmt::{self, Debug};
use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::base::root::Root;
use crate::facts::accounts::Accounts;

/// A kind of change: the value says what is wanted.
pub trait Kind: Clone + Into<Item> {
    /// What can be at the target now.
    type Found: Clone + Debug;

    /// What it is about. Two items with the same target never stand in one accord.
    fn target(&self) -> Target;

    /// Reads what is there now.
    fn observe(&self, root: &Root, accounts: &Accounts) -> Result<Self::Found>;

    /// Is what was found what is wanted?
    fn holds(&self, found: &Self::Found) -> bool;

    /// The change as lines for people: a unified diff for text, before and after for all else.
    fn show(&self, before: &Self::Found, accounts: &Accounts) -> String;

    /// Files and directories that it writes.
    fn writes(&self) -> Vec<PathBuf>;

    /// Does it, idempotently.
    fn make(&self, root: &Root, before: &Self::Found) -> Result<()>;

    /// Undoes it. `now` is what is there.
    fn undo(&self, root: &Root, before: &Self::Found, now: &Self::Found) -> Result<Undone>;

    /// Removes what a killed run left beside the target.
    fn clear(&self, root: &Root) -> Result<()> {
        self.writes().iter().try_for_each(|path| text::clear(root, path))
    }

    /// The same before a new plan; also removes what was made only in part.
    fn resume(&self, root: &Root, _before: &Self::Found) -> Result<()> {
        self.clear(root)
    }

    /// Must it be made again later?
    fn lingers(&self, _root: &Root, _before: &Self::Found) -> Result<bool> {
        Ok(false)
    }

    /// Why it cannot be undone at all, if so.
    fn obstacle(&self, _root: &Root) -> Result<Option<Undone>> {
        Ok(None)
    }

    /// Replaces what is wanted by what `further` wants. The state before the first change is kept.
    fn supersede(standing: &mut Held<Self>, further: &Held<Self>) {
        standing.item = further.item.clone();
    }
}

/// What is wanted, and what was found. After a change, `before` is what `revert` restores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(
    serialize = "K: Serialize, K::Found: Serialize",
    deserialize = "K: Deserialize<'de>, K::Found: Deserialize<'de>"
))]
pub struct Held<K: Kind> {
    /// What is wanted.
    pub item: K,
    /// What was found.
    pub before: K::Found,
}

/// Makes the enumerations of items and of changes from the list of kinds, and the conversion from one to the other.
macro_rules! kinds {
    ($d:tt $($(#[$doc:meta])* $vis:vis $file:ident::$name:ident,)+) => {
        $($vis mod $file;)+
        $(pub use $file::$name;)+

        /// One thing that must hold.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum Item {
            $($(#[$doc])* $name($name)),+
        }

        /// An item with what was found at its target. The journal keeps it.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum Change {
            $($(#[$doc])* $name(Held<$name>)),+
        }

        $(impl From<$name> for Item {
            fn from(item: $name) -> Item {
                Item::$name(item)
            }
        })+

        $(impl From<Held<$name>> for Change {
            fn from(held: Held<$name>) -> Change {
                Change::$name(held)
            }
        })+

        /// The same done with an item, or a change, of any kind. A macro in a macro cannot have a `$` of its own: it is given
        /// as `$d`.
        macro_rules! each {
            ($d of:ident, $d value:expr, $d one:ident => $d done:expr) => {
                match $d value {
                    $($d of::$name($d one) => $d done),+
                }
            };
        }

        impl Change {
            /// Replaces what is wanted by what `further` wants. The state before the first change is kept.
            pub fn supersede(&mut self, further: &Change) {
                match (self, further) {
                    $((Change::$name(standing), Change::$name(further)) => Kind::supersede(standing, further),)+
                    (standing, further) => *standing = further.clone(),
                }
            }
        }
    };
}

// A new kind is a file in this folder, and a line here. `make fmt` formats these files, too.
kinds! { $
    /// A group with a number.
    group::Group,
    /// A system user without login.
    user::User,
    /// A user listed in a group.
    member::Member,
    /// A group's number, and the group of all files that carry its old one.
    renumber::Renumber,
    /// Owner, group and mode of a directory, mount root or file.
    owner::Owner,
    /// A file of our own: a drop-in, an environment file, a tmpfiles.d line.
    file::File,
    /// A key in a file of another program.
    setting::Setting,
    /// Who owns the logs that logrotate creates.
    log_owner::LogOwner,
    /// A packaged file that was patched in place, without the patch.
    patch::Patch,
    /// A symlink of our own.
    link::Link,
    /// A VM's network cards and their ports, converted to another port type. Made by `convert`, never part of the accord.
    pub conversion::Conversion,
}

impl Item {
    /// What it is about. Two items with the same target never stand in one accord.
    pub fn target(&self) -> Target {
        each!(Item, self, item => item.target())
    }

    /// Reads what is at its target.
    pub fn observe(&self, root: &Root, accounts: &Accounts) -> Result<Change> {
        each!(Item, self, item => {
            Ok(Held { item: item.clone(), before: item.observe(root, accounts)? }.into())
        })
    }
}

impl Change {
    /// What it is about.
    pub fn target(&self) -> Target {
        each!(Change, self, held => held.item.target())
    }

    /// What is wanted.
    pub fn item(&self) -> Item {
        each!(Change, self, held => held.item.clone().into())
    }

    /// Is what was found what is wanted?
    pub fn holds(&self) -> bool {
        each!(Change, self, held => held.item.holds(&held.before))
    }

    /// The change as lines for people.
    pub fn show(&self, accounts: &Accounts) -> String {
        each!(Change, self, held => held.item.show(&held.before, accounts))
    }

    /// Files and directories that it writes.
    pub fn writes(&self) -> Vec<PathBuf> {
        each!(Change, self, held => held.item.writes())
    }

    /// Does it, idempotently, and proves it by reading again.
    pub fn make(&self, root: &Root) -> Result<()> {
        each!(Change, self, held => held.item.make(root, &held.before)?);
        if !self.item().observe(root, &Accounts::read(root)?)?.holds() {
            bail!("{} is not as requested after the change", self.target());
        }
        Ok(())
    }

    /// Removes what a killed run left beside its target, and an account that was created only in part, so that the next plan
    /// creates it again.
    pub fn resume(&self, root: &Root) -> Result<()> {
        each!(Change, self, held => held.item.resume(root, &held.before))
    }

    /// Must it be made again later? A renumbering is not complete while processes run with the old number.
    pub fn lingers(&self, root: &Root) -> Result<bool> {
        each!(Change, self, held => held.item.lingers(root, &held.before))
    }

    /// Undoes it.
    pub fn undo(&self, root: &Root) -> Result<Undone> {
        each!(Change, self, held => {
            held.item.clear(root)?;
            if let Some(obstacle) = held.item.obstacle(root)? {
                return Ok(obstacle);
            }
            let now = held.item.observe(root, &Accounts::read(root)?)?;
            held.item.undo(root, &held.before, &now)
        })
    }
}

/// The result of undoing a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undone {
    /// As it was before.
    Restored,
    /// As it was before. Someone had changed it since; that change is lost.
    RestoredOver(String),
    /// Someone had restored it already.
    AlreadyBack,
    /// Left as it is for good, and why.
    Left(String),
    /// Cannot be restored while it is in use; it stays in the journal.
    InUse(String),
}

/// The name of what an item is about; the journal finds entries by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target(pub String);

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
