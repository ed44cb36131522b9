// SPDX-License-Identifier: Apache-2.0
//! A file that is ours alone.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{FileState, Kind, Target, Undone, preflight, text};
use crate::base::paths;
use crate::base::root::Root;
use crate::facts::accounts::Accounts;
use crate::write;

/// A file that is ours alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Where.
    pub path: PathBuf,
    /// Its whole content; owner root, mode 0644.
    pub content: String,
    /// The unit it is a drop-in of.
    pub unit: Option<String>,
}

impl File {
    /// Is it for the first boot of nodes from an image?
    pub fn is_of_image(&self) -> bool {
        [paths::IMAGE_SYSUSERS, paths::IMAGE_TMPFILES].iter().any(|path| self.path == Path::new(path))
    }
}

impl Kind for File {
    type Found = Option<FileState>;

    fn target(&self) -> Target {
        Target(format!("file {}", self.path.display()))
    }

    fn observe(&self, root: &Root, _accounts: &Accounts) -> Result<Self::Found> {
        FileState::read(root, &self.path)
    }

    fn holds(&self, found: &Self::Found) -> bool {
        let is_ours = |file: &FileState| {
            file.content.text() == self.content && (file.uid, file.gid, file.mode) == (0, 0, 0o644)
        };
        found.as_ref().is_some_and(is_ours)
    }

    fn show(&self, before: &Self::Found, _accounts: &Accounts) -> String {
        text::unified(&self.path, before.as_ref(), &self.content)
    }

    fn writes(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn make(&self, root: &Root, _before: &Self::Found) -> Result<()> {
        let (parent, name) = root.place(&self.path)?;
        write::replace_file(&parent, name, self.content.as_bytes(), &write::FileMeta::plain(0, 0, 0o644))
    }

    /// A file in `/usr` stays if `/usr` is read-only, as with bootc and ostree.
    fn obstacle(&self, root: &Root) -> Result<Option<Undone>> {
        let keeps = root.is_live() && self.is_of_image() && preflight::is_read_only(root, &self.path)?;
        Ok(keeps.then(|| Undone::Left("part of the image that this node was booted from".to_string())))
    }

    fn undo(&self, root: &Root, before: &Self::Found, now: &Self::Found) -> Result<Undone> {
        if before == now {
            return Ok(Undone::AlreadyBack);
        }
        let drifted = now.as_ref().is_none_or(|now| now.content.text() != self.content);
        text::restore(root, &self.path, before.as_ref())?;
        Ok(match (drifted, now) {
            (true, Some(now)) => {
                Undone::RestoredOver(format!("an edited file of {} bytes", now.content.to_vec()?.len()))
            }
            _ => Undone::Restored,
        })
    }
}
