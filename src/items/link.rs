// SPDX-License-Identifier: Apache-2.0
//! A symlink of our own.

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Kind, Target, Undone, text};
use crate::base::root::{self, Root};
use crate::facts::accounts::Accounts;
use crate::write;

/// A symlink of our own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Where.
    pub path: PathBuf,
    /// What it leads to.
    pub target: PathBuf,
}

/// A symlink, or something else in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkState {
    /// What it leads to; `None`: it is no symlink.
    pub target: Option<PathBuf>,
}

impl Kind for Link {
    type Found = Option<LinkState>;

    fn target(&self) -> Target {
        Target(format!("link {}", self.path.display()))
    }

    fn observe(&self, root: &Root, _accounts: &Accounts) -> Result<Self::Found> {
        let Some(handle) = root.find_nofollow(&self.path)? else { return Ok(None) };
        let target = match handle.kind() {
            root::Kind::Symlink => Some(handle.known()?.target()?),
            _ => None,
        };
        Ok(Some(LinkState { target }))
    }

    fn holds(&self, found: &Self::Found) -> bool {
        found.as_ref().is_some_and(|link| link.target.as_ref() == Some(&self.target))
    }

    fn show(&self, before: &Self::Found, _accounts: &Accounts) -> String {
        let path = self.path.display();
        let before = match before {
            None => String::new(),
            Some(LinkState { target: Some(target) }) => format!("- {path} -> {}\n", target.display()),
            Some(LinkState { target: None }) => format!("! {path} is not a symlink; move it away\n"),
        };
        format!("{before}+ {path} -> {}\n", self.target.display())
    }

    fn writes(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn make(&self, root: &Root, _before: &Self::Found) -> Result<()> {
        let (parent, name) = root.place(&self.path)?;
        write::replace_link(&parent, name, &self.target).map(drop)
    }

    fn undo(&self, root: &Root, before: &Self::Found, now: &Self::Found) -> Result<Undone> {
        match (before, now) {
            (before, now) if before == now => Ok(Undone::AlreadyBack),
            (_, now @ Some(_)) if !self.holds(now) => {
                Ok(Undone::Left("the path is something else now".to_string()))
            }
            (Some(LinkState { target: Some(target) }), _) => {
                let (parent, name) = root.place(&self.path)?;
                write::replace_link(&parent, name, target)?;
                Ok(Undone::Restored)
            }
            (Some(LinkState { target: None }), _) => Ok(Undone::Left("what was there is gone".to_string())),
            (None, _) => text::remove(root, &self.path).map(|()| Undone::Restored),
        }
    }
}
