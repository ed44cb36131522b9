// SPDX-License-Identifier: Apache-2.0
//! The database's socket where systemd creates it (`ovsdb-server.socket`, OVS 4.0): the dataplane's user must reach it, and
//! QEMU must not.

use std::path::PathBuf;

use super::{DataplaneAccord, drop_in, group_number};
use crate::accord::{Accord, Ground};
use crate::dataplane::ovs;
use crate::dataplane::ovs::units::IdentityBy;
use crate::items::{Absent, Item, Owner, Subject};

/// Its drop-in, and its owner and mode now: systemd gives them to a new socket only, and this one stays open while the
/// daemons restart. Nothing where the distribution's are right.
pub(super) fn items(accord: &Accord, wanted: &DataplaneAccord, ground: &Ground<'_>) -> Vec<Item> {
    let Some((found, socket)) =
        ground.profile.dataplane.as_ref().and_then(|found| Some((found, found.socket.as_ref()?)))
    else {
        return Vec::new();
    };
    // RHEL's units give it to the group of OVS_USER_ID, and once more with a `chown -R` before the database starts.
    let group = match found.identity_by {
        IdentityBy::OvsUserId => &wanted.unit_group,
        IdentityBy::OvsCtlOpts | IdentityBy::Neither => &socket.group,
    };
    let number = |group: &String| group_number(ground.profile, &accord.group, group).ok();
    let is_qemus = |gid| gid == accord.group.gid || accord.qemu.as_ref().is_some_and(|qemu| qemu.is_in(gid));
    let lets_qemu_in = [group, &socket.group].into_iter().filter_map(number).any(is_qemus);
    let mode = socket.mode & if lets_qemu_in { !0o022 } else { !0o002 };
    let by_group = mode & 0o020 != 0 && *group == wanted.group;
    let reaches = wanted.privileged || socket.user == wanted.user || by_group;
    if reaches && mode == socket.mode {
        return Vec::new();
    }
    let (user, uid) = if reaches { (&socket.user, None) } else { (&wanted.user, Some(wanted.uid)) };
    let owner = Owner {
        path: PathBuf::from(ovs::paths::OVSDB_SOCKET),
        subject: Subject::DatabaseSocket,
        uid,
        gid: number(group),
        mode: Some(mode),
        absent: Absent::Fine,
    };
    let lines = format!("[Socket]\nSocketUser={user}\nSocketGroup={group}\nSocketMode={mode:04o}\n");
    vec![drop_in(&socket.unit, &lines), Item::Owner(owner)]
}
