// SPDX-License-Identifier: Apache-2.0
//! Owners and modes that are set once and must stay.

use super::{Case, Evidence, Level, Rule};
use crate::access::owner_text;
use crate::accord::item::{Absent, Item, Owner, Subject};
use crate::facts::state::{OwnerState, State};
use crate::root::Kind;

pub const RULES: &[Rule] = &[
    Rule {
        id: "socket-directory-missing",
        level: Level::Broken,
        cause: "QEMU cannot make its socket: 'Failed to bind socket ...: No such file or directory'",
        check: |case| deviations(case, Subject::SocketDirectory, Aspect::Missing),
    },
    Rule {
        id: "socket-directory-owner",
        level: Level::Broken,
        cause: "QEMU cannot make its socket, or the dataplane cannot connect to it and the VM waits for ever",
        check: |case| deviations(case, Subject::SocketDirectory, Aspect::Owner),
    },
    Rule {
        id: "socket-directory-mode",
        level: Level::Broken,
        cause: "without setgid a socket has QEMU's group and not the shared one; without write QEMU cannot make it",
        check: |case| deviations(case, Subject::SocketDirectory, Aspect::Mode),
    },
    Rule {
        id: "hugepages-owner",
        level: Level::Broken,
        cause: "a dataplane that is not root needs the mount's group: 'EAL: Cannot get hugepage information'",
        check: |case| deviations(case, Subject::Hugepages, Aspect::Owner),
    },
    Rule {
        id: "hugepages-mode",
        level: Level::Broken,
        cause: "dataplane and QEMU must search the mount: 'EAL: Failed to lock hugepage directory!'",
        check: |case| deviations(case, Subject::Hugepages, Aspect::Mode),
    },
    Rule {
        id: "run-directory-owner",
        level: Level::Broken,
        cause: "the dataplane's user must make its pid files and sockets there",
        check: |case| deviations(case, Subject::RunDirectory, Aspect::Any),
    },
    Rule {
        id: "dataplane-state-owner",
        level: Level::Broken,
        cause: "the dataplane's user must write its database, lock and logs, and QEMU must not read them",
        check: |case| deviations(case, Subject::DataplaneState, Aspect::Any),
    },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Aspect {
    Missing,
    Owner,
    Mode,
    Any,
}

fn deviations(case: &Case<'_>, subject: Subject, aspect: Aspect) -> Vec<Evidence> {
    let of_dataplane = matches!(subject, Subject::DataplaneState | Subject::RunDirectory);
    if of_dataplane && case.live.is_some_and(|live| live.hidden || live.keeps_its_state(case.accord)) {
        // Its identity is the finding, where it is known; these follow when it stops.
        return Vec::new();
    }
    let mut evidence = Vec::new();
    for change in case.observed {
        let (Item::Owner(item), State::Owner { found }) = (&change.item, &change.before) else { continue };
        // A missing parent is one cause with the missing directory below it: named once, there.
        if item.subject != subject || change.holds() {
            continue;
        }
        let now = found.as_ref();
        if aspect == Aspect::Any || aspect == aspect_of(item, now) {
            evidence.push(Evidence::applies(item.path.display().to_string(), seen(case, item, now)));
        }
    }
    evidence
}

/// The first thing that is wrong, so that one breakage is one finding.
fn aspect_of(item: &Owner, found: Option<&OwnerState>) -> Aspect {
    let Some(found) = found.filter(|found| item.absent == Absent::Fine || found.kind == Kind::Directory)
    else {
        return Aspect::Missing;
    };
    let owner_holds =
        item.uid.is_none_or(|uid| uid == found.uid) && item.gid.is_none_or(|gid| gid == found.gid);
    if owner_holds { Aspect::Mode } else { Aspect::Owner }
}

fn seen(case: &Case<'_>, item: &Owner, found: Option<&OwnerState>) -> String {
    let Some(found) = found else { return "not there".to_string() };
    if item.absent == Absent::Create && found.kind != Kind::Directory {
        return "not a directory".to_string();
    }
    let (uid, gid) = (item.uid.unwrap_or(found.uid), item.gid.unwrap_or(found.gid));
    let expected = owner_text(case.names, uid, gid, item.mode.unwrap_or(found.mode));
    format!("{}, expected {expected}", owner_text(case.names, found.uid, found.gid, found.mode))
}
