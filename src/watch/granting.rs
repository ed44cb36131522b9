// SPDX-License-Identifier: Apache-2.0
//! New sockets of the switch's ports, given to the other side the moment they are there: by the same code as in `apply` and
//! in the dataplane's units. One socket costs one look at one path, however many there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::accord::Agreed;
use crate::base::journald::{GRANTED, Priority, log};
use crate::base::root::Root;
use crate::base::text::log_line;
use crate::config::PortType;
use crate::dataplane::PortSocket;
use crate::dataplane::ovs::ovsdb::VhostPort;
use crate::dataplane::ovs::sockets::{Switch, is_switch_place, port_sockets};
use crate::facts::paths::PathFact;
use crate::facts::sockets::Liveness;
use crate::sockets::grant::{self, Giving};

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
        self.parents.iter().filter(ours).cloned().chain([giving.directory.clone()]).collect()
    }

    /// Where QEMU makes its own.
    pub fn socket_directory(&self) -> Option<&Path> {
        self.giving.as_ref().map(|giving| giving.directory.as_path())
    }

    /// Is there to be a port's socket?
    pub fn expects(&self, path: &Path) -> bool {
        self.expected.contains_key(path)
    }

    /// Looks at one path.
    pub fn look(&mut self, root: &Root, switch: &Switch, path: &Path, tug: &mut Tug) {
        let Some(ports) = self.expected.get(path) else { return };
        let one = Switch { config: switch.config.clone(), ports: ports.clone() };
        let sockets = port_sockets(root, &one);
        let unborn = |socket: &PortSocket| {
            socket.kind == PortType::Dpdkvhostuser && socket.liveness == Liveness::Stale
        };
        if sockets.iter().any(unborn) {
            let (_, times) = self.again.get(path).copied().unwrap_or((Instant::now(), 0));
            if times < TIMES {
                self.again.insert(path.to_path_buf(), (Instant::now() + AGAIN * (1 << times), times + 1));
                return;
            }
        }
        self.again.remove(path);
        self.give(root, &sockets, tug);
    }

    /// Looks at all of them.
    pub fn look_at_all(&mut self, root: &Root, switch: &Switch, tug: &mut Tug) {
        self.give(root, &port_sockets(root, switch), tug);
    }

    /// When the next one is to be looked at again.
    pub fn next(&self) -> Option<Instant> {
        self.again.values().map(|(due, _)| *due).min()
    }

    /// Looks at those again whose time has come.
    pub fn go_on(&mut self, root: &Root, switch: &Switch, now: Instant, tug: &mut Tug) {
        let due: Vec<PathBuf> =
            self.again.iter().filter(|(_, (due, _))| *due <= now).map(|(path, _)| path.clone()).collect();
        for path in due {
            if !self.expects(&path) {
                self.again.remove(&path);
            }
            self.look(root, switch, &path, tug);
        }
    }

    fn give(&mut self, root: &Root, sockets: &[PortSocket], tug: &mut Tug) {
        let Some(giving) = &self.giving else { return };
        let name = |path: &Path| {
            let socket = sockets.iter().find(|socket| socket.path == path);
            match socket.map(|socket| &socket.fact) {
                // Another socket at the same path is another thing.
                Some(PathFact::Present { id, .. }) => format!("{} ({}:{})", path.display(), id.0, id.1),
                _ => path.display().to_string(),
            }
        };
        for grant in grant::plan(giving, sockets) {
            let what = name(&grant.path);
            if tug.is_left(&what) {
                continue;
            }
            match grant::make_all(root, std::slice::from_ref(&grant)) {
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
}
