// SPDX-License-Identifier: Apache-2.0
//! What is in the way of any accord (`accord::Obstacle`): causes and pages.

use super::{Page, page};

/// Why each matters.
pub(super) const CAUSES: [(&str, &str); 4] = [
    (
        "group-gid-taken",
        "the number for the shared group belongs to another group: both would own the same files",
    ),
    (
        "group-missing",
        "the configuration names a group that does not exist, and libvirt or OVS would not start with it",
    ),
    (
        "dataplane-user-missing",
        "the configuration names a user that does not exist, and OVS would not start as it",
    ),
    ("dataplane-user-not-supported", "OVS's units have no way to give its daemons a user"),
];

pub(super) const PAGES: &[Page] = &[
    page(
        "group-gid-taken",
        "nothing changes: plan and apply stop here",
        "getent group 42477",
        "give the other group another number (groupmod -g), or set gid = to one that is free in every container too",
        "groupadd(8)",
    ),
    page(
        "group-missing",
        "nothing changes: plan and apply stop here",
        "vhost-accord config; getent group",
        "make the group (groupadd --system), or set the key to keep",
        "seen with libvirt 9.0: 'Failed to parse group'",
    ),
    page(
        "dataplane-user-missing",
        "nothing changes: plan and apply stop here",
        "vhost-accord config; getent passwd",
        "make the user (useradd --system --no-create-home), or dataplane-user = keep",
        "OVS lib/daemon-unix.c",
    ),
    page(
        "dataplane-user-not-supported",
        "nothing changes: plan and apply stop here",
        "systemctl cat ovs-vswitchd",
        "dataplane-user = keep",
        "units of OVS 2.5",
    ),
];
