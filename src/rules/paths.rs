// SPDX-License-Identifier: Apache-2.0
//! Where the sockets are.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use super::owners;
use super::start::others;
use super::{Evidence, StartCase};
use crate::access::{Denial, Identity, Node, Wish, may};
use crate::base::root::Kind;
use crate::dataplane::ovs::{self, vswitchd::VSWITCHD};
use crate::facts::Known;
use crate::facts::domains::{LabelKind, SocketMode, oddity};
use crate::facts::paths::PathFact;
use crate::fixes;
use crate::node::endpoints::Socket;

const ENDS_WITH_SLASH: &str = "a path that ends with '/'";

/// `sun_path` of unix(7) less its NUL. QEMU would take 108 bytes; DPDK cuts at 107 and looks for another name.
const LONGEST: usize = 107;

rules! {
    Broken "socket-path-too-long" [Each<Paths>(too_long)]
        cause: "the path of a Unix socket can have 107 bytes at most; DPDK silently shortens it",
        effect: "QEMU refuses it ('is too long'), or DPDK shortens it and uses another name: the VM hangs",
        see: "printf %s PATH | wc -c (107 at most)",
        fix: "use a directory with a shorter path",
        source: "unix(7); DPDK lib/vhost/socket.c (strlcpy); intel/userspace-cni 40",
    Broken "socket-path-not-clean" [Each<Paths>(not_clean)]
        cause: "the dataplane and QEMU interpret such a path differently",
        effect: "the VM does not start, or hangs",
        see: "virsh dumpxml VM",
        fix: "use an absolute path without '..' and without '/' at its end",
        source: "OVS lib/netdev-dpdk.c refuses '..'",
    Broken "socket-directory-missing" [Change(owners::directory_missing), Start<Paths>(directory_missing)]
        cause: "QEMU creates its sockets in this directory: 'Failed to bind socket ...: No such file or directory'",
        ahead: "QEMU creates its socket in this directory: 'No such file or directory'",
        effect: "the VM does not start: 'Failed to bind socket to ...: No such file or directory'",
        see: "ls -ld /var/lib/vhost_sockets",
        fix: "vhost-accord apply",
        source: "QEMU util/qemu-sockets.c; seen with QEMU 7.2",
    Broken "socket-directory-refuses-qemu" [Start<Sockets>(refuses_qemu)]
        cause: "QEMU needs write permission on this directory: 'Failed to bind socket to ...: Permission denied'",
        effect: "the VM does not start: 'Failed to bind socket to ...: Permission denied'",
        see: "namei -l DIRECTORY; virsh capabilities (baselabel)",
        fix: "vhost-accord apply; do not open the directory to everyone",
        source: "atmosphere 1982, kube-ovn 1738; seen with QEMU 7.2",
    Broken "socket-directory-refuses-dataplane" [Start<Sockets>(refuses_dataplane)]
        cause: "OVS needs search permission on this directory, and logs the failure only once: the VM hangs or has no network",
        effect: "the VM hangs while it starts, or has no network",
        see: "namei -l DIRECTORY",
        fix: "vhost-accord apply",
        source: "DPDK lib/vhost/socket.c logs one line, then tries again silently",
}

fn too_long(case: &StartCase<'_>, socket: &Socket) -> Option<Evidence> {
    let length = socket.path.as_os_str().len();
    (length > LONGEST).then(|| Evidence::at(&socket.path, format!("{length} bytes"), edit(case)))
}

fn not_clean(case: &StartCase<'_>, socket: &Socket) -> Option<Evidence> {
    // What is only odd may be so at both ends, and work.
    let dirt = dirt(&socket.path);
    let seen = dirt.or_else(|| oddity(&socket.path))?;
    // The kernel takes it as it is; whether another back end does, nobody knows.
    let is_sure = dirt.is_some_and(|dirt| dirt == ENDS_WITH_SLASH || case.meets_switch(socket));
    Some(Evidence::at(&socket.path, seen, edit(case)).sure_if(is_sure))
}

fn edit(case: &StartCase<'_>) -> String {
    format!("virsh edit {}", fixes::domain(&case.start.domain))
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

fn directory_missing(case: &StartCase<'_>) -> Vec<Evidence> {
    let mut found = Vec::new();
    for (number, directory) in case.facts.directories.iter().enumerate() {
        let Known::Known(PathFact::Missing { first, .. }) = &directory.fact else { continue };
        let first_socket = case.facts.sockets.iter().find(|socket| socket.directory == number);
        // Whoever serves the socket makes its directory; the socket is what is missed then.
        let made_by_qemu = first_socket.filter(|socket| socket.endpoint.mode == SocketMode::Server);
        let Some(socket) = made_by_qemu else { continue };
        let seen = match *first == directory.path {
            true => "missing".to_string(),
            false => format!("{} is missing", first.display()),
        };
        let ours = case.start.socket_directory.as_ref() == Some(&directory.path);
        let fix = match ours || case.start.is_agreed_path(&socket.path) {
            true => fixes::APPLY.to_string(),
            false if case.is_others(socket) => others::directory(socket, case.start.qemu.as_ref()),
            false => moved(case, socket),
        };
        found.push(Evidence::at(&directory.path, seen, fix));
    }
    found
}

/// A label of the domain's own is what keeps it out, not what was agreed.
fn own_label(case: &StartCase<'_>) -> Option<String> {
    let domain = &case.start.domain;
    let label = domain.dac.as_ref().filter(|label| label.kind == LabelKind::Static)?;
    let (user, group) = label.owner.as_ref()?;
    Some(fixes::share_group(domain, user, group, case.start.agreed.as_ref()?.gid))
}

/// A directory that is the domain's own choice is somebody else's: the socket moves, and the directory stays as it is.
fn moved(case: &StartCase<'_>, socket: &Socket) -> String {
    let agreed = case.start.agreed.as_ref().map(|agreed| agreed.socket_directory.as_path());
    let (Some(directory), Some(name)) =
        (agreed.or(case.start.socket_directory.as_deref()), socket.path.file_name())
    else {
        return edit(case);
    };
    // It is there already: what is wrong with the configured directory is `apply`'s, agreed on or not.
    if socket.path.starts_with(directory) {
        return fixes::APPLY.to_string();
    }
    let to = directory.join(name);
    let domain = fixes::move_socket(&case.start.domain, &socket.path, &to);
    let Some(port) = case.port_at(socket) else { return domain };
    format!("{} && {domain}", ovs::fixes::convert_port(None, &port.name, SocketMode::Server, &to))
}

/// Directories of these sockets, each once, that refuse this to a process of this name.
fn refused<'a>(
    case: &StartCase<'a>,
    (name, identity): (&str, &Identity),
    sockets: impl Iterator<Item = &'a Socket>,
    (wish, fix): (Wish, impl Fn(&Socket, &Denial) -> String),
) -> Vec<Evidence> {
    let mut found: Vec<Evidence> = Vec::new();
    for socket in sockets {
        let asked = case.directory(socket).map(|chain| may(identity, chain, wish));
        let Some(Err(denial)) = asked else { continue };
        let path = socket.path.parent().unwrap_or(Path::new("/")).display().to_string();
        if found.iter().all(|evidence| evidence.subject != path) {
            let seen = case.no_access(name, identity, &denial);
            found.push(Evidence::fixed_by(path, seen, fix(socket, &denial)));
        }
    }
    found
}

fn refuses_qemu(case: &StartCase<'_>) -> Vec<Evidence> {
    let Some(qemu) = &case.start.qemu else { return Vec::new() };
    let fix = |socket: &Socket, denial: &Denial| match case.start.is_agreed_path(&socket.path) {
        true => own_label(case).unwrap_or_else(|| fixes::APPLY.to_string()),
        false if case.is_others(socket) => others::let_create(case.start, socket, denial, qemu),
        false => moved(case, socket),
    };
    let found = refused(case, ("QEMU", qemu), case.of_mode(SocketMode::Server), (Wish::Create, fix));
    found.into_iter().map(|evidence| evidence.sure_if(case.start.groups_are_known)).collect()
}

fn refuses_dataplane(case: &StartCase<'_>) -> Vec<Evidence> {
    let Some(identity) = case.dataplane() else { return Vec::new() };
    let is_directory = |node: &Node| node.kind == Kind::Directory;
    let meets = |socket: &&Socket| {
        let is_there = case.directory(socket).and_then(<[Node]>::last).is_some_and(is_directory);
        is_there && case.meets_switch(socket)
    };
    let fix = |socket: &Socket, _: &Denial| match case.start.is_agreed_path(&socket.path) {
        true => fixes::APPLY.to_string(),
        false => moved(case, socket),
    };
    let sockets = case.of_mode(SocketMode::Server).filter(meets);
    refused(case, (VSWITCHD, &identity), sockets, (Wish::Search, fix))
}
