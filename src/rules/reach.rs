// SPDX-License-Identifier: Apache-2.0
//! Least reach: what lets QEMU reach its socket must not hand it the dataplane.

use super::sockets::qemu_identity;
use super::{Case, Evidence};
use crate::access::{Wish, may, owner_text};
use crate::base::root::Kind;
use crate::base::shell;
use crate::config::ServerAccess;
use crate::dataplane::Guarded;
use crate::facts::paths::PathFact;
use crate::fixes;
use crate::items::Change;
use crate::node::live::Live;

rules! {
    Broken "qemu-reaches-control-socket" [Node(|case| reached(case, Kind::Socket, Wish::Connect))]
        cause: "a guest that breaks out of QEMU can control the dataplane through this socket",
        effect: "VMs work; but an attacker in QEMU can give commands to the dataplane: to OVS with ovs-appctl, ovs-ofctl or ovs-vsctl, to VPP with vppctl, to SPDK with rpc.py",
        see: "ls -l /run/openvswitch/*.ctl /run/openvswitch/*.mgmt; for a section [dataplane NAME], the paths of its key control",
        fix: "of OVS: set server-access = grant, then vhost-accord apply --restart; of a section: keep QEMU out of the group of the socket (VPP: unix { gid }), and its mode closed",
        source: "seen with OVS 3.1 and UMask=0002; VPP src/vlib/unix/cli.c",
    Broken "qemu-reads-database" [Node(|case| reached(case, Kind::File, Wish::Read))]
        cause: "a guest that breaks out of QEMU can read OVS's configuration, including keys and passwords",
        effect: "VMs work; but an attacker in QEMU can read bridges, controllers and keys",
        see: "ls -lL /etc/openvswitch/conf.db",
        fix: "vhost-accord apply --restart",
        source: "RHEL's package creates the directory readable for the group",
}

/// Does the dataplane still run with a umask that lets its group write what it makes?
fn opens_all(live: &Live) -> bool {
    live.dataplane.iter().any(|process| process.status.umask.is_some_and(|umask| umask & 0o020 == 0))
}

fn reached(case: &Case<'_>, kind: Kind, wish: Wish) -> Vec<Evidence> {
    let (Some(live), Some(qemu)) = (case.live, qemu_identity(case)) else { return Vec::new() };
    let mut evidence = Vec::new();
    // What `apply` is going to close has a finding of its own.
    let is_named = |guarded: &Guarded| {
        let is_it =
            |change: &Change| matches!(change, Change::Owner(owner) if owner.item.path == guarded.path);
        case.observed.iter().any(|change| is_it(change) && !change.holds())
    };
    for guarded in live.guarded.iter().filter(|guarded| guarded.kind == kind && !is_named(guarded)) {
        let PathFact::Present { chain, .. } = &guarded.fact else { continue };
        let Some(node) = chain.last().filter(|_| may(&qemu, chain, wish).is_ok()) else { continue };
        let seen = owner_text(case.names, node.uid, node.gid, node.mode);
        let fix = match case.accord.server_access {
            Some(ServerAccess::Umask) => {
                format!("{} && vhost-accord apply --restart", fixes::set_key("server-access", "grant"))
            }
            _ if opens_all(live) => "vhost-accord apply --restart".to_string(),
            // Opened by hand: the next start would close it, and nothing has to wait for that.
            _ => format!("chmod go= {}", shell::path(&guarded.path)),
        };
        evidence.push(Evidence::at(&guarded.path, seen, fix));
    }
    evidence
}
