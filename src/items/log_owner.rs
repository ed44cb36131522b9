// SPDX-License-Identifier: Apache-2.0
//! Who owns the logs that logrotate creates for the dataplane.

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{FileState, Kind, Target, Undone, text};
use crate::base::root::Root;
use crate::edit::logrotate;
use crate::facts::accounts::Accounts;

/// The owner in a logrotate configuration of the dataplane's package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOwner {
    /// The file.
    pub path: PathBuf,
    /// The user the logs must belong to.
    pub user: String,
}

impl Kind for LogOwner {
    type Found = Option<FileState>;

    fn target(&self) -> Target {
        Target(format!("owner of logs in {}", self.path.display()))
    }

    fn observe(&self, root: &Root, _accounts: &Accounts) -> Result<Self::Found> {
        FileState::read(root, &self.path)
    }

    fn holds(&self, found: &Self::Found) -> bool {
        logrotate::owners(FileState::text_of(found.as_ref())).iter().all(|owner| *owner == self.user)
    }

    fn show(&self, before: &Self::Found, _accounts: &Accounts) -> String {
        let new = logrotate::set_owner(FileState::text_of(before.as_ref()), &self.user);
        text::unified(&self.path, before.as_ref(), &new)
    }

    fn writes(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn make(&self, root: &Root, _before: &Self::Found) -> Result<()> {
        text::edit(root, &self.path, |text| Ok(logrotate::set_owner(text, &self.user))).map(drop)
    }

    /// Restores the first owner that was there before; packages name only one.
    fn undo(&self, root: &Root, before: &Self::Found, now: &Self::Found) -> Result<Undone> {
        let (Some(before), Some(_)) = (before, now) else {
            return Ok(Undone::Left("the file no longer exists".to_string()));
        };
        let Some(owner) = logrotate::owners(before.content.text()).first().copied() else {
            return Ok(Undone::AlreadyBack);
        };
        text::put_back(root, &self.path, |text| Ok(logrotate::set_owner(text, owner)))
    }
}
