// SPDX-License-Identifier: Apache-2.0
//! Where the sockets are.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use super::{Case, Evidence, Rule, meets_switch, others};
use crate::access::{Identity, Verdict, Wish, may};
use crate::base::root::Kind;
use crate::config::Family;
use crate::dataplane::ovs;
use crate::dataplane::ovs::ovsdb::{Join, VhostPort};
use crate::dataplane::ovs::vswitchd::Vswitchd;
use crate::facts::Known;
use crate::facts::domains::{LabelKind, SocketMode, oddity};
use crate::facts::paths::PathFact;
use crate::fixes;
use crate::node::endpoints::start::Socket;

const ENDS_WITH_SLASH: &str = "a path that ends with '/'";

/// `sun_path` of unix(7) less its NUL. QEMU would take 108 bytes; DPDK cuts at 107 and looks for another name.
const LONGEST: usize = 107;

pub const RULES: &[Rule] = &[
    Rule {
        id: "socket-path-too-long",
        family: Family::Paths,
        cause: "the path of a Unix socket can have 107 bytes at most; DPDK silently shortens it",
        check: too_long,
    },
    Rule {
        id: "socket-path-not-clean",
        family: Family::Paths,
        cause: "the dataplane and QEMU interpret such a path differently",
        check: not_clean,
    },
    Rule {
        id: "socket-directory-missing",
        family: Family::Paths,
        cause: "QEMU creates its socket in this directory: 'No such file or directory'",
        check: directory_missing,
    },
    Rule {
        id: "socket-directory-refuses-qemu",
        family: Family::Sockets,
        cause: "QEMU needs write permission on this directory: 'Failed to bind socket to ...: Permission denied'",
        check: refuses_qemu,
    },
    Rule {
        id: "socket-directory-refuses-dataplane",
        family: Family::Sockets,
        cause: "OVS needs search permission on this directory, and logs the failure only once: the VM hangs or has no network",
        check: refuses_dataplane,
    },
];

fn too_long(case: &Case<'_>) -> Vec<Evidence> {
    let is_long = |socket: &&Socket| socket.path.as_os_str().len() > LONGEST;
    let evidence = |socket: &Socket| {
        let seen = format!("{} bytes", socket.path.as_os_str().len());
        Evidence::of(socket, seen, edit(case))
    };
    case.facts.sockets.iter().filter(is_long).map(evidence).collect()
}

fn not_clean(case: &Case<'_>) -> Vec<Evidence> {
    // What is only odd may be so at both ends, and work.
    let evidence = |socket: &Socket| {
        let dirt = dirt(&socket.path);
        let seen = dirt.or_else(|| oddity(&socket.path))?;
        // The kernel takes it as it is; whether another back end does, nobody knows.
        let is_sure = dirt.is_some_and(|dirt| dirt == ENDS_WITH_SLASH || meets_switch(case, socket));
        Some(Evidence::of(socket, seen, edit(case)).sure_if(is_sure))
    };
    case.facts.sockets.iter().filter_map(evidence).collect()
}

fn edit(case: &Case<'_>) -> String {
    format!("virsh edit {}", fixes::domain(&case.subject.domain))
}

fn dirt(path: &Path) -> Option<&'static str> {
    if !path.is_absolute() {
        Some("not an absolute path")
    } else if path.components().any(|component| component == Component::ParentDir) {
        Some("a path with '..'")
    } else if [b"/".as_slice(), b"/."].iter().any(|end| path.as_os_str().as_bytes().ends_with(end)) {
        // bind(2) and connect(2) take it for a directory's; we would take it for the socket's.
        Some(ENDS_WITH_SLASH)
    } else if path.as_os_str().as_bytes().iter().any(u8::is_ascii_control) {
        Some("a path with control characters")
    } else {
        None
    }
}

fn directory_missing(case: &Case<'_>) -> Vec<Evidence> {
    let mut found = Vec::new();
    for (number, directory) in case.facts.directories.iter().enumerate() {
        let Known::Known(PathFact::Missing { first, .. }) = &directory.fact else { continue };
        let Some(socket) = case.facts.sockets.iter().find(|socket| socket.directory == number) else {
            continue;
        };
        // Whoever serves the socket makes its directory; the socket is what is missed then.
        if socket.endpoint.mode == SocketMode::Client {
            continue;
        }
        let seen = match *first == directory.path {
            true => "missing".to_string(),
            false => format!("{} is missing", first.display()),
        };
        let ours = case.subject.socket_directory.as_ref() == Some(&directory.path);
        let fix = match ours || case.subject.is_agreed_path(&socket.path) {
            true => case.apply().to_string(),
            false if is_others(case, socket) => others::directory(socket, case.subject.qemu.as_ref()),
            false => moved(case, socket),
        };
        found.push(Evidence::new(directory.path.display().to_string(), seen, fix));
    }
    found
}

/// A label of the domain's own is what keeps it out, not what was agreed.
fn own_label(case: &Case<'_>) -> Option<String> {
    let domain = &case.subject.domain;
    let label = domain.dac.as_ref().filter(|label| label.kind == LabelKind::Static)?;
    let (user, group) = label.owner.as_ref()?;
    Some(fixes::share_group(domain, user, group, case.subject.agreed.as_ref()?.gid))
}

/// Another back end is to meet QEMU there: the switch has no port for it, under this path or under its name.
fn is_others(case: &Case<'_>, socket: &Socket) -> bool {
    let has_switch = || case.subject.agreed.as_ref().is_some_and(|agreed| agreed.dataplane.is_some());
    let is_named = |join: &Join| {
        let named = |port: &VhostPort| socket.path.file_name() == Some(port.name.as_ref());
        join.ports.iter().any(named)
    };
    let may_be_ports = || case.facts.switch.known().map_or_else(has_switch, is_named);
    !meets_switch(case, socket) && (socket.other.is_some() || !may_be_ports())
}

/// A directory that is the domain's own choice is somebody else's: the socket moves, and the directory stays as it is.
fn moved(case: &Case<'_>, socket: &Socket) -> String {
    let agreed = case.subject.agreed.as_ref().map(|agreed| agreed.socket_directory.as_path());
    let (Some(directory), Some(name)) =
        (agreed.or(case.subject.socket_directory.as_deref()), socket.path.file_name())
    else {
        return edit(case);
    };
    // It is there already: what is wrong with the configured directory is `apply`'s, agreed on or not.
    if socket.path.starts_with(directory) {
        return case.apply().to_string();
    }
    let to = directory.join(name);
    let domain = fixes::move_socket(&case.subject.domain, &socket.path, &to);
    match super::sockets::port_at(case, socket) {
        Some(port) => {
            format!("{} && {domain}", ovs::fixes::convert_port(&port.name, SocketMode::Server, &to))
        }
        None => domain,
    }
}

fn servers<'a>(case: &Case<'a>) -> impl Iterator<Item = &'a Socket> {
    case.facts.sockets.iter().filter(|socket| socket.endpoint.mode == SocketMode::Server)
}

fn refuses_qemu(case: &Case<'_>) -> Vec<Evidence> {
    let Some(qemu) = &case.subject.qemu else { return Vec::new() };
    let mut found: Vec<Evidence> = Vec::new();
    for socket in servers(case) {
        let Some(Verdict::Denied(denial)) =
            case.directory(socket).map(|chain| may(qemu, chain, Wish::Create))
        else {
            continue;
        };
        let path = socket.path.parent().unwrap_or(Path::new("/")).display().to_string();
        if found.iter().all(|evidence| evidence.subject != path) {
            let seen =
                format!("QEMU ({}) has no access: {}", who(case, qemu), denial.text(&case.subject.names));
            let fix = match case.subject.is_agreed_path(&socket.path) {
                true => own_label(case).unwrap_or_else(|| case.apply().to_string()),
                false if is_others(case, socket) => others::let_create(&denial, qemu),
                false => moved(case, socket),
            };
            found.push(Evidence::new(path, seen, fix).sure_if(case.subject.groups_are_known));
        }
    }
    found
}

/// Whom a line is about: `user:group`.
pub fn who(case: &Case<'_>, identity: &Identity) -> String {
    let names = &case.subject.names;
    format!("{}:{}", names.user_name(identity.uid), names.group_name(identity.gid))
}

/// Whom the dataplane runs as: what the process has, else what was agreed.
pub fn dataplane(case: &Case<'_>) -> Option<Identity> {
    match &case.facts.vswitchd {
        Vswitchd::Running(Some(process)) => Some(process.identity()),
        Vswitchd::Running(None) | Vswitchd::NotRunning | Vswitchd::Unknown(_) => None,
    }
}

fn refuses_dataplane(case: &Case<'_>) -> Vec<Evidence> {
    let Some(identity) = dataplane(case) else { return Vec::new() };
    let mut found: Vec<Evidence> = Vec::new();
    for socket in servers(case).filter(|socket| meets_switch(case, socket)) {
        let Some(chain) = case.directory(socket) else { continue };
        let Verdict::Denied(denial) = may(&identity, chain, Wish::Search) else { continue };
        let path = socket.path.parent().unwrap_or(Path::new("/")).display().to_string();
        if chain.last().is_some_and(|last| last.kind == Kind::Directory)
            && found.iter().all(|evidence| evidence.subject != path)
        {
            let seen = format!(
                "ovs-vswitchd ({}) has no access: {}",
                who(case, &identity),
                denial.text(&case.subject.names)
            );
            let fix = match case.subject.is_agreed_path(&socket.path) {
                true => case.apply().to_string(),
                false => moved(case, socket),
            };
            found.push(Evidence::new(path, seen, fix));
        }
    }
    found
}
