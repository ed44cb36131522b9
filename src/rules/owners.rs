// SPDX-License-Identifier: Apache-2.0
//! Owners and modes that are set once and must stay.

use super::{Case, Evidence};
use crate::access::owner_text;
use crate::base::root::Kind;
use crate::fixes;
use crate::items::{Absent, Change, Held, Owner, OwnerState, Subject};

rules! {
    Broken "socket-directory-owner" [Change(|case, change| deviates(case, change, Subject::SocketDirectory, Aspect::Owner))]
        cause: "with this owner, QEMU cannot create its socket here, or the dataplane cannot connect to it",
        effect: "the VM does not start ('Failed to bind socket ...: Permission denied'), or hangs while it starts",
        see: "namei -l /var/lib/vhost_sockets",
        fix: "vhost-accord apply",
        source: "atmosphere 1982, kube-ovn 1738; seen with QEMU 7.2",
    Broken "socket-directory-mode" [Change(|case, change| deviates(case, change, Subject::SocketDirectory, Aspect::Mode))]
        cause: "without setgid, a new socket does not get the shared group; without write, QEMU cannot create it",
        effect: "the VM hangs while it starts, if the dataplane is not root",
        see: "stat -c %a /var/lib/vhost_sockets (2775)",
        fix: "vhost-accord apply",
        source: "seen with OVS 3.1 as openvswitch:hugetlbfs",
    Broken "hugepages-owner" [Change(|case, change| deviates(case, change, Subject::Hugepages, Aspect::Owner))]
        cause: "a dataplane that is not root must be in the group of the mount: 'EAL: Cannot get hugepage information'",
        effect: "the dataplane fails at its next start: 'EAL: Cannot get hugepage information'",
        see: "ls -ld /dev/hugepages",
        fix: "vhost-accord apply",
        source: "DPDK 22.11 lib/eal/linux/eal_hugepage_info.c",
    Broken "hugepages-mode" [Change(|case, change| deviates(case, change, Subject::Hugepages, Aspect::Mode))]
        cause: "dataplane and QEMU need search permission on the mount: 'EAL: Failed to lock hugepage directory!'",
        effect: "the dataplane fails at its next start: 'EAL: Failed to lock hugepage directory!'",
        see: "ls -ld /dev/hugepages",
        fix: "vhost-accord apply",
        source: "DPDK 22.11 lib/eal/linux/eal_hugepage_info.c",
    Broken "run-directory-owner" [Change(|case, change| deviates(case, change, Subject::RunDirectory, Aspect::Any))]
        cause: "the dataplane's user must be able to create its pid files and sockets there",
        effect: "the dataplane does not start: 'ovsdb-server.pid.tmp: create failed (Permission denied)'",
        see: "ls -ld /run/openvswitch",
        fix: "vhost-accord apply, then restart the dataplane",
        source: "OVS lib/daemon-unix.c; systemd issue 12713; kube-ovn 4778",
    Broken "dataplane-state-owner" [Change(|case, change| deviates(case, change, Subject::DataplaneState, Aspect::Any))]
        cause: "the dataplane's user must be able to write its database, lock and logs, and QEMU must not read them",
        effect: "the dataplane does not start: 'conf.db: open failed (Permission denied)', or the misleading 'failed to lock lockfile'",
        see: "ls -la /var/lib/openvswitch /etc/openvswitch /var/log/openvswitch",
        fix: "vhost-accord apply --restart",
        source: "okd-machine-os 328; seen with OVS 3.1",
    Broken "database-socket-owner" [Change(|case, change| deviates(case, change, Subject::DatabaseSocket, Aspect::Any))]
        cause: "systemd creates this socket (OVS 4.0) for root or the shared group, so the dataplane's user cannot connect, or QEMU can",
        effect: "ovs-vswitchd does not start and its unit waits for five minutes; or QEMU can change the dataplane with ovs-vsctl",
        see: "ls -l /run/openvswitch/db.sock; systemctl cat ovsdb-server.socket",
        fix: "vhost-accord apply",
        source: "OVS 4.0, ovsdb-server.socket: root:root 0770 on Debian, the group of OVS_USER_ID on RHEL",
}

/// Its rule is about a start, too.
pub fn directory_missing(case: &Case<'_>, change: &Change) -> Option<Evidence> {
    deviates(case, change, Subject::SocketDirectory, Aspect::Missing)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Aspect {
    Missing,
    Owner,
    Mode,
    Any,
}

fn deviates(case: &Case<'_>, change: &Change, subject: Subject, aspect: Aspect) -> Option<Evidence> {
    let Change::Owner(Held { item, before: found }) = change else { return None };
    let (now, first) = (found.as_ref(), aspect_of(item, found.as_ref()));
    // A missing parent is one cause with the missing directory below it: named once, there.
    if item.subject != subject || (aspect != Aspect::Any && aspect != first) {
        return None;
    }
    let of_dataplane =
        matches!(subject, Subject::DataplaneState | Subject::RunDirectory | Subject::DatabaseSocket);
    if of_dataplane && case.live.is_some_and(|live| live.hidden || case.accord.waits_for_stop(live)) {
        // Its identity is the finding, where it is known; these follow when it stops.
        return None;
    }
    // `apply` makes the directory, and touches nothing that is in its place.
    let fix = match now.is_some() && first == Aspect::Missing {
        true => format!("{} && {}", fixes::move_away(&item.path), fixes::APPLY),
        false => fixes::APPLY.to_string(),
    };
    Some(Evidence::at(&item.path, seen(case, item, now), fix))
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
    let Some(found) = found else { return "missing".to_string() };
    if item.absent == Absent::Create && found.kind != Kind::Directory {
        let is = if found.kind == Kind::Symlink { "a symlink" } else { "not a directory" };
        return is.to_string();
    }
    let (uid, gid) = (item.uid.unwrap_or(found.uid), item.gid.unwrap_or(found.gid));
    let expected = owner_text(case.names, uid, gid, item.mode.unwrap_or(found.mode));
    format!("{}, expected {expected}", owner_text(case.names, found.uid, found.gid, found.mode))
}
