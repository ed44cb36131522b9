// SPDX-License-Identifier: Apache-2.0
//! Settings of the switch that the field's recipes leave behind.

use std::path::PathBuf;

use super::{Case, Evidence, Level, Rule};
use crate::config::PortType;
use crate::facts::live::Switch;
use crate::facts::ovsdb::plain;
use crate::paths;
use crate::shell;

pub const RULES: &[Rule] = &[
    Rule {
        id: "vhost-owner-option",
        level: Level::Broken,
        cause: "no OVS since 2.6 knows --vhost-owner and --vhost-perm: DPDK refuses them, and every port with it",
        check: vhost_owner,
    },
    Rule {
        id: "dpdk-opts-ignored",
        level: Level::Advice,
        cause: "Open vSwitch reads DPDK_OPTS no more since 2.6: what is in it (cores, memory, --vhost-owner) has no effect",
        check: dpdk_opts,
    },
    Rule {
        id: "vhost-sock-dir-invalid",
        level: Level::Broken,
        cause: "OVS takes a directory below its run directory only, and makes no dpdkvhostuser port with this one",
        check: sock_dir,
    },
    Rule {
        id: "vhost-iommu-support",
        level: Level::Advice,
        cause: "it turns on reply-ack, with which QEMU 2.7 to 2.9 freeze and multi-queue devices do not reconnect",
        check: iommu,
    },
    Rule {
        id: "socket-directory-in-run-directory",
        level: Level::Broken,
        cause: "OVS's units take their run directory back at each start: the next VM fails with 'Failed to bind socket'",
        check: in_run_directory,
    },
];

fn other_config<'a>(case: &Case<'a>, key: &str) -> Option<&'a str> {
    let switch: &Switch = case.live?.switch.known()?;
    switch.config.other_config.get(key).map(String::as_str)
}

fn vhost_owner(case: &Case<'_>) -> Vec<Evidence> {
    let extra = other_config(case, "dpdk-extra").unwrap_or_default();
    let obsolete = |word: &&str| word.starts_with("--vhost-owner") || word.starts_with("--vhost-perm");
    let found: Vec<&str> = extra.split_whitespace().filter(obsolete).collect();
    let evidence = || {
        let mend =
            "ovs-vsctl set Open_vSwitch . other_config:dpdk-extra=... without them, then restart the switch";
        Evidence::mended_by("other_config:dpdk-extra", found.join(" "), mend)
    };
    (!found.is_empty()).then(evidence).into_iter().collect()
}

fn dpdk_opts(case: &Case<'_>) -> Vec<Evidence> {
    let evidence = |path: &PathBuf| {
        let mend = format!("sed -i '/^[[:space:]]*DPDK_OPTS=/d' {}", shell::path(path));
        Evidence::mended_by(path.display().to_string(), "DPDK_OPTS is set", mend)
    };
    case.surroundings.dpdk_opts.iter().map(evidence).collect()
}

fn sock_dir(case: &Case<'_>) -> Vec<Evidence> {
    let Some(directory) =
        other_config(case, "vhost-sock-dir").filter(|_| case.accord.has(PortType::Dpdkvhostuser))
    else {
        return Vec::new();
    };
    let seen = match directory {
        _ if directory.split('/').any(|part| part == "..") => "has '..' in it",
        _ if directory.starts_with('/') && !directory.starts_with(paths::OVS_RUN) => "is an absolute path",
        _ => return Vec::new(),
    };
    let mend = "ovs-vsctl remove Open_vSwitch . other_config vhost-sock-dir, then restart the switch";
    vec![Evidence::mended_by("other_config:vhost-sock-dir", format!("{directory} {seen}"), mend)]
}

fn iommu(case: &Case<'_>) -> Vec<Evidence> {
    let set = other_config(case, "vhost-iommu-support").is_some_and(|value| value == "true");
    let mend = "ovs-vsctl remove Open_vSwitch . other_config vhost-iommu-support, unless guests use a vIOMMU";
    let evidence = || Evidence::mended_by("other_config:vhost-iommu-support", "true", mend);
    set.then(evidence).into_iter().collect()
}

fn in_run_directory(case: &Case<'_>) -> Vec<Evidence> {
    let directory = &case.accord.socket_directory;
    let below = plain(directory).starts_with(paths::OVS_RUN);
    if !below || !case.accord.has(PortType::Dpdkvhostuserclient) || case.accord.dataplane.is_none() {
        return Vec::new();
    }
    let mend =
        "set socket-directory = /var/lib/vhost_sockets, vhost-accord apply, and point ports and agents there";
    vec![Evidence::mended_by(
        directory.display().to_string(),
        "is OVS's own run directory, or below it",
        mend,
    )]
}
