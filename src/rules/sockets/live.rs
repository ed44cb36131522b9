// SPDX-License-Identifier: Apache-2.0
//! As they are: of every port that OVSDB has, whoever uses it.

use super::{Case, Evidence};
use crate::access::{Denial, Identity, Verdict, Wish, may};
use crate::base::shell;
use crate::config::{PortType, ServerAccess};
use crate::dataplane::PortSocket;
use crate::dataplane::ovs::sockets::is_switch_place;
use crate::facts::paths::PathFact;
use crate::facts::sockets::Liveness;
use crate::fixes;
use crate::items::Item;

/// What is in a socket's place and is none has no right rights: the port's own error names it.
fn of_kind<'a>(case: &Case<'a>, kind: PortType) -> impl Iterator<Item = &'a PortSocket> {
    let sockets = case.live.map(|live| live.sockets.as_slice()).unwrap_or_default();
    sockets.iter().filter(move |socket| socket.kind == kind && socket.liveness != Liveness::NotASocket)
}

/// QEMU's identity by the accord.
pub fn qemu_identity(case: &Case<'_>) -> Option<Identity> {
    case.accord.qemu.as_ref().map(|qemu| Identity::unprivileged(qemu.uid, qemu.gid, qemu.groups.clone()))
}

/// What the kernel says; none where there is no socket to ask about.
fn connect(identity: &Identity, fact: &PathFact) -> Option<Verdict> {
    match fact {
        PathFact::Missing { .. } => None,
        PathFact::Present { chain, .. } => Some(may(identity, chain, Wish::Connect)),
    }
}

/// The path is named once where it is the socket itself that refuses.
fn refused(case: &Case<'_>, socket: &PortSocket, denial: &Denial, identity: &Identity) -> Evidence {
    let path = socket.path.display().to_string();
    let text = denial.text(case.names);
    let seen = text.strip_prefix(&format!("{path} is ")).map(str::to_string).unwrap_or(text);
    Evidence::fixed_by(path, seen, fix(case, socket, denial, identity))
}

/// `apply` gives sockets away where they are ours to give, and fixes directories of the accord; no other.
fn fix(case: &Case<'_>, socket: &PortSocket, denial: &Denial, identity: &Identity) -> String {
    let of_accord =
        |item: &Item| matches!(item, Item::Owner(owner) if owner.path == denial.path && owner.mode.is_some());
    if denial.path != socket.path {
        return match case.accord.items.iter().any(of_accord) {
            true => fixes::APPLY.to_string(),
            false => format!("setfacl -m u:{}:x {}", identity.uid, shell::path(&denial.path)),
        };
    }
    let ours = case.accord.gives
        && match socket.kind {
            PortType::Dpdkvhostuser => is_switch_place(&socket.path),
            PortType::Dpdkvhostuserclient => socket.path.starts_with(&case.accord.socket_directory),
        };
    match case.accord.server_access {
        Some(ServerAccess::Umask) if ours && socket.kind == PortType::Dpdkvhostuser => {
            format!("{} --restart", fixes::APPLY)
        }
        _ if ours => fixes::APPLY.to_string(),
        _ => fixes::give_socket(&socket.path, identity.gid),
    }
}

pub fn server_socket(case: &Case<'_>) -> Vec<Evidence> {
    let Some(qemu) = qemu_identity(case).filter(|_| case.accord.server_access.is_some()) else {
        return Vec::new();
    };
    let mut evidence = Vec::new();
    for socket in of_kind(case, PortType::Dpdkvhostuser).filter(|socket| socket.liveness != Liveness::Stale) {
        if let Some(Verdict::Denied(denial)) = connect(&qemu, &socket.fact) {
            evidence.push(refused(case, socket, &denial, &qemu));
        }
    }
    evidence
}

pub fn client_socket(case: &Case<'_>) -> Vec<Evidence> {
    let (Some(live), true) = (case.live, case.accord.has(PortType::Dpdkvhostuserclient)) else {
        return Vec::new();
    };
    let Some(vswitchd) = live.vswitchd() else { return Vec::new() };
    let identity = vswitchd.identity();
    let mut evidence = Vec::new();
    for socket in of_kind(case, PortType::Dpdkvhostuserclient) {
        if let Some(Verdict::Denied(denial)) = connect(&identity, &socket.fact) {
            evidence.push(refused(case, socket, &denial, &identity));
        }
    }
    evidence
}

pub fn client_socket_group(case: &Case<'_>) -> Vec<Evidence> {
    let wanted = &case.accord.group;
    let refused: Vec<String> = client_socket(case).into_iter().map(|evidence| evidence.subject).collect();
    let mut evidence = Vec::new();
    for socket in of_kind(case, PortType::Dpdkvhostuserclient) {
        let subject = socket.path.display().to_string();
        let Some(node) =
            socket.fact.node().filter(|_| socket.path.starts_with(&case.accord.socket_directory))
        else {
            continue;
        };
        if node.gid != wanted.gid
            && !refused.contains(&subject)
            && case.accord.has(PortType::Dpdkvhostuserclient)
        {
            let seen = format!("group {}, expected {}", case.names.group_name(node.gid), wanted.name);
            evidence.push(Evidence::applies(subject, seen));
        }
    }
    evidence
}

pub fn stale(case: &Case<'_>) -> Vec<Evidence> {
    let stale = |socket: &&PortSocket| socket.liveness == Liveness::Stale;
    let Some(dataplane) = case.accord.dataplane.as_ref().filter(|_| case.accord.server_access.is_some())
    else {
        return Vec::new();
    };
    of_kind(case, PortType::Dpdkvhostuser)
        .filter(stale)
        .map(|socket| {
            let unit = shell::quote(&dataplane.switch_unit);
            let fix = format!("{} && systemctl restart {unit}", fixes::remove(&socket.path));
            Evidence::fixed_by(socket.path.display().to_string(), "no process listens on it", fix)
        })
        .collect()
}
