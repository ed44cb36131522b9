// SPDX-License-Identifier: Apache-2.0
//! A symlink of ours.

use anyhow::Result;

use super::{Undone, write};
use crate::accord::item::Link;
use crate::base::root::Root;
use crate::facts::state::LinkState;

pub fn make(root: &Root, item: &Link) -> Result<()> {
    let (parent, name) = root.place(&item.path)?;
    write::replace_link(&parent, name, &item.target).map(drop)
}

pub fn undo(root: &Root, item: &Link, before: Option<&LinkState>, now: Option<&LinkState>) -> Result<Undone> {
    let ours = now.is_some_and(|now| now.target.as_deref() == Some(item.target.as_path()));
    match (before, now) {
        (before, now) if before == now => Ok(Undone::AlreadyBack),
        (_, Some(_)) if !ours => Ok(Undone::Left("the path is something else now".to_string())),
        (Some(LinkState { target: Some(target) }), _) => {
            let (parent, name) = root.place(&item.path)?;
            write::replace_link(&parent, name, target)?;
            Ok(Undone::Restored)
        }
        (Some(LinkState { target: None }), _) => Ok(Undone::Left("what was there is gone".to_string())),
        (None, _) => {
            let (parent, name) = root.place(&item.path)?;
            if let Some(found) = parent.entry(name)? {
                write::remove_file(&parent, name, found.id())?;
            }
            Ok(Undone::Restored)
        }
    }
}
