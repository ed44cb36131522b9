// SPDX-License-Identifier: Apache-2.0
//! Who is there to agree.

use super::{Ask, Case, Evidence, Level, Rule};

pub const RULES: &[Rule] = &[
    Rule {
        id: "no-dataplane",
        level: Level::Advice,
        cause: "no dataplane is installed yet; everything that does not depend on it is configured",
        asks: &[Ask::Once(no_dataplane)],
        effect: "nothing yet; apply configures what does not depend on the dataplane",
        see: "systemctl cat ovs-vswitchd",
        fix: "install Open vSwitch with DPDK, then vhost-accord apply",
        source: "units of OVS 2.5 to 4.0",
    },
    Rule {
        id: "no-libvirt",
        level: Level::Advice,
        cause: "without libvirt's QEMU driver, the user and group of QEMU are unknown",
        asks: &[Ask::Once(no_libvirt)],
        effect: "nothing yet; apply configures what does not depend on libvirt",
        see: "systemctl cat libvirtd virtqemud",
        fix: "install libvirt's QEMU driver, then vhost-accord apply",
        source: "libvirt 5.6 and later have virtqemud",
    },
];

fn no_dataplane(case: &Case<'_>) -> Option<Evidence> {
    let is_alone = case.profile.dataplane.is_none() && case.profile.declared.is_empty();
    let fix = "install openvswitch with DPDK, then vhost-accord apply";
    is_alone.then(|| Evidence::fixed_by("openvswitch", "no unit of ovs-vswitchd is installed", fix))
}

fn no_libvirt(case: &Case<'_>) -> Option<Evidence> {
    let seen = "neither libvirtd nor virtqemud is installed with a user for QEMU";
    let fix = "install libvirt's QEMU driver, then vhost-accord apply";
    case.lacks_libvirt().then(|| Evidence::fixed_by("libvirt", seen, fix))
}
