// SPDX-License-Identifier: Apache-2.0
//! A packaged file that someone patched in place: the patch is removed.

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{FileState, Kind, Target, Undone, text};
use crate::base::root::Root;
use crate::dataplane::ovs::legacy;
use crate::facts::accounts::Accounts;

/// A packaged file that may have been patched in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// The file.
    pub path: PathBuf,
    /// What it is.
    pub of: legacy::Kind,
}

impl Kind for Patch {
    type Found = Option<FileState>;

    fn target(&self) -> Target {
        Target(format!("packaged {}", self.path.display()))
    }

    fn observe(&self, root: &Root, _accounts: &Accounts) -> Result<Self::Found> {
        FileState::read(root, &self.path)
    }

    fn holds(&self, found: &Self::Found) -> bool {
        found.as_ref().is_none_or(|file| legacy::find(self.of, file.content.text()).is_empty())
    }

    fn show(&self, before: &Self::Found, _accounts: &Accounts) -> String {
        let new = legacy::undo(self.of, FileState::text_of(before.as_ref()));
        text::unified(&self.path, before.as_ref(), &new)
    }

    fn writes(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn make(&self, root: &Root, _before: &Self::Found) -> Result<()> {
        text::edit(root, &self.path, |text| Ok(legacy::undo(self.of, text))).map(drop)
    }

    /// Restores exactly what was there, the patch included, unless the package installed a new file since.
    fn undo(&self, root: &Root, before: &Self::Found, now: &Self::Found) -> Result<Undone> {
        let (Some(before), Some(now)) = (before, now) else {
            return Ok(Undone::Left("the file no longer exists".to_string()));
        };
        if before == now {
            return Ok(Undone::AlreadyBack);
        }
        if now.content.text() != legacy::undo(self.of, before.content.text()) {
            return Ok(Undone::Left("the package has installed another file since".to_string()));
        }
        text::restore(root, &self.path, Some(before))?;
        Ok(Undone::Restored)
    }
}
