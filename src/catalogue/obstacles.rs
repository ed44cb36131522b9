// SPDX-License-Identifier: Apache-2.0
//! What is in the way of any accord (`accord::Obstacle`): causes and pages.

use super::{Page, page};

/// Why each matters.
pub(super) const CAUSES: [(&str, &str); 6] = [
    ("group-gid-taken", "another group has the number of the shared group, so both would own the same files"),
    (
        "group-missing",
        "the configuration names a group that does not exist; libvirt or OVS would not start with it",
    ),
    (
        "dataplane-user-missing",
        "the configuration names a user that does not exist; OVS would not start as that user",
    ),
    ("dataplane-unit-missing", "a section [dataplane NAME] names a unit that does not exist"),
    (
        "dataplane-directory-taken",
        "a section [dataplane NAME] has its sockets where Open vSwitch has its own",
    ),
    ("dataplane-user-not-supported", "the units of this OVS cannot run its daemons as another user"),
];

pub(super) const PAGES: &[Page] = &[
    page(
        "group-gid-taken",
        "plan and apply stop and change nothing",
        "getent group 42477",
        "give the other group another number (groupmod -g), or set gid to a number that is free here and in every container",
        "groupadd(8)",
    ),
    page(
        "group-missing",
        "plan and apply stop and change nothing",
        "vhost-accord config; getent group",
        "create the group (groupadd --system), or set the key to keep",
        "seen with libvirt 9.0: 'Failed to parse group'",
    ),
    page(
        "dataplane-user-missing",
        "plan and apply stop and change nothing",
        "vhost-accord config; getent passwd",
        "create the user (useradd --system --no-create-home), or set dataplane-user = keep",
        "OVS lib/daemon-unix.c",
    ),
    page(
        "dataplane-unit-missing",
        "plan and apply stop and change nothing",
        "vhost-accord config; systemctl list-unit-files",
        "correct unit in the section, or remove the section",
        "systemd.unit(5)",
    ),
    page(
        "dataplane-directory-taken",
        "plan and apply stop and change nothing",
        "vhost-accord config",
        "set sockets in the section to a directory of its own",
        "OVS lib/netdev-dpdk.c",
    ),
    page(
        "dataplane-user-not-supported",
        "plan and apply stop and change nothing",
        "systemctl cat ovs-vswitchd",
        "set dataplane-user = keep",
        "units of OVS 2.5",
    ),
];
