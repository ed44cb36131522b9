// SPDX-License-Identifier: Apache-2.0
//! Who is there to agree.

use super::{Case, Evidence, Level, Rule};

pub const RULES: &[Rule] = &[
    Rule {
        id: "no-dataplane",
        level: Level::Advice,
        cause: "no dataplane is installed yet; everything that does not depend on it is configured",
        check: no_dataplane,
    },
    Rule {
        id: "no-libvirt",
        level: Level::Advice,
        cause: "without libvirt's QEMU driver, the user and group of QEMU are unknown",
        check: no_libvirt,
    },
];

fn no_dataplane(case: &Case<'_>) -> Vec<Evidence> {
    let missing = || {
        let fix = "install openvswitch with DPDK, then vhost-accord apply";
        Evidence::fixed_by("openvswitch", "no unit of ovs-vswitchd is installed", fix)
    };
    case.profile.dataplane.is_none().then(missing).into_iter().collect()
}

fn no_libvirt(case: &Case<'_>) -> Vec<Evidence> {
    let missing = || {
        let fix = "install libvirt's QEMU driver, then vhost-accord apply";
        Evidence::fixed_by("libvirt", "neither libvirtd nor virtqemud is installed with a user for QEMU", fix)
    };
    case.lacks_libvirt().then(missing).into_iter().collect()
}
