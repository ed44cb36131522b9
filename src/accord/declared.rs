// SPDX-License-Identifier: Apache-2.0
//! Dataplanes that the configuration declares: the directory of their sockets, and the drop-ins that grant the sockets to QEMU.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Accord, Ground, dataplane, paths as places};
use crate::base::paths;
use crate::config::{MadeBy, Sockets};
use crate::dataplane::declared::Found;
use crate::dataplane::ovs::second::Second;
use crate::items::Item;

/// A declared dataplane whose sockets we grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// The user it runs as: who creates the sockets.
    pub uid: u32,
    /// The group that its sockets get.
    pub gid: u32,
    /// Where its sockets are.
    pub sockets: Sockets,
}

impl Given {
    /// Does `apply` grant QEMU a socket of this owner and mode?
    pub fn lacks(&self, uid: u32, gid: u32, mode: u32) -> bool {
        uid == self.uid && (gid != self.gid || mode & 0o060 != 0o060)
    }
}

/// setgid, so that a socket gets the group of the directory; no access for others.
const DIRECTORY_MODE: u32 = 0o2750;

/// The directories that are theirs alone.
pub(super) fn directories(accord: &Accord, ground: &Ground<'_>) -> Vec<Item> {
    let Some(qemu) = &accord.qemu else { return Vec::new() };
    let own = |found: &&Found| found.declared.sockets.pattern.is_none() && !found.is_runtime_directory;
    let mut items = Vec::new();
    for found in ground.profile.declared.iter().filter(own) {
        let directory = &found.declared.sockets.directory;
        // Who creates the sockets owns it, and who connects is its group.
        let (uid, gid) = match found.declared.made_by {
            MadeBy::Dataplane => (found.uid, qemu.grant_gid),
            MadeBy::Qemu => (qemu.uid, found.gid),
        };
        items.extend(places::parents(directory).into_iter().map(places::parent));
        items.push(places::own(directory, uid, gid, DIRECTORY_MODE));
        // What is below /run is gone after a reboot.
        if directory.starts_with("/run") {
            let line = format!("d {} {DIRECTORY_MODE:04o} {uid} {gid} -\n", directory.display());
            items.push(dataplane::file(&tmpfiles(&found.declared.name), line, None));
        }
    }
    items
}

fn tmpfiles(name: &str) -> String {
    format!("{}-{name}.conf", paths::TMPFILES.trim_end_matches(".conf"))
}

/// Those whose sockets are granted to QEMU.
pub(super) fn given(accord: &Accord, found: &[Found]) -> Vec<Given> {
    let Some(qemu) = accord.qemu.as_ref().filter(|_| accord.gives) else { return Vec::new() };
    let makes = |found: &&Found| found.declared.made_by == MadeBy::Dataplane;
    let given = |Found { declared, uid, .. }: &Found| {
        let (name, unit, sockets) = (declared.name.clone(), declared.unit.clone(), declared.sockets.clone());
        Given { name, unit, uid: *uid, gid: qemu.grant_gid, sockets }
    };
    found.iter().filter(makes).map(given).collect()
}

/// Second switches: their ports are asked when a VM starts, whoever creates the sockets.
pub(super) fn seconds(found: &[Found]) -> Vec<Second> {
    found.iter().filter_map(|found| Second::of(&found.declared)).collect()
}

/// Drop-ins that grant what the dataplane creates when it starts: its umask may deny the group write permission.
pub(super) fn drop_ins(accord: &Accord, ground: &Ground<'_>) -> Vec<Item> {
    let drop_in = |unit: &str| {
        let of_unit = accord.declared.iter().filter(|given| given.unit == unit);
        let line = |given: &Given| {
            format!("ExecStartPost=-+{} service declared-post {}\n", ground.program, given.name)
        };
        let path = format!("{}/{unit}.d/{}", paths::UNIT_DIRECTORY, paths::DECLARED_DROP_IN);
        let umask = umask(ground, unit).map(|umask| format!("UMask={umask:04o}\n")).unwrap_or_default();
        let lines: String = of_unit.map(line).collect();
        dataplane::file(&path, format!("[Service]\n{umask}{lines}"), Some(unit.to_string()))
    };
    units(accord).into_iter().map(drop_in).collect()
}

/// Their drop-ins, each once: several sections may have one unit.
pub(super) fn units(accord: &Accord) -> BTreeSet<&str> {
    accord.declared.iter().map(|given| given.unit.as_str()).collect()
}

/// The umask that its driver sets for the unit.
fn umask(ground: &Ground<'_>, unit: &str) -> Option<u32> {
    let mut of_unit = ground.profile.declared.iter().filter(|found| found.declared.unit == unit);
    of_unit.find_map(|found| found.umask)
}

/// Is it a drop-in of such a dataplane's unit?
pub fn is_drop_in(path: &Path) -> bool {
    path.ends_with(paths::DECLARED_DROP_IN)
}
