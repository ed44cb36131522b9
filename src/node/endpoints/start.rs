// SPDX-License-Identifier: Apache-2.0
//! What the node is like at this moment, as far as one VM's start depends on it: what the hook looks at, and `check` for
//! every VM, which keeps what VMs have in common in [`Shared`].

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::needs::{Need, Origin, needs};
use super::socket::{Directory, Held, Sight, Socket, look_at, places, read_directory};
use super::{Owner, others};
use crate::base::root::Root;
use crate::dataplane::PortSocket;
use crate::dataplane::ovs::database;
use crate::dataplane::ovs::ovsdb::{Join, Question, VhostPort};
use crate::dataplane::ovs::second::Second;
use crate::dataplane::ovs::vswitchd::Vswitchd;
use crate::facts::Known;
use crate::facts::domains::{Domain, Endpoint, MemoryBacking, is_network_card};
use crate::facts::hugepages;
use crate::facts::mounts;
use crate::facts::paths::PathFact;
use crate::facts::processes;

/// A dataplane younger than this may still be making its sockets.
const YOUNG: Duration = Duration::from_secs(30);

/// What the database of a second switch knows of the VM's sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondFacts {
    /// Which.
    pub second: Second,
    /// Its ports.
    pub join: Known<Join>,
}

impl SecondFacts {
    /// The port whose socket this is.
    pub fn port_at(&self, path: &Path) -> Option<&VhostPort> {
        self.join.known()?.port_at(path)
    }
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The other end, where a switch is asked for one.
    pub switch: Known<Join>,
    /// A switch is asked at all: some endpoint is a network card with a path.
    pub asks_switch: bool,
    /// The switch's daemon.
    pub vswitchd: Vswitchd,
    /// Directories of the sockets.
    pub directories: Vec<Directory>,
    /// The sockets, in the order of the VM's endpoints.
    pub sockets: Vec<Socket>,
    /// Huge pages.
    pub memory: Known<Vec<Need>>,
    /// Second switches of the configuration.
    pub seconds: Vec<SecondFacts>,
    /// Another ovs-vswitchd, as a container may have: its ports are in a database that is not asked.
    pub second: Option<Owner>,
}

impl Facts {
    /// Looks. `known` is what is known of the switch already; it gets at most half of the time that is left to answer. Second
    /// switches are asked for what it has no port for.
    pub fn look(
        root: &Root,
        domain: &Domain,
        (known, seconds): (Option<Known<Join>>, &[Second]),
        deadline: Instant,
    ) -> Facts {
        let asked: Vec<&Path> = switch_paths(domain).collect();
        let asks_switch = !asked.is_empty();
        let limit = deadline.saturating_duration_since(Instant::now()) / 2;
        // The database works on its answer while we look at the rest.
        let question = (known.is_none() && asks_switch).then(|| ask(root, &asked, limit));
        let vswitchd =
            if asks_switch { Vswitchd::read(root) } else { Vswitchd::Unknown("not asked for".to_string()) };
        let mut shared = Shared::default();
        let (directories, sockets) = shared.places(root, &domain.endpoints);
        let memory = Known::from(shared.needs(root, &domain.memory));
        let answer = question.map(|question| Known::from(question.and_then(Question::answer)));
        let nothing = || Known::Unknown("not asked for".to_string());
        let switch = known.or(answer).unwrap_or_else(nothing);
        let has = |path: &Path| switch.known().is_some_and(|join| join.port_at(path).is_some());
        let left: Vec<&Path> = asked.into_iter().filter(|path| !has(path)).collect();
        let seconds = if left.is_empty() { Vec::new() } else { ask_seconds(root, seconds, &left, deadline) };
        Facts { switch, asks_switch, vswitchd, directories, sockets, memory, seconds, second: None }
    }

    /// The same with the file tree read anew, after something was fixed in it.
    pub fn look_again(self, root: &Root, domain: &Domain) -> Facts {
        let (directories, sockets) = Shared::default().places(root, &domain.endpoints);
        Facts { directories, sockets, ..self }
    }

    /// Before anything was looked at.
    pub fn unknown_yet() -> Facts {
        let unread = "not asked for".to_string();
        Facts {
            switch: Known::Unknown(unread.clone()),
            asks_switch: false,
            vswitchd: Vswitchd::Unknown(unread),
            directories: Vec::new(),
            sockets: Vec::new(),
            memory: Known::Known(Vec::new()),
            seconds: Vec::new(),
            second: None,
        }
    }

    /// Looks for other dataplanes than the switch that is asked: whose the sockets are, and whether there is another switch.
    /// That takes a look at every process, and is for what does not go well.
    pub fn name_others(&mut self, root: &Root) {
        others::name(root, &mut self.sockets, &self.vswitchd);
        self.second = self.vswitchd.second(root, &self.seconds_units());
    }

    /// The units of second switches that answered.
    pub fn seconds_units(&self) -> Vec<&str> {
        let known = self.seconds.iter().filter(|asked| asked.join.known().is_some());
        known.map(|asked| asked.second.unit.as_str()).collect()
    }

    /// What could not be read, in a line each.
    pub fn unknown(&self) -> Vec<String> {
        let vswitchd = if let Vswitchd::Unknown(why) = &self.vswitchd { Some(why) } else { None };
        let of_switch = [self.switch.why(), vswitchd].into_iter().flatten().filter(|_| self.asks_switch);
        let directories = self.directories.iter().filter_map(|directory| directory.fact.why());
        of_switch.chain(directories).chain(self.memory.why()).cloned().collect()
    }

    /// Is the dataplane just coming up, so that what is missing may be there in a moment?
    pub fn is_starting(&self) -> bool {
        if !self.asks_switch {
            return false;
        }
        let tried = |join: &Join| join.ports.iter().all(|port| port.ofport.is_some());
        let all_tried = self.switch.known().is_none_or(tried);
        match &self.vswitchd {
            Vswitchd::NotRunning => true,
            Vswitchd::Running(Some(process)) => is_young(process.started.since_boot) || !all_tried,
            Vswitchd::Running(None) | Vswitchd::Unknown(_) => !all_tried,
        }
    }
}

fn is_young(since_boot: u64) -> bool {
    processes::since_boot().is_ok_and(|now| Duration::from_nanos(now.saturating_sub(since_boot)) < YOUNG)
}

fn ask<'a>(root: &Root, paths: &[&'a Path], limit: Duration) -> Result<Question<'a>> {
    database::connect(root, limit)?.ask(paths)
}

/// Each has half of the time that is left then. A database that two sections name is asked once.
fn ask_seconds(root: &Root, seconds: &[Second], paths: &[&Path], deadline: Instant) -> Vec<SecondFacts> {
    let mut asked = HashMap::new();
    let of_second = |second: &Second| {
        let limit = deadline.saturating_duration_since(Instant::now()) / 2;
        let ask = || Known::from(second.ask(root, paths, limit));
        let join = asked.entry(second.database.clone()).or_insert_with(ask).clone();
        SecondFacts { second: second.clone(), join }
    };
    seconds.iter().map(of_second).collect()
}

/// Where the domain's network cards have their sockets.
pub fn switch_paths(domain: &Domain) -> impl Iterator<Item = &Path> {
    let cards = domain.endpoints.iter().filter(|endpoint| is_network_card(endpoint));
    cards.filter_map(|endpoint| endpoint.path.as_deref())
}

/// What is read once, however many VMs and sockets there are.
#[derive(Debug, Default)]
pub struct Shared {
    pub(super) seen: HashMap<PathBuf, Sight>,
    directories: HashMap<PathBuf, Held>,
    pages: Option<Pages>,
    pools: HashMap<Origin, Option<hugepages::Pool>>,
}

#[derive(Debug)]
struct Pages {
    default: Option<u64>,
    mounted: Vec<u64>,
}

impl Shared {
    /// What was seen of the switch's sockets is not looked at again.
    pub fn with(sockets: &[PortSocket]) -> Shared {
        let seen = sockets.iter().filter(|socket| !socket.followed).filter_map(|socket| {
            let PathFact::Present { chain, id } = &socket.fact else { return None };
            let (node, liveness) = (chain.last().cloned(), socket.liveness.clone());
            Some((socket.path.clone(), Sight { node, id: Some(*id), liveness }))
        });
        Shared { seen: seen.collect(), ..Shared::default() }
    }

    /// The sockets of these endpoints and the directories they are in.
    pub fn places(&mut self, root: &Root, endpoints: &[Endpoint]) -> (Vec<Directory>, Vec<Socket>) {
        let Shared { seen, directories, .. } = self;
        let held = RefCell::new(directories);
        let directory = |parent: &Path| {
            let mut held = held.borrow_mut();
            let read = || read_directory(root, parent.to_path_buf());
            held.entry(parent.to_path_buf()).or_insert_with(read).0.clone()
        };
        let sight = |directory: &Directory, path: &Path| {
            let held = held.borrow();
            let handle = held.get(&directory.path).and_then(|(_, handle)| handle.as_ref());
            seen.get(path).cloned().unwrap_or_else(|| look_at(directory, handle, path))
        };
        places(endpoints, directory, sight)
    }

    /// Which huge pages a VM needs, cell by cell, those from the same places together.
    pub fn needs(&mut self, root: &Root, memory: &MemoryBacking) -> Result<Vec<Need>> {
        if !memory.hugepages {
            return Ok(Vec::new());
        }
        let default = self.pages(root)?.default;
        needs(memory, default, |size, nodes| {
            Ok((self.pages(root)?.mounted.contains(&size), self.pool(root, size, nodes)?))
        })
    }

    fn pages(&mut self, root: &Root) -> Result<&Pages> {
        let pages = match self.pages.take() {
            Some(pages) => pages,
            None => Pages::read(root)?,
        };
        Ok(self.pages.insert(pages))
    }

    fn pool(&mut self, root: &Root, page_size: u64, nodes: &[u32]) -> Result<Option<hugepages::Pool>> {
        let origin = (page_size, nodes.to_vec());
        if let Some(known) = self.pools.get(&origin) {
            return Ok(known.clone());
        }
        let pool = hugepages::pool(root, page_size, nodes)?;
        self.pools.insert(origin, pool.clone());
        Ok(pool)
    }
}

impl Pages {
    fn read(root: &Root) -> Result<Pages> {
        let default = mounts::read_default_page_size(root)?;
        let mounted = mounts::hugetlb_of(root, default)?;
        let writable = mounted.iter().filter(|mount| !mount.read_only).map(|mount| mount.page_size);
        Ok(Pages { default, mounted: writable.collect() })
    }
}
