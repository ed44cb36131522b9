// SPDX-License-Identifier: Apache-2.0
//! New sockets of the switch's ports, and of dataplanes that the configuration declares, given to the other side the moment they
//! are there: by the same code as in `apply` and in the dataplane's units. One socket costs one look at one path, however many
//! there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::accord::{Agreed, Given};
use crate::base::journald::{GRANTED, Priority, log};
use crate::base::root::Root;
use crate::base::text::log_line;
use crate::config::PortType;
use crate::dataplane::PortSocket;
use crate::dataplane::ovs::ovsdb::VhostPort;
use crate::dataplane::ovs::sockets::{Switch, is_switch_place, port_sockets};
use crate::facts::paths::PathFact;
use crate::facts::sockets::Liveness;
use crate::sockets;
use crate::sockets::grant::{self, Giving, Grant};

use super::tug::Tug;

/// `bind` creates the file first and lets connections find the socket then (`unix_bind_bsd`, net/unix/af_unix.c): between the
/// two it looks stale. Looked at again after this, then twice that, and so on.
const AGAIN: Duration = Duration::from_millis(1);
/// A second in all.
const TIMES: u32 = 10;

/// Whom sockets are given to, where they are to be, and which ones are looked at again.
#[derive(Debug, Default)]
pub struct Granting {
    giving: Option<Giving>,
    declared: Vec<Given>,
    expected: HashMap<PathBuf, Vec<VhostPort>>,
    /// The directories of these.
    parents: BTreeSet<PathBuf>,
    again: BTreeMap<PathBuf, (Instant, u32)>,
    /// How many were given.
    pub given: u64,
}

impl Granting {
    /// Goes by what `apply` agreed to.
    pub fn agreed(&mut self, agreed: Option<&Agreed>) {
        self.giving = agreed.map(Giving::agreed);
        self.declared = agreed.map(|agreed| agreed.declared.clone()).unwrap_or_default();
    }

    /// Goes by these ports.
    pub fn expect(&mut self, switch: &Switch) {
        self.expected.clear();
        self.parents.clear();
        self.expect_also(switch, &switch.ports);
    }

    /// And by these of the switch.
    pub fn expect_also(&mut self, switch: &Switch, ports: &[VhostPort]) {
        for port in ports {
            let path = switch.config.expected_socket(port);
            if let Some(parent) = path.parent().filter(|parent| !self.parents.contains(*parent)) {
                self.parents.insert(parent.to_path_buf());
            }
            self.expected.entry(path).or_default().push(port.clone());
        }
    }

    /// How many sockets there are to be.
    pub fn count(&self) -> usize {
        self.expected.len()
    }

    /// The directories in which sockets may be that are ours to give.
    pub fn directories(&self) -> BTreeSet<PathBuf> {
        let Some(giving) = &self.giving else { return BTreeSet::new() };
        // Of a directory as of a socket in it.
        let ours = |path: &&PathBuf| is_switch_place(&path.join("a")) || path.starts_with(&giving.directory);
        let declared = self.declared.iter().map(|given| given.sockets.directory.clone());
        let parents = self.parents.iter().filter(ours).cloned();
        parents.chain([giving.directory.clone()]).chain(declared).collect()
    }

    /// Where QEMU makes its own.
    pub fn socket_directory(&self) -> Option<&Path> {
        self.giving.as_ref().map(|giving| giving.directory.as_path())
    }

    /// Is there to be a socket of a port, or of a declared dataplane?
    pub fn expects(&self, path: &Path) -> bool {
        self.expected.contains_key(path) || self.of(path).is_some()
    }

    /// The declared dataplane that has this path.
    fn of(&self, path: &Path) -> Option<&Given> {
        self.declared.iter().find(|given| given.sockets.is_at(path))
    }

    /// Looks at one path.
    pub fn look(&mut self, root: &Root, switch: Option<&Switch>, path: &Path, tug: &mut Tug) {
        match (self.expected.contains_key(path), switch) {
            (true, Some(switch)) => self.look_at_port(root, switch, path, tug),
            _ => self.look_at_declared(root, path, tug),
        }
    }

    fn look_at_declared(&mut self, root: &Root, path: &Path, tug: &mut Tug) {
        let Some(given) = self.of(path) else { return };
        match sockets::declared::plan_one(root, given, path) {
            Ok(Some((_, Liveness::Stale))) if self.put_off(path) => {}
            Ok(Some((grant, Liveness::Listening))) => {
                self.again.remove(path);
                self.give(root, &grant, name(root, path), tug);
            }
            Ok(_) => drop(self.again.remove(path)),
            Err(error) => tracing::warn!("{}", log_line(&format!("{}: {error:#}", path.display()))),
        }
    }

    /// It may be about to listen. False: it had its time.
    fn put_off(&mut self, path: &Path) -> bool {
        let (_, times) = self.again.get(path).copied().unwrap_or((Instant::now(), 0));
        if times < TIMES {
            self.again.insert(path.to_path_buf(), (Instant::now() + AGAIN * (1 << times), times + 1));
        }
        times < TIMES
    }

    fn look_at_port(&mut self, root: &Root, switch: &Switch, path: &Path, tug: &mut Tug) {
        let Some(ports) = self.expected.get(path) else { return };
        let one = Switch { config: switch.config.clone(), ports: ports.clone() };
        let sockets = port_sockets(root, &one);
        let unborn = |socket: &PortSocket| {
            socket.kind == PortType::Dpdkvhostuser && socket.liveness == Liveness::Stale
        };
        if sockets.iter().any(unborn) && self.put_off(path) {
            return;
        }
        self.again.remove(path);
        self.give_ports(root, &sockets, tug);
    }

    /// Looks at all of them.
    pub fn look_at_all(&mut self, root: &Root, switch: Option<&Switch>, tug: &mut Tug) {
        if let Some(switch) = switch {
            self.give_ports(root, &port_sockets(root, switch), tug);
        }
        let grants = self.declared.iter().map(|given| sockets::declared::plan(root, given));
        for grant in grants.collect::<Vec<_>>() {
            match grant {
                Ok(grants) => {
                    grants.iter().for_each(|grant| self.give(root, grant, name(root, &grant.path), tug));
                }
                Err(error) => tracing::warn!("{}", log_line(&format!("{error:#}"))),
            }
        }
    }

    /// When the next one is to be looked at again.
    pub fn next(&self) -> Option<Instant> {
        self.again.values().map(|(due, _)| *due).min()
    }

    /// Looks at those again whose time has come.
    pub fn go_on(&mut self, root: &Root, switch: Option<&Switch>, now: Instant, tug: &mut Tug) {
        let due: Vec<PathBuf> =
            self.again.iter().filter(|(_, (due, _))| *due <= now).map(|(path, _)| path.clone()).collect();
        for path in due {
            if !self.expects(&path) {
                self.again.remove(&path);
            }
            self.look(root, switch, &path, tug);
        }
    }

    fn give_ports(&mut self, root: &Root, sockets: &[PortSocket], tug: &mut Tug) {
        let Some(giving) = &self.giving else { return };
        let name = |path: &Path| {
            let socket = sockets.iter().find(|socket| socket.path == path);
            match socket.map(|socket| &socket.fact) {
                Some(PathFact::Present { id, .. }) => named(path, *id),
                _ => path.display().to_string(),
            }
        };
        for grant in grant::plan(giving, sockets) {
            self.give(root, &grant, name(&grant.path), tug);
        }
    }

    /// `what` names the very socket.
    fn give(&mut self, root: &Root, grant: &Grant, what: String, tug: &mut Tug) {
        if tug.is_left(&what) {
            return;
        }
        match grant::make_all(root, std::slice::from_ref(grant)) {
            Ok(made) if made.is_empty() => {}
            Ok(_) => {
                self.given += 1;
                let path = grant.path.display().to_string();
                let group = grant.gid.to_string();
                let fields = [
                    ("VA_SOCKET", path.as_str()),
                    ("VA_PORT", &grant.port),
                    ("VA_GID", &group),
                    ("MESSAGE_ID", GRANTED),
                ];
                log(Priority::Info, &format!("gave {path} to group {group}"), &fields);
                if tug.fixed(&what, Instant::now()) {
                    super::tell_tug(&path);
                }
            }
            Err(error) => tracing::warn!("{}", log_line(&format!("port {}: {error:#}", grant.port))),
        }
    }
}

/// Another socket at the same path is another thing.
fn named(path: &Path, id: (u64, u64)) -> String {
    format!("{} ({}:{})", path.display(), id.0, id.1)
}

fn name(root: &Root, path: &Path) -> String {
    let found = root.find_nofollow(path).ok().flatten();
    found.map_or_else(|| path.display().to_string(), |socket| named(path, socket.id()))
}
