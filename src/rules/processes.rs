// SPDX-License-Identifier: Apache-2.0
//! Whom the processes really run as.

use super::{Case, Evidence};
use crate::base::paths::same_path;
use crate::config::PortType;
use crate::dataplane::ovs::vswitchd::VSWITCHD;
use crate::facts::domains::{Endpoint, LabelKind, SocketMode};
use crate::facts::processes::{Process, Status};
use crate::fixes;
use crate::node::live::Live;

rules! {
    Broken "dataplane-identity" [Node(dataplane_identity)]
        cause: "this process still runs with its old user and group; restart it to use the new ones",
        effect: "VMs fail or hang as before apply",
        see: "grep -E '^(Uid|Gid)' /proc/$(pidof ovs-vswitchd)/status",
        fix: "vhost-accord apply --restart; it first lists the VMs that lose network",
        source: "OVS lib/daemon-unix.c; OVS 9d15c02a8 (useropts)",
    Broken "dataplane-umask" [Once(dataplane_umask)]
        cause: "the umask sets whether QEMU can write OVS's new sockets, and whether it can write the control sockets too",
        effect: "with a strict umask, VMs fail with 'Permission denied'; with an open one, QEMU can use OVS's control sockets",
        see: "grep ^Umask /proc/$(pidof ovs-vswitchd)/status",
        fix: "restart the dataplane",
        source: "seen with OVS 3.1: UMask=0002 opens ovs-vswitchd.*.ctl",
    Advice "guest-identity" [Node(guest_identity)]
        cause: "a running VM keeps its user and group until it is started again; it continues to run",
        effect: "nothing; the sockets of this VM keep the old group until it is started again",
        see: "grep -E '^(Uid|Gid)' /proc/PID/status",
        fix: "shut the VM down and start it again when that is possible",
        source: "libvirt sets user and group when QEMU starts",
}

fn dataplane_identity(case: &Case<'_>) -> Vec<Evidence> {
    let (Some(live), Some(wanted)) = (case.live, &case.accord.dataplane) else { return Vec::new() };
    let differs = |process: &&Process| {
        // A root dataplane of the classical recipe has QEMU's group; ovsdb-server keeps root's.
        let gid_matters = wanted.is_confined() || process.status.name == VSWITCHD;
        process.status.uid.effective != wanted.uid
            || (gid_matters && process.status.gid.effective != wanted.gid)
    };
    let evidence = |process: &Process| {
        let seen = format!("runs as {}, expected {}:{}", who(case, process), wanted.user, wanted.group);
        Evidence::waits(process.text(), seen, &wanted.switch_unit)
    };
    live.dataplane.iter().filter(differs).map(evidence).collect()
}

fn who(case: &Case<'_>, process: &Process) -> String {
    let Status { uid, gid, .. } = &process.status;
    format!("{}:{}", case.names.user_name(uid.effective), case.names.group_name(gid.effective))
}

fn dataplane_umask(case: &Case<'_>) -> Option<Evidence> {
    let wanted = case.accord.dataplane.as_ref().filter(|_| case.accord.server_access.is_some())?;
    let process = case.live?.vswitchd()?;
    let umask = process.status.umask.filter(|umask| *umask != wanted.umask)?;
    let seen = format!("umask {umask:04o}, expected {:04o}", wanted.umask);
    Some(Evidence::waits(process.text(), seen, &wanted.switch_unit))
}

fn guest_identity(case: &Case<'_>) -> Vec<Evidence> {
    let (Some(live), Some(wanted)) = (case.live, &case.accord.qemu) else { return Vec::new() };
    if !case.accord.has(PortType::Dpdkvhostuserclient) {
        return Vec::new();
    }
    let mut evidence = Vec::new();
    for guest in &live.guests {
        let own_label = guest.domain.dac.as_ref().is_some_and(|label| label.kind == LabelKind::Static);
        let serves = guest.domain.endpoints.iter().any(|endpoint| serves_switch(case, live, endpoint));
        let Some(process) = guest.process.as_ref().filter(|_| serves && !own_label) else { continue };
        if process.status.uid.effective != wanted.uid || process.status.gid.effective != wanted.gid {
            let now = who(case, process);
            let seen = format!("runs as {now}, after a new start {}:{}", wanted.user, wanted.group);
            let fix = fixes::shut_off_and_start(&guest.domain);
            evidence.push(Evidence::fixed_by(format!("VM {}", guest.domain.name), seen, fix));
        }
    }
    evidence
}

/// Does QEMU create this socket for the switch? Whom it is for elsewhere, and by which group, is not ours to say.
fn serves_switch(case: &Case<'_>, live: &Live, endpoint: &Endpoint) -> bool {
    let Some(path) = endpoint.path.as_deref().filter(|_| endpoint.mode == SocketMode::Server) else {
        return false;
    };
    path.starts_with(&case.accord.socket_directory)
        || live.sockets.iter().any(|socket| same_path(&socket.path, path))
}
