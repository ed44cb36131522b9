// SPDX-License-Identifier: Apache-2.0
//! Grants new sockets of the switch's ports and of declared dataplanes as soon as they exist, with the same code as `apply` and the
//! dataplane's units. One socket costs one look at one path, however many there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::accord::{Agreed, Given};
use crate::base::journald::{GRANTED, Priority, log};
use crate::base::root::Root;
use crate::base::text::log_line;
use crate::config::PortType;
use crate::dataplane::PortSocket;
use crate::dataplane::ovs::ovsdb::{Changed, ChangedPort, Monitor, SwitchConfig, VhostPort};
use crate::dataplane::ovs::sockets::{is_switch_place, port_socket};
use crate::facts::paths::{Neighbours, PathFact};
use crate::facts::sockets::Liveness;
use crate::sockets;
use crate::sockets::grant::{self, Giving, Grant};

use super::tug::Tug;

/// `bind` creates the file first and lets connections find the socket then (`unix_bind_bsd`, net/unix/af_unix.c): between the
/// two it looks stale. The next look is after this time, then after twice this time, and so on.
const AGAIN: Duration = Duration::from_millis(1);
/// How often: a second in all.
const TIMES: u32 = 10;

/// To whom sockets are granted, where they are expected, and which ones need another look.
#[derive(Debug, Default)]
pub struct Granting {
    giving: Option<Giving>,
    declared: Vec<Given>,
    /// The switch's settings and ports as of the last session.
    config: Option<SwitchConfig>,
    expected: HashMap<PathBuf, Vec<Rc<VhostPort>>>,
    /// The directories of these.
    parents: BTreeSet<PathBuf>,
    again: BTreeMap<PathBuf, (Instant, u32)>,
    pub given: u64,
}

impl Granting {
    /// Takes what `apply` set up.
    pub fn agreed(&mut self, agreed: Option<&Agreed>) {
        let parents: BTreeSet<&Path> = self.expected.keys().filter_map(|path| path.parent()).collect();
        self.parents = parents.into_iter().map(Path::to_path_buf).collect();
        self.giving = agreed.map(Giving::agreed);
        self.declared = agreed.map(|agreed| agreed.declared.clone()).unwrap_or_default();
    }

    /// Takes the settings and ports of this session.
    ///
    /// # Errors
    /// The session has no settings yet.
    pub fn expect(&mut self, session: &Monitor) -> Result<()> {
        self.config = Some(session.config()?.clone());
        self.expected.clear();
        session.ports().for_each(|port| drop(self.add(port)));
        Ok(())
    }

    /// Takes the changed ports only. Returns where their sockets are expected.
    pub fn change(&mut self, changed: &Changed) -> BTreeSet<PathBuf> {
        let mut paths = BTreeSet::new();
        for ChangedPort { before, now } in &changed.ports {
            before.iter().for_each(|port| self.remove(port));
            paths.extend(now.as_ref().and_then(|port| self.add(port)));
        }
        paths
    }

    fn add(&mut self, port: &Rc<VhostPort>) -> Option<PathBuf> {
        let path = self.config.as_ref()?.expected_socket(port);
        if let Some(parent) = path.parent().filter(|parent| !self.parents.contains(*parent)) {
            self.parents.insert(parent.to_path_buf());
        }
        self.expected.entry(path.clone()).or_default().push(Rc::clone(port));
        Some(path)
    }

    fn remove(&mut self, port: &Rc<VhostPort>) {
        let Some(path) = self.config.as_ref().map(|config| config.expected_socket(port)) else { return };
        if let Some(ports) = self.expected.get_mut(&path) {
            ports.retain(|other| !Rc::ptr_eq(other, port));
            if ports.is_empty() {
                self.expected.remove(&path);
            }
        }
    }

    /// How many sockets are expected.
    pub fn count(&self) -> usize {
        self.expected.len()
    }

    /// The directories that may have sockets which we grant.
    pub fn directories(&self) -> BTreeSet<PathBuf> {
        let Some(giving) = &self.giving else { return BTreeSet::new() };
        // A directory counts if a socket in it would.
        let ours = |path: &&PathBuf| is_switch_place(&path.join("a")) || path.starts_with(&giving.directory);
        let declared = self.declared.iter().map(|given| given.sockets.directory.clone());
        let parents = self.parents.iter().filter(ours).cloned();
        parents.chain([giving.directory.clone()]).chain(declared).collect()
    }

    /// Where QEMU creates its sockets.
    pub fn socket_directory(&self) -> Option<&Path> {
        self.giving.as_ref().map(|giving| giving.directory.as_path())
    }

    /// Is a socket of a port or of a declared dataplane expected here?
    pub fn expects(&self, path: &Path) -> bool {
        self.expected.contains_key(path) || self.of(path).is_some()
    }

    /// The declared dataplane that has this path.
    fn of(&self, path: &Path) -> Option<&Given> {
        self.declared.iter().find(|given| given.sockets.is_at(path))
    }

    pub fn look(&mut self, root: &Root, path: &Path, tug: &mut Tug) {
        match self.expected.get(path).cloned() {
            Some(ports) => self.look_at_ports(root, &mut Neighbours::default(), path, &ports, tug),
            None => self.look_at_declared(root, path, tug),
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

    /// Looks again later, because the owner may be about to listen. False if it had enough time.
    fn put_off(&mut self, path: &Path) -> bool {
        let (_, times) = self.again.get(path).copied().unwrap_or((Instant::now(), 0));
        if times < TIMES {
            self.again.insert(path.to_path_buf(), (Instant::now() + AGAIN * (1 << times), times + 1));
        }
        times < TIMES
    }

    /// Looks at the ports that expect this socket.
    fn look_at_ports(
        &mut self,
        root: &Root,
        neighbours: &mut Neighbours,
        path: &Path,
        ports: &[Rc<VhostPort>],
        tug: &mut Tug,
    ) {
        let found = |port: &Rc<VhostPort>| port_socket(root, neighbours, path.to_path_buf(), port);
        let sockets: Vec<PortSocket> = ports.iter().filter_map(found).collect();
        let unborn = |socket: &PortSocket| {
            socket.kind == PortType::Dpdkvhostuser && socket.liveness == Liveness::Stale
        };
        if sockets.iter().any(unborn) && self.put_off(path) {
            return;
        }
        self.again.remove(path);
        self.give_ports(root, &sockets, tug);
    }

    /// Looks at all sockets, one after another, without keeping what it reads.
    pub fn look_at_all(&mut self, root: &Root, tug: &mut Tug) {
        let expected = std::mem::take(&mut self.expected);
        let mut neighbours = Neighbours::default();
        for (path, ports) in &expected {
            self.look_at_ports(root, &mut neighbours, path, ports, tug);
        }
        self.expected = expected;
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

    /// Looks again at the sockets that are due.
    pub fn go_on(&mut self, root: &Root, now: Instant, tug: &mut Tug) {
        let due: Vec<PathBuf> =
            self.again.iter().filter(|(_, (due, _))| *due <= now).map(|(path, _)| path.clone()).collect();
        for path in due {
            if !self.expects(&path) {
                self.again.remove(&path);
            }
            self.look(root, &path, tug);
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

    /// `what` names this socket, with its inode.
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

/// The name of a socket: another socket at the same path has another name.
fn named(path: &Path, id: (u64, u64)) -> String {
    format!("{} ({}:{})", path.display(), id.0, id.1)
}

fn name(root: &Root, path: &Path) -> String {
    let found = root.find_nofollow(path).ok().flatten();
    found.map_or_else(|| path.display().to_string(), |socket| named(path, socket.id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_comes_changes_and_goes_alone() {
        let config = SwitchConfig::default();
        let mut granting = Granting { config: Some(config), ..Granting::default() };
        let mut change = |before: Option<&Rc<VhostPort>>, now: Option<&Rc<VhostPort>>| {
            let port = ChangedPort { before: before.cloned(), now: now.cloned() };
            let changed = Changed { ports: vec![port], settings: false };
            let looked_at = granting.change(&changed).into_iter().next();
            let mut expected: Vec<String> =
                granting.expected.keys().map(|path| path.display().to_string()).collect();
            expected.sort();
            (looked_at.map(|path| path.display().to_string()), expected.join(" "))
        };
        let said = |path: &str, expected: &str| (Some(path.to_string()), expected.to_string());
        let one = Rc::new(VhostPort::plain("one", PortType::Dpdkvhostuser, None));
        let other = Rc::new(VhostPort::plain("other", PortType::Dpdkvhostuser, None));
        let moved = VhostPort { socket: Some("/var/run/openvswitch/other".into()), ..VhostPort::clone(&one) };
        let moved = Rc::new(moved);
        let (at_one, at_other) = ("/run/openvswitch/one", "/run/openvswitch/other");
        assert_eq!(change(None, Some(&one)), said(at_one, at_one));
        assert_eq!(change(None, Some(&other)), said(at_other, &format!("{at_one} {at_other}")));
        assert_eq!(change(Some(&one), Some(&moved)), said(at_other, at_other));
        assert_eq!(change(Some(&other), None), (None, at_other.to_string()), "the other one is meant there");
        assert_eq!(change(Some(&moved), None), (None, String::new()));
    }
}
