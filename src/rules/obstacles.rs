// SPDX-License-Identifier: Apache-2.0
//! What is in the way of any accord (`accord::Obstacle`): `plan` and `apply` stop at it, and `check` has no other finding. What
//! is in the way of one section `[dataplane NAME]` keeps that section alone from counting.

use super::{Ask, Case, Evidence, Level, Rule};
use crate::dataplane::declared::Problem;

pub const RULES: &[Rule] = &[
    Rule {
        id: "group-gid-taken",
        level: Level::Broken,
        cause: "another group has the number of the shared group, so both would own the same files",
        asks: &[],
        effect: "plan and apply stop and change nothing",
        see: "getent group 42477",
        fix: "give the other group another number (groupmod -g), or set gid to a number that is free here and in every container",
        source: "groupadd(8)",
    },
    Rule {
        id: "group-missing",
        level: Level::Broken,
        cause: "the configuration names a group that does not exist; libvirt or OVS would not start with it",
        asks: &[Ask::Node(|case| of_sections(case, "group-missing"))],
        effect: "plan and apply stop and change nothing; named by a section [dataplane NAME], that section alone does not count, and what apply created for it stays",
        see: "vhost-accord config; getent group",
        fix: "create the group (groupadd --system), or set the key to keep",
        source: "seen with libvirt 9.0: 'Failed to parse group'",
    },
    Rule {
        id: "dataplane-user-missing",
        level: Level::Broken,
        cause: "the configuration names a user that does not exist; OVS would not start as that user",
        asks: &[Ask::Node(|case| of_sections(case, "dataplane-user-missing"))],
        effect: "plan and apply stop and change nothing; named by a section [dataplane NAME], that section alone does not count, and what apply created for it stays",
        see: "vhost-accord config; getent passwd",
        fix: "create the user (useradd --system --no-create-home), or set dataplane-user = keep",
        source: "OVS lib/daemon-unix.c",
    },
    Rule {
        id: "dataplane-unit-missing",
        level: Level::Broken,
        cause: "a section [dataplane NAME] names a unit that does not exist",
        asks: &[Ask::Node(|case| of_sections(case, "dataplane-unit-missing"))],
        effect: "this section does not count until then; what apply created for it stays until the section is removed; all else goes on",
        see: "vhost-accord config; systemctl list-unit-files",
        fix: "correct unit in the section, or remove the section",
        source: "systemd.unit(5)",
    },
    Rule {
        id: "dataplane-section-unclear",
        level: Level::Broken,
        cause: "a section [dataplane NAME] leaves out what its driver could not find, or found with a mistake",
        asks: &[Ask::Node(|case| of_sections(case, "dataplane-section-unclear"))],
        effect: "this section does not count until then; what apply created for it stays until the section is removed; all else goes on",
        see: "vhost-accord config; systemctl cat UNIT; cat /etc/vpp/startup.conf",
        fix: "set the key that the finding names in the section",
        source: "vhost-accord.conf(5)",
    },
    Rule {
        id: "dataplane-directory-taken",
        level: Level::Broken,
        cause: "a section [dataplane NAME] has its sockets where Open vSwitch has its own",
        asks: &[Ask::Node(|case| of_sections(case, "dataplane-directory-taken"))],
        effect: "this section does not count until then; what apply created for it stays until the section is removed; all else goes on",
        see: "vhost-accord config",
        fix: "set sockets in the section to a directory of its own",
        source: "OVS lib/netdev-dpdk.c",
    },
    Rule {
        id: "dataplane-user-not-supported",
        level: Level::Broken,
        cause: "the units of this OVS cannot run its daemons as another user",
        asks: &[],
        effect: "plan and apply stop and change nothing",
        see: "systemctl cat ovs-vswitchd",
        fix: "set dataplane-user = keep",
        source: "units of OVS 2.5",
    },
];

/// Sections that do not count.
fn of_sections(case: &Case<'_>, id: &str) -> Vec<Evidence> {
    let problems = case.profile.problems.iter().filter(|problem| problem.id == id);
    let evidence = |problem: &Problem| {
        Evidence::fixed_by(format!("[dataplane {}]", problem.section), problem.text(), &problem.fix)
    };
    problems.map(evidence).collect()
}
