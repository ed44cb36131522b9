// SPDX-License-Identifier: Apache-2.0
//! As they are: of every port that OVSDB has, whoever uses it.

use super::{Case, Evidence};
use crate::access::{Denial, Identity, Wish, may};
use crate::config::{PortType, ServerAccess};
use crate::dataplane::PortSocket;
use crate::dataplane::ovs::{self, sockets::is_switch_place};
use crate::facts::paths::PathFact;
use crate::facts::sockets::Liveness;
use crate::fixes;
use crate::items::Item;
use crate::node::live::Live;

/// What is in a socket's place and is none has no right rights: the port's own error names it.
fn of_kind<'a>(case: &Case<'a>, kind: PortType) -> impl Iterator<Item = &'a PortSocket> {
    let sockets = case.live.map(|live| live.sockets.as_slice()).unwrap_or_default();
    sockets.iter().filter(move |socket| socket.kind == kind && socket.liveness != Liveness::NotASocket)
}

/// QEMU's identity by the accord.
pub fn qemu_identity(case: &Case<'_>) -> Option<Identity> {
    case.accord.qemu.as_ref().map(|qemu| Identity::unprivileged(qemu.uid, qemu.gid, qemu.groups.clone()))
}

/// Those of these sockets that refuse to be connected to. The path is named once where it is the socket itself that refuses.
fn refused<'a>(
    case: &Case<'_>,
    identity: &Identity,
    sockets: impl Iterator<Item = &'a PortSocket>,
) -> Vec<Evidence> {
    let evidence = |socket: &PortSocket| {
        let PathFact::Present { chain, .. } = &socket.fact else { return None };
        let denial = may(identity, chain, Wish::Connect).err()?;
        let (path, text) = (socket.path.display().to_string(), denial.text(case.names));
        let seen = text.strip_prefix(&format!("{path} is ")).map(str::to_string).unwrap_or(text);
        Some(Evidence::fixed_by(path, seen, fix(case, socket, &denial, identity)))
    };
    sockets.filter_map(evidence).collect()
}

/// `apply` gives sockets away where they are ours to give, and fixes directories of the accord; no other.
fn fix(case: &Case<'_>, socket: &PortSocket, denial: &Denial, identity: &Identity) -> String {
    let of_accord =
        |item: &Item| matches!(item, Item::Owner(owner) if owner.path == denial.path && owner.mode.is_some());
    if denial.path != socket.path {
        return match case.accord.items.iter().any(of_accord) {
            true => fixes::APPLY.to_string(),
            false => fixes::acl(identity.uid, "x", &denial.path),
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
    let is_used = |socket: &&PortSocket| socket.liveness != Liveness::Stale;
    refused(case, &qemu, of_kind(case, PortType::Dpdkvhostuser).filter(is_used))
}

pub fn client_socket(case: &Case<'_>) -> Vec<Evidence> {
    let kind = PortType::Dpdkvhostuserclient;
    let vswitchd = case.live.filter(|_| case.accord.has(kind)).and_then(Live::vswitchd);
    let found = vswitchd.map(|vswitchd| refused(case, &vswitchd.identity(), of_kind(case, kind)));
    found.unwrap_or_default()
}

pub fn client_socket_group(case: &Case<'_>) -> Vec<Evidence> {
    let (wanted, kind) = (&case.accord.group, PortType::Dpdkvhostuserclient);
    let refused: Vec<String> = client_socket(case).into_iter().map(|evidence| evidence.subject).collect();
    let is_ours = |socket: &&PortSocket| {
        case.accord.has(kind) && socket.path.starts_with(&case.accord.socket_directory)
    };
    let evidence = |socket: &PortSocket| {
        let gid = socket.fact.node()?.gid;
        let subject = socket.path.display().to_string();
        let seen = format!("group {}, expected {}", case.names.group_name(gid), wanted.name);
        let differs = gid != wanted.gid && !refused.contains(&subject);
        differs.then(|| Evidence::applies(subject, seen))
    };
    of_kind(case, kind).filter(is_ours).filter_map(evidence).collect()
}

pub fn stale(case: &Case<'_>) -> Vec<Evidence> {
    let Some(dataplane) = case.accord.dataplane.as_ref().filter(|_| case.accord.server_access.is_some())
    else {
        return Vec::new();
    };
    let stale = |socket: &&PortSocket| socket.liveness == Liveness::Stale;
    let evidence = |socket: &PortSocket| {
        let again = ovs::fixes::systemctl("restart", Some(&dataplane.switch_unit));
        let fix = format!("{} && {again}", fixes::remove(&socket.path));
        Evidence::at(&socket.path, "no process listens on it", fix)
    };
    of_kind(case, PortType::Dpdkvhostuser).filter(stale).map(evidence).collect()
}
