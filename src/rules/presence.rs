// SPDX-License-Identifier: Apache-2.0
//! Who is there to agree.

use super::{Case, Evidence};
use crate::dataplane::ovs::units::PACKAGE;
use crate::dataplane::ovs::vswitchd::VSWITCHD;

rules! {
    Advice "no-dataplane" [Once(no_dataplane)]
        cause: "no dataplane is installed yet; everything that does not depend on it is configured",
        effect: "nothing yet; apply configures what does not depend on the dataplane",
        see: "systemctl cat ovs-vswitchd",
        fix: "install Open vSwitch with DPDK, then vhost-accord apply",
        source: "units of OVS 2.5 to 4.0",
    Advice "no-libvirt" [Once(no_libvirt)]
        cause: "without libvirt's QEMU driver, the user and group of QEMU are unknown",
        effect: "nothing yet; apply configures what does not depend on libvirt",
        see: "systemctl cat libvirtd virtqemud",
        fix: "install libvirt's QEMU driver, then vhost-accord apply",
        source: "libvirt 5.6 and later have virtqemud",
}

fn no_dataplane(case: &Case<'_>) -> Option<Evidence> {
    let is_alone = case.profile.dataplane.is_none() && case.profile.declared.is_empty();
    let seen = format!("no unit of {VSWITCHD} is installed");
    let fix = format!("install {PACKAGE} with DPDK, then vhost-accord apply");
    is_alone.then(|| Evidence::fixed_by(PACKAGE, seen, fix))
}

fn no_libvirt(case: &Case<'_>) -> Option<Evidence> {
    let seen = "neither libvirtd nor virtqemud is installed with a user for QEMU";
    let fix = "install libvirt's QEMU driver, then vhost-accord apply";
    case.lacks_libvirt().then(|| Evidence::fixed_by("libvirt", seen, fix))
}
