// SPDX-License-Identifier: Apache-2.0
//! What the running systemd does not tell, from the unit files of the node.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::Result;

use super::fact::UnitFact;
use crate::base::root::{Kind, Root, told};
use crate::edit::unit::UnitText;

const UNIT_PATH: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Sees the drop-ins that systemd overlooks: its `NeedDaemonReload` stays `no` when the first file appears in a new
/// `NAME.d` (seen with 252), because it only looks into directories it knew at the last reload.
pub(super) fn see_new_drop_ins(root: &Root, unit: &mut UnitFact) -> Result<()> {
    for base in UNIT_PATH {
        // What a report does not have says nothing.
        let directory = told(root.find(&Path::new(base).join(format!("{}.d", unit.name))))?;
        let Some(dir) = directory.flatten() else { continue };
        if dir.kind() != Kind::Directory {
            continue;
        }
        for name in dir.names()? {
            let is_file = dir.entry(&name)?.is_some_and(|entry| entry.kind() == Kind::File);
            let is_drop_in = is_file && Path::new(&name).extension() == Some(OsStr::new("conf"));
            let is_known = unit.drop_ins.iter().any(|path| path.file_name() == Some(&name));
            unit.need_daemon_reload |= is_drop_in && !is_known;
        }
    }
    Ok(())
}

/// The unit's files merged, as far as they can be read.
pub(super) fn written(root: &Root, unit: &UnitFact) -> UnitText {
    let read = |path| root.read(path).ok().flatten();
    let texts = unit.fragment.iter().chain(&unit.drop_ins).filter_map(|path| read(path));
    UnitText::merge(texts.map(|text| UnitText::parse(&String::from_utf8_lossy(&text))))
}
