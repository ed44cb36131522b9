// SPDX-License-Identifier: Apache-2.0
//! Settings of the switch that the field's recipes leave behind.

use std::path::PathBuf;

use super::{Case, Evidence};
use crate::base::paths::plain;
use crate::base::shell;
use crate::config::PortType;
use crate::dataplane::ovs::sockets::Switch;
use crate::dataplane::ovs::{fixes, paths};

rules! {
    Broken "vhost-owner-option" [Once(vhost_owner)]
        cause: "no OVS since 2.6 has --vhost-owner and --vhost-perm: DPDK refuses to start, and no vhost-user port works",
        effect: "DPDK does not start: every VM of the node hangs or does not start",
        see: "ovs-vsctl get Open_vSwitch . other_config:dpdk-extra",
        fix: "remove the options, then restart the dataplane",
        source: "launchpad 1833734, 1793729; Ubuntu's patch of OVS 2.5",
    Advice "dpdk-opts-ignored" [Node(dpdk_opts)]
        cause: "Open vSwitch 2.6 and newer ignore DPDK_OPTS: the cores, memory and --vhost-owner in it have no effect",
        effect: "nothing by itself: the switch runs with other_config, and not with what the file says",
        see: "grep DPDK_OPTS /etc/default/openvswitch-switch; ovs-vsctl get Open_vSwitch . other_config",
        fix: "remove the line; cores and memory are other_config:dpdk-lcore-mask and dpdk-socket-mem",
        source: "OVS NEWS 2.6; Ubuntu's openvswitch-switch-dpdk of 16.04",
    Broken "vhost-sock-dir-invalid" [Once(sock_dir)]
        cause: "OVS accepts only a directory below its run directory; with this one it creates no dpdkvhostuser socket",
        effect: "OVS creates no dpdkvhostuser socket: 'vhost-user sock directory ... does not exist' or '... invalid characters'",
        see: "ovs-vsctl get Open_vSwitch . other_config:vhost-sock-dir",
        fix: "set a directory below OVS's run directory, as a relative path",
        source: "OVS lib/dpdk.c, process_vhost_flags",
    Advice "vhost-iommu-support" [Once(iommu)]
        cause: "it enables reply-ack: QEMU 2.7 to 2.9 freeze, and devices with several queues do not reconnect",
        effect: "VMs with several queues do not reconnect; old QEMUs freeze",
        see: "ovs-vsctl get Open_vSwitch . other_config:vhost-iommu-support",
        fix: "remove the option unless a guest uses a vIOMMU",
        source: "OVS Documentation/topics/dpdk/vhost-user.rst; QEMU 60cd1102",
    Broken "socket-directory-in-run-directory" [Once(in_run_directory)]
        cause: "OVS's units reset the owner of their run directory at each start: the next VM fails with 'Failed to bind socket'",
        effect: "after the next restart of ovsdb-server a VM does not start: 'Failed to bind socket ...: Permission denied'",
        see: "systemctl cat ovsdb-server (RuntimeDirectory=, chown -R)",
        fix: "use a separate directory, such as /var/lib/vhost_sockets",
        source: "OVS 6403a49f3 (chown -R at each start); systemd issue 12713",
}

fn other_config<'a>(case: &Case<'a>, key: &str) -> Option<&'a str> {
    let switch: &Switch = case.live?.switch.known()?;
    switch.config.other_config.get(key).map(String::as_str)
}

fn vhost_owner(case: &Case<'_>) -> Option<Evidence> {
    let words: Vec<&str> = other_config(case, "dpdk-extra")?.split_whitespace().collect();
    let found: Vec<&str> = words.iter().copied().filter(|word| is_obsolete(word)).collect();
    let fix = and_restart(case, "dpdk-extra", without_owner(&words).as_deref());
    (!found.is_empty()).then(|| Evidence::fixed_by("other_config:dpdk-extra", found.join(" "), fix))
}

fn is_obsolete(word: &str) -> bool {
    word.starts_with("--vhost-owner") || word.starts_with("--vhost-perm")
}

/// The option is a word with its value, or is followed by it.
fn without_owner(words: &[&str]) -> Option<String> {
    let follows = |at: usize| at > 0 && is_obsolete(words[at - 1]) && !words[at - 1].contains('=');
    let kept = words.iter().enumerate().filter(|(at, word)| !is_obsolete(word) && !follows(*at));
    let kept: Vec<&str> = kept.map(|(_, word)| *word).collect();
    (!kept.is_empty()).then(|| kept.join(" "))
}

/// OVS reads it when it starts.
fn and_restart(case: &Case<'_>, key: &str, value: Option<&str>) -> String {
    let unit = case.accord.dataplane.as_ref().map(|found| found.switch_unit.as_str());
    format!("{} && {}", fixes::other_config(key, value), fixes::systemctl("restart", unit))
}

fn dpdk_opts(case: &Case<'_>) -> Vec<Evidence> {
    let evidence = |path: &PathBuf| {
        let fix = format!("sed -i '/^[[:space:]]*DPDK_OPTS=/d' {}", shell::path(path));
        Evidence::at(path, "DPDK_OPTS is set", fix)
    };
    case.surroundings.dpdk_opts.iter().map(evidence).collect()
}

fn sock_dir(case: &Case<'_>) -> Option<Evidence> {
    let directory =
        other_config(case, "vhost-sock-dir").filter(|_| case.accord.has(PortType::Dpdkvhostuser))?;
    let seen = match directory {
        _ if directory.split('/').any(|part| part == "..") => "contains '..'",
        _ if directory.starts_with('/') && !directory.starts_with(paths::RUN) => "is an absolute path",
        _ => return None,
    };
    let fix = and_restart(case, "vhost-sock-dir", None);
    Some(Evidence::fixed_by("other_config:vhost-sock-dir", format!("{directory} {seen}"), fix))
}

fn iommu(case: &Case<'_>) -> Option<Evidence> {
    let set = other_config(case, "vhost-iommu-support")? == "true";
    let remove = fixes::other_config("vhost-iommu-support", None);
    let fix = format!("{remove}  # unless guests use a vIOMMU");
    set.then(|| Evidence::fixed_by("other_config:vhost-iommu-support", "true", fix))
}

fn in_run_directory(case: &Case<'_>) -> Option<Evidence> {
    let directory = &case.accord.socket_directory;
    let below = plain(directory).starts_with(paths::RUN);
    if !below || !case.accord.has(PortType::Dpdkvhostuserclient) || case.accord.dataplane.is_none() {
        return None;
    }
    let fix = "set socket-directory = /var/lib/vhost_sockets, run vhost-accord apply, and use that directory in ports and agents";
    Some(Evidence::at(directory, "is OVS's own run directory, or below it", fix))
}
