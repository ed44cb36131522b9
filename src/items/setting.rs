// SPDX-License-Identifier: Apache-2.0
//! A key of qemu.conf with a text value. Only the bytes of that key change.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::{FileState, Kind, Target, Undone, text};
use crate::base::root::Root;
use crate::edit::virconf;
use crate::facts::accounts::Accounts;

/// A key of qemu.conf with a text value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The file.
    pub path: PathBuf,
    /// The key.
    pub key: String,
    /// Its value.
    pub value: String,
}

impl Kind for Setting {
    type Found = Option<FileState>;

    fn target(&self) -> Target {
        Target(format!("{} in {}", self.key, self.path.display()))
    }

    fn observe(&self, root: &Root, _accounts: &Accounts) -> Result<Self::Found> {
        FileState::read(root, &self.path)
    }

    fn holds(&self, found: &Self::Found) -> bool {
        let conf = virconf::VirConf::parse(FileState::text_of(found.as_ref())).ok();
        conf.and_then(|conf| conf.get(&self.key)) == Some(virconf::Value::Text(self.value.clone()))
    }

    fn show(&self, before: &Self::Found, _accounts: &Accounts) -> String {
        let before = before.as_ref();
        match virconf::set_text(FileState::text_of(before), &self.key, &self.value) {
            Ok(new) => text::unified(&self.path, before, &new),
            Err(why) => format!("! {}: {why}\n", self.path.display()),
        }
    }

    fn writes(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn make(&self, root: &Root, _before: &Self::Found) -> Result<()> {
        let edit = |text: &str| {
            let new = virconf::set_text(text, &self.key, &self.value)
                .with_context(|| self.path.display().to_string())?;
            // Never write a file that libvirt would refuse: the new text is parsed as libvirt does first.
            if let Err(error) = virconf::VirConf::parse(&new) {
                bail!("{}: the edit would break it ({error}); nothing was written", self.path.display());
            }
            Ok(new)
        };
        text::edit(root, &self.path, edit).map(drop)
    }

    /// Restores the key, whatever else changed in the file.
    fn undo(&self, root: &Root, before: &Self::Found, now: &Self::Found) -> Result<Undone> {
        let (Some(before), Some(now)) = (before, now) else {
            return Ok(Undone::Left("the file no longer exists".to_string()));
        };
        if std::str::from_utf8(&now.content.to_vec()?).is_err() {
            return Ok(Undone::Left("it is not UTF-8 text".to_string()));
        }
        let previous = virconf::previous(before.content.text(), &self.key)
            .with_context(|| self.path.display().to_string())?;
        let mut left = None;
        let undone = text::put_back(root, &self.path, |text| {
            let restored = virconf::restore(text, &self.key, &self.value, &previous);
            Ok(restored.unwrap_or_else(|why| {
                left = Some(Undone::Left(why.to_string()));
                text.to_string()
            }))
        })?;
        Ok(left.unwrap_or(undone))
    }
}
