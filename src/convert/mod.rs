// SPDX-License-Identifier: Apache-2.0
//! Decides what to change in a VM's interface and its port when the VM is converted to another port type. Pure: facts in, a
//! decision out. The hook uses it for VMs that migrate here, `vhost-accord convert` for those that are here.

#[cfg(test)]
mod tests;

use std::path::{Component, Path, PathBuf};

use crate::base::paths::{plain, same_path};
use crate::config::PortType;
use crate::dataplane::ovs;
use crate::dataplane::ovs::ovsdb::{Join, PortState, VhostPort};
use crate::edit::domain::Turn;
use crate::facts::Known;
use crate::facts::domains::{Domain, Endpoint, EndpointKind};

/// The longest path of a socket: `sun_path` of unix(7), less its NUL.
pub const LONGEST_PATH: usize = 107;

/// What a conversion depends on.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The type of port that VMs are to have.
    pub wanted: PortType,
    /// Where QEMU makes its sockets, as `apply` settled it; `None` before the first `apply`.
    pub socket_directory: Option<&'a Path>,
}

/// What to do with one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: both ends fit and have the wanted type, or it has no port of the switch.
    Nothing,
    /// Something is to be changed.
    Convert(Step),
    /// The port would have to change, but it is in use.
    InUse {
        /// The port.
        port: String,
        /// Who, in words.
        by: String,
    },
    /// Left as it is: why, in words.
    Left(String),
}

/// A port that would have to be changed, but is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The socket in the domain.
    pub path: String,
    /// The port.
    pub port: String,
    /// Who, in words.
    pub by: String,
}

/// What to change: at least one of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// In the domain.
    pub turn: Option<Turn>,
    /// In OVSDB: before and after.
    pub port: Option<(PortState, PortState)>,
}

/// Whether a port is in use, and by whom, in words. Called only if the port must change.
pub type InUse<'a> = dyn FnMut(&VhostPort, &Path) -> Known<Option<String>> + 'a;

/// The interfaces of a domain that may have a port of the switch, each with its place among the
/// `<interface type='vhostuser'>` of the document.
pub fn interfaces(domain: &Domain) -> impl Iterator<Item = (usize, &Endpoint)> {
    let counted =
        |endpoint: &&Endpoint| matches!(endpoint.device, EndpointKind::Interface | EndpointKind::Passt);
    let numbered = domain.endpoints.iter().filter(counted).enumerate();
    numbered.filter(|(_, endpoint)| endpoint.device == EndpointKind::Interface)
}

/// Decides for one interface. `join` has what OVSDB knows of its path.
pub fn decide(
    terms: &Terms<'_>,
    join: &Join,
    (interface, endpoint): (usize, &Endpoint),
    in_use: &mut InUse<'_>,
) -> Decision {
    let Some(path) = endpoint.path.as_deref() else { return Decision::Nothing };
    let has = endpoint.mode.port_type();
    let port = port_of(join, path);
    // nova decides the type of a port that it created: the domain is changed to fit.
    let to = port.filter(|port| port.vm_uuid.is_some()).map_or(terms.wanted, |port| port.kind);
    let settled = port.map_or(has == to || is_other(join, path), |port| has == to && port.kind == to);
    if settled {
        return Decision::Nothing;
    }
    match place(terms, join, (path, has), port, to) {
        Err(why) => Decision::Left(why),
        Ok(at) => step(join, (interface, path, has), port, (to, at), in_use),
    }
}

/// The new path of the socket: the port's own if it has the type already, else one in the directory of that type.
fn place(
    terms: &Terms<'_>,
    join: &Join,
    (path, has): (&Path, PortType),
    port: Option<&VhostPort>,
    to: PortType,
) -> Result<PathBuf, String> {
    let agreed =
        terms.socket_directory.ok_or("the socket directory is not set up yet: run 'vhost-accord apply'")?;
    if !is_managed(join, agreed, has, path) {
        return Err(format!(
            "{} is neither in {} nor in OVS's own socket directory",
            path.display(),
            agreed.display()
        ));
    }
    let directory = match to {
        PortType::Dpdkvhostuserclient => agreed.to_path_buf(),
        PortType::Dpdkvhostuser => join.config.server_directory(),
    };
    let name = port.map(|port| port.name.as_str()).or(path.file_name().and_then(|name| name.to_str()));
    let name = name.filter(|name| is_name(name)).ok_or("its name cannot be the name of a socket")?;
    let made = directory.join(name);
    let at = port.filter(|port| port.kind == to).map_or(made, |port| join.expected_socket(port));
    if !is_managed(join, agreed, to, &at) {
        // OVSDB's path is not trusted: QEMU removes whatever is at the path of its socket.
        return Err(format!("the socket of port {name} is {}, not in {}", at.display(), directory.display()));
    }
    match at.as_os_str().len() <= LONGEST_PATH {
        true => Ok(at),
        false => Err(format!("{} is longer than the {LONGEST_PATH} bytes of a socket's path", at.display())),
    }
}

fn step(
    join: &Join,
    (interface, path, has): (usize, &Path, PortType),
    port: Option<&VhostPort>,
    (to, at): (PortType, PathBuf),
    in_use: &mut InUse<'_>,
) -> Decision {
    let change = match port.filter(|port| port.kind != to) {
        None => None,
        Some(port) => match in_use(port, &join.expected_socket(port)) {
            Known::Known(None) => Some((port.state(), turned(port, to, &at))),
            Known::Known(Some(by)) => return Decision::InUse { port: port.name.clone(), by },
            Known::Unknown(why) => {
                return Decision::Left(format!("it is unknown whether port {} is in use: {why}", port.name));
            }
        },
    };
    let differs = has != to || !same_path(path, &at);
    Decision::Convert(Step { turn: differs.then_some(Turn { interface, to, path: at }), port: change })
}

fn turned(port: &VhostPort, to: PortType, at: &Path) -> PortState {
    let server_path = (to == PortType::Dpdkvhostuserclient).then(|| at.to_path_buf());
    PortState { name: port.name.clone(), kind: to, server_path }
}

/// The port of this path: the one with a socket there, else the one of that name, as neutron and os-vif name sockets.
pub fn port_of<'a>(join: &'a Join, path: &Path) -> Option<&'a VhostPort> {
    let at = |port: &&VhostPort| same_path(&join.expected_socket(port), path);
    let named = |port: &&VhostPort| path.file_name().is_some_and(|name| name == port.name.as_str());
    join.ports.iter().find(at).or_else(|| join.ports.iter().find(named))
}

/// An interface of this name that is no vhost-user port.
fn is_other(join: &Join, path: &Path) -> bool {
    join.others.iter().any(|(name, _)| path.file_name().is_some_and(|file| file == name.as_str()))
}

/// Is it directly in the directory of this type? Sockets elsewhere belong to others.
fn is_managed(join: &Join, agreed: &Path, kind: PortType, path: &Path) -> bool {
    let Some(parent) = path.parent().map(plain) else { return false };
    if kind == PortType::Dpdkvhostuserclient {
        return parent == plain(agreed);
    }
    let own = plain(&join.config.server_directory());
    let is_own =
        own.starts_with(ovs::paths::RUN) && !own.components().any(|part| part == Component::ParentDir);
    parent == Path::new(ovs::paths::RUN) || (is_own && parent == own)
}

fn is_name(name: &str) -> bool {
    !name.contains('/') && !name.chars().any(char::is_control) && !matches!(name, "" | "." | "..")
}
