// SPDX-License-Identifier: Apache-2.0
//! What was changed, and the previous state. Written before each change, so that the next `apply` can finish what was
//! interrupted, or `revert` can undo it. Only root may read it: it may have definitions of VMs with passwords.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::accord::is_for_server_ports;
use crate::base::paths;
use crate::base::root::{Handle, Root};
use crate::dataplane::declared::Found;
use crate::items::{Change, Group, Held, Subject, Target};
use crate::write;

const VERSION: u32 = 2;
const NAME: &str = "journal.json";

/// One change that is in effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What was asked for last, and what was there before the first `apply` touched it.
    pub change: Change,
    /// An unfinished change that nothing else shows: a renumbering (killed, or processes still have the old number), or a
    /// conversion whose VM must be started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Change>,
}

/// All changes in effect, in the order in which they were first made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Journal {
    version: u32,
    /// The shared group as `apply` set it; later changes by others are found by it.
    pub group: Option<Group>,
    /// The changes.
    pub entries: Vec<Entry>,
    /// The dataplane was stopped by `--restart`, and was not yet seen to work again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restarting: bool,
    /// What the running dataplane was started with, while other settings wait for its restart. Restored if it does not work with
    /// them. `None`: nothing waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Vec<Entry>>,
    /// Sections of dataplanes that `apply` used. A section that is ignored for a while is taken from here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<Found>,
}

impl Journal {
    /// Reads the node's journal; empty if there is none. A report never has it, because it may hold passwords.
    pub fn read(root: &Root) -> Result<Journal> {
        let path = Path::new(paths::STATE).join(NAME);
        let text = if root.report().is_some() { None } else { root.read_text(&path)? };
        let Some(text) = text else {
            return Ok(Journal { version: VERSION, ..Journal::default() });
        };
        let journal: Journal = serde_json::from_str(&text).with_context(|| {
            format!("{}: not a journal of this program; nothing was changed", path.display())
        })?;
        if journal.version != VERSION {
            bail!("{}: version {}, this program writes {VERSION}", path.display(), journal.version);
        }
        Ok(journal)
    }

    /// True if there is nothing to revert.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && !self.restarting
    }

    /// Did an `apply` make `dpdkvhostuser` ports work?
    pub fn serves(&self) -> bool {
        self.entries.iter().any(|entry| is_for_server_ports(&entry.change.item()))
    }

    /// Directories for QEMU's sockets that an `apply` made.
    pub fn socket_directories(&self) -> Vec<PathBuf> {
        let made = self.entries.iter().filter_map(|entry| match &entry.change {
            Change::Owner(Held { item, before: None }) if item.subject == Subject::SocketDirectory => {
                Some(item.path.clone())
            }
            _ => None,
        });
        made.collect()
    }

    fn entry(&mut self, target: &Target) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.change.target() == *target)
    }

    /// Notes a change before it is made. The state before the first change of the same target is kept.
    pub fn begin(&mut self, root: &Root, change: &Change) -> Result<()> {
        let pending = matches!(change, Change::Renumber(_)).then(|| change.clone());
        match self.entry(&change.target()) {
            Some(entry) => {
                entry.change.supersede(change);
                // Of a conversion, `pending` says that its VM must be started again.
                if !matches!(change, Change::Conversion(_)) {
                    entry.pending = pending;
                }
            }
            None => self.entries.push(Entry { change: change.clone(), pending }),
        }
        self.save(root)
    }

    /// Notes that the running VM of a conversion is stopped, and must be started again whatever happens.
    pub fn stopped(&mut self, root: &Root, change: &Change) -> Result<()> {
        if let Some(entry) = self.entry(&change.target()) {
            entry.pending = Some(change.clone());
        }
        self.save(root)
    }

    /// Notes the definition as libvirt prints it after the conversion. Forgets the conversion if that is the state before the
    /// first one.
    pub fn settle(&mut self, root: &Root, change: &Change) -> Result<()> {
        let target = change.target();
        let Some(entry) = self.entry(&target) else { return Ok(()) };
        if let Change::Conversion(standing) = &mut entry.change
            && standing.settle(root)?
        {
            return self.forget(root, &target);
        }
        self.save(root)
    }

    /// Notes that a change was made.
    pub fn made(&mut self, root: &Root, target: &Target) -> Result<()> {
        let begun = self.entry(target).and_then(|entry| entry.pending.take());
        if begun.is_some() { self.save(root) } else { Ok(()) }
    }

    /// Notes a renumbering before it is undone: its files are restored before the number.
    pub fn take_back(&mut self, root: &Root, target: &Target) -> Result<()> {
        match self.entry(target) {
            Some(Entry { change: change @ Change::Renumber(_), pending: pending @ None }) => {
                *pending = Some(change.clone());
                self.save(root)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Forgets a change that was undone.
    pub fn forget(&mut self, root: &Root, target: &Target) -> Result<()> {
        self.entries.retain(|entry| entry.change.target() != *target);
        self.save(root)
    }

    /// Puts an entry back in its place.
    pub fn put_back(&mut self, root: &Root, entry: &Entry) -> Result<()> {
        match self.entry(&entry.change.target()) {
            Some(other) if other == entry => return Ok(()),
            Some(other) => other.clone_from(entry),
            None => self.entries.push(entry.clone()),
        }
        self.save(root)
    }

    /// Notes, before the dataplane is stopped, what it was started with. After an interrupted restart that is already known.
    pub fn restart_begins(&mut self, root: &Root, running: Vec<Entry>) -> Result<()> {
        if !self.restarting {
            (self.restarting, self.running) = (true, Some(running));
        }
        self.save(root)
    }

    /// Notes that the dataplane runs with the current settings.
    pub fn restart_ended(&mut self, root: &Root) -> Result<()> {
        if !self.restarting && self.running.is_none() {
            return Ok(());
        }
        (self.restarting, self.running) = (false, None);
        self.save(root)
    }

    /// Removes what a killed run left while it wrote the journal.
    pub fn clear(&self, root: &Root) -> Result<()> {
        let (parent, name) = parent(root)?;
        if self.is_empty() {
            return remove(&parent, name);
        }
        match parent.entry(name)? {
            Some(state) => write::remove_temporary(&state, OsStr::new(NAME)),
            None => Ok(()),
        }
    }

    /// Writes it as it is now, or removes it with its directory when nothing is left in it.
    pub fn save(&self, root: &Root) -> Result<()> {
        let (parent, name) = parent(root)?;
        if self.is_empty() {
            return remove(&parent, name);
        }
        let state = write::create_directory(&parent, name, 0, 0, 0o700)?;
        let text = serde_json::to_string_pretty(self).context("writing the journal as JSON")?;
        let meta = write::FileMeta::plain(0, 0, 0o600);
        let written = write::replace_file(&state, OsStr::new(NAME), text.as_bytes(), &meta);
        if written.is_err() && state.entry(OsStr::new(NAME))?.is_none() {
            // The first error is the one to tell.
            let _ = remove(&parent, name);
        }
        written.context("writing the journal; nothing was changed without it")
    }
}

/// The directory in which the journal's own directory is, and the name of the latter.
fn parent(root: &Root) -> Result<(Handle, &'static OsStr)> {
    let directory = Path::new(paths::STATE);
    let (parent, name) = (directory.parent().unwrap_or(directory), directory.file_name().unwrap_or_default());
    let parent = root.find(parent)?.with_context(|| format!("{} does not exist", parent.display()))?;
    Ok((parent, name))
}

fn remove(parent: &Handle, name: &OsStr) -> Result<()> {
    write::remove_temporary(parent, name)?;
    let Some(state) = parent.entry(name)? else { return Ok(()) };
    write::remove_temporary(&state, OsStr::new(NAME))?;
    if let Some(journal) = state.entry(OsStr::new(NAME))? {
        write::remove_file(&state, OsStr::new(NAME), journal.id())?;
    }
    if state.names()?.is_empty() {
        write::remove_empty_directory(parent, name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As an earlier version wrote it: changes on a node must stay revertible after an update.
    const WRITTEN: &str = r#"{"version": 2, "group": {"name": "hugetlbfs", "gid": 42477}, "entries": [{"change": {
        "kind": "owner", "item": {"path": "/dev/hugepages", "subject": "hugepages", "uid": null, "gid": 42477,
                 "mode": 509, "absent": "fine"},
        "before": {"kind": "directory", "uid": 0, "gid": 0, "mode": 493}}}]}"#;

    #[test]
    fn a_restart_is_kept_until_it_has_ended() {
        let image = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(image.path().join("var/lib")).unwrap();
        let root = Root::open(image.path()).unwrap();
        let entry = serde_json::from_str::<Journal>(WRITTEN).unwrap().entries;
        Journal::read(&root).unwrap().restart_begins(&root, entry.clone()).unwrap();
        // Nothing stands, as in the middle of a revert.
        let mut begun = Journal::read(&root).unwrap();
        assert!(begun.restarting && !begun.is_empty() && begun.entries.is_empty());
        begun.restart_begins(&root, Vec::new()).unwrap();
        assert_eq!(begun.running, Some(entry.clone()), "of an interrupted one it is known already");
        begun.put_back(&root, &entry[0]).unwrap();
        begun.restart_ended(&root).unwrap();
        assert_eq!(Journal::read(&root).unwrap().entries, entry);
        begun.forget(&root, &entry[0].change.target()).unwrap();
        assert!(!image.path().join("var/lib/vhost-accord").exists());
    }

    #[test]
    fn what_an_earlier_version_wrote_is_read() {
        let journal: Journal = serde_json::from_str(WRITTEN).unwrap();
        assert_eq!(journal.entries[0].change.target().0, "owner of /dev/hugepages");
        let again = serde_json::to_value(&journal).unwrap();
        let written: serde_json::Value = serde_json::from_str(WRITTEN).unwrap();
        assert_eq!(again, written);
    }
}
