// SPDX-License-Identifier: Apache-2.0
//! What is in the way of any accord (`accord::Obstacle`): `plan` and `apply` stop at it, and `check` has no other finding. What
//! is in the way of one section `[dataplane NAME]` keeps that section alone from counting.

use super::{Case, Evidence};
use crate::dataplane::declared::Problem;

rules! {
    Broken "group-gid-taken" []
        cause: "another group has the number of the shared group, so both would own the same files",
        effect: "plan and apply stop and change nothing",
        see: "getent group 42477",
        fix: "give the other group another number (groupmod -g), or set gid to a number that is free here and in every container",
        source: "groupadd(8)",
    Broken "group-missing" [Node(|case| of_sections(case, "group-missing"))]
        cause: "the configuration names a group that does not exist; libvirt or OVS would not start with it",
        effect: "plan and apply stop and change nothing. If a section [dataplane NAME] names it, only that section is ignored, and what apply created for it stays",
        see: "vhost-accord config; getent group",
        fix: "create the group (groupadd --system), or set the key to keep",
        source: "seen with libvirt 9.0: 'Failed to parse group'",
    Broken "dataplane-user-missing" [Node(|case| of_sections(case, "dataplane-user-missing"))]
        cause: "the configuration names a user that does not exist; OVS would not start as that user",
        effect: "plan and apply stop and change nothing. If a section [dataplane NAME] names it, only that section is ignored, and what apply created for it stays",
        see: "vhost-accord config; getent passwd",
        fix: "create the user (useradd --system --no-create-home), or set dataplane-user = keep",
        source: "OVS lib/daemon-unix.c",
    Broken "dataplane-unit-missing" [Node(|case| of_sections(case, "dataplane-unit-missing"))]
        cause: "a section [dataplane NAME] names a unit that does not exist",
        effect: "this section is ignored until then; what apply created for it stays until the section is removed; everything else works",
        see: "vhost-accord config; systemctl list-unit-files",
        fix: "correct unit in the section, or remove the section",
        source: "systemd.unit(5)",
    Broken "dataplane-section-unclear" [Node(|case| of_sections(case, "dataplane-section-unclear"))]
        cause: "a section [dataplane NAME] leaves out what its driver could not find, or found with a mistake",
        effect: "this section is ignored until then; what apply created for it stays until the section is removed; everything else works",
        see: "vhost-accord config; systemctl cat UNIT; cat /etc/vpp/startup.conf",
        fix: "set the key that the finding names in the section",
        source: "vhost-accord.conf(5)",
    Broken "dataplane-directory-taken" [Node(|case| of_sections(case, "dataplane-directory-taken"))]
        cause: "a section [dataplane NAME] has its sockets where Open vSwitch has its own",
        effect: "this section is ignored until then; what apply created for it stays until the section is removed; everything else works",
        see: "vhost-accord config",
        fix: "set sockets in the section to a directory of its own",
        source: "OVS lib/netdev-dpdk.c",
    Broken "dataplane-user-not-supported" []
        cause: "the units of this OVS cannot run its daemons as another user",
        effect: "plan and apply stop and change nothing",
        see: "systemctl cat ovs-vswitchd",
        fix: "set dataplane-user = keep",
        source: "units of OVS 2.5",
}

/// Sections that do not count.
fn of_sections(case: &Case<'_>, id: &str) -> Vec<Evidence> {
    let problems = case.profile.problems.iter().filter(|problem| problem.id == id);
    let evidence = |problem: &Problem| {
        Evidence::fixed_by(format!("[dataplane {}]", problem.section), problem.text(), &problem.fix)
    };
    problems.map(evidence).collect()
}
