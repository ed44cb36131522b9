// SPDX-License-Identifier: Apache-2.0
//! Dataplanes of the configuration (`[dataplane NAME]`): what they themselves say of their sockets, and who else has a say in
//! what they share with the switch.

use super::{Case, Evidence};
use crate::base::shell;
use crate::dataplane::driver::Port;
use crate::dataplane::drivers::Ports;
use crate::dataplane::ovs::second::Looked;
use crate::facts::Known;
use crate::fixes;
use crate::items::{Change, Held, Subject};

rules! {
    Broken "dataplane-port-refused" [Node(refused)]
        cause: "the dataplane itself says that it may not use this socket, so the VM has no connection",
        effect: "the VM has no network, or hangs while it starts",
        see: "vppctl show vhost-user (errno \"Permission denied\")",
        fix: "vhost-accord apply; or give the group of the dataplane write permission on the socket",
        source: "VPP src/plugins/vhost/vhost_user.c (not seen with the program)",
    Advice "dataplane-ports-unknown" [Node(unanswered)]
        cause: "the dataplane did not answer, so what it says of its ports is unknown",
        effect: "check reports no port of this dataplane as refused, even if one is; sockets and permissions are checked as always",
        see: "vppctl show vhost-user; rpc.py -s RPC_SOCKET vhost_get_controllers",
        fix: "systemctl status UNIT, then fix what its log reports; a program that is starting answers a little later",
        source: "VPP src/vlib/unix/cli.c, SPDK lib/rpc/rpc.c (not seen with the programs): one thread answers, and a busy one does not",
    Advice "hugepages-second-owner" [Node(second_owner)]
        cause: "SPDK's setup.sh gives every hugetlbfs mount to its user (TARGET_USER), also those that other programs use",
        effect: "SPDK's user can read and replace files of every VM and dataplane there; each run of setup.sh changes the mounts again",
        see: "ls -ld /dev/hugepages",
        fix: "give SPDK a mount of its own: mount -t hugetlbfs -o uid=USER none DIR, and --huge-dir DIR; then chown root the others",
        source: "SPDK scripts/setup.sh, doc/system_configuration.md (not seen with the program)",
}

/// Of a connection that is not there, `No such file or directory` and `Connection refused` say only that no VM runs.
const EACCES: &str = "Permission denied";

fn refused(case: &Case<'_>) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    for asked in case.live.iter().flat_map(|live| &live.declared) {
        let ports = asked.ports.as_ref().and_then(Known::known).into_iter().flatten();
        let refused = ports.filter(|port| port.error.as_deref() == Some(EACCES) && !port.connected);
        let gid = case.profile.declared.iter().find(|found| found.declared.name == asked.section);
        let gid = gid.map(|found| found.gid);
        evidence.extend(refused.map(|port| of_port(&asked.section, port, gid)));
    }
    evidence
}

/// Its unit runs, and it was asked.
fn unanswered(case: &Case<'_>) -> Vec<Evidence> {
    let evidence = |section: &str, unit: &str, why: &str| {
        let fix = format!("systemctl status {}", shell::quote(unit));
        let seen = format!("its ports are not known: {why}");
        Evidence::fixed_by(format!("[dataplane {section}]"), seen, fix)
    };
    let of_ports = |asked: &Ports| {
        let Some(Known::Unknown(why)) = &asked.ports else { return None };
        let mut found = case.profile.declared.iter().map(|found| &found.declared);
        let unit = &found.find(|declared| declared.name == asked.section)?.unit;
        Some(evidence(&asked.section, unit, why))
    };
    let of_second = |looked: &Looked| match &looked.switch {
        Known::Unknown(why) if looked.runs => Some(evidence(&looked.second.name, &looked.second.unit, why)),
        _ => None,
    };
    let Some(live) = case.live else { return Vec::new() };
    let seconds = live.seconds.iter().filter_map(of_second);
    live.declared.iter().filter_map(of_ports).chain(seconds).collect()
}

fn of_port(section: &str, port: &Port, gid: Option<u32>) -> Evidence {
    let seen = format!("{} of [dataplane {section}] says '{EACCES}'", port.name);
    // It tries again by itself.
    let fix = gid.map_or(fixes::APPLY.to_string(), |gid| fixes::give_socket(&port.path, gid));
    Evidence::at(&port.path, seen, fix).foreign_if(true)
}

/// Only SPDK does so. Who owns a mount is nobody's item: owner and group can both be had.
fn second_owner(case: &Case<'_>) -> Vec<Evidence> {
    let of_spdk =
        case.profile.declared.iter().filter(|found| found.declared.driver == "spdk" && found.uid != 0);
    let users: Vec<_> = of_spdk.map(|found| (found.uid, &found.user, &found.declared.name)).collect();
    let mount = |change: &Change| {
        let Change::Owner(Held { item, before: Some(found) }) = change else { return None };
        let is_mount = item.subject == Subject::Hugepages;
        let (_, user, section) = users.iter().find(|(uid, ..)| is_mount && *uid == found.uid)?;
        let seen = format!("owned by {user}, the user of [dataplane {section}]");
        let fix =
            format!("give SPDK a mount of its own (--huge-dir), then chown root {}", shell::path(&item.path));
        Some(Evidence::at(&item.path, seen, fix))
    };
    case.observed.iter().filter_map(mount).collect()
}
