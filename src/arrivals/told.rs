// SPDX-License-Identifier: Apache-2.0
//! The same where nobody can look: the node that they come to is known by its fingerprint. Its ports, sockets and
//! directories are not in that; what depends on them is not judged, or unknown.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Arrival, arriving};
use crate::base::paths::same_path;
use crate::facts::Known;
use crate::facts::domains::{Domain, MemoryBacking, SocketMode, is_network_card};
use crate::facts::hugepages::Pool;
use crate::fingerprint::Fingerprint;
use crate::node::endpoints::start::{Directory, Facts, Need, wanted};

impl Arrival {
    /// Of a VM that would come to the node of this fingerprint.
    pub fn told(here: &Fingerprint, vm: &Domain) -> Arrival {
        let domain = arriving(vm);
        let directories = unknown(here, &domain);
        let memory = Known::from(needs(here, &domain.memory));
        let facts = Facts { directories, memory, ..Facts::unknown_yet() };
        Arrival { domain, facts, held: Vec::new(), turned: Vec::new(), told: true }
    }
}

/// A VM without what is its own: two of one shape meet the same on any node, unless it has a VM of that name or UUID.
pub fn shape(vm: &Domain) -> Domain {
    let mut shape = arriving(vm);
    shape.name.clear();
    shape.uuid = None;
    for endpoint in &mut shape.endpoints {
        (endpoint.mac, endpoint.alias, endpoint.target) = (None, None, None);
        if let Some(path) = &mut endpoint.path {
            path.pop();
        }
    }
    shape
}

/// Where its sockets would be, if that is not where this node has them, and who would serve them, if nobody knows. The hook
/// turns what comes in to the node's own directory where `incoming` is set.
fn unknown(here: &Fingerprint, vm: &Domain) -> Vec<Directory> {
    let mut found: Vec<Directory> = Vec::new();
    let mut add = |path: &Path, why: String| {
        if found.iter().all(|directory| directory.path != path) {
            found.push(Directory { path: path.to_path_buf(), fact: Known::Unknown(why), default_acl: None });
        }
    };
    for card in vm.endpoints.iter().filter(|endpoint| is_network_card(endpoint)) {
        if here.dataplane.is_none() {
            add(Path::new(""), "the user of the dataplane on this node is unknown".to_string());
        }
        let own = match card.mode {
            SocketMode::Server => Some(&here.socket_directory),
            SocketMode::Client => here.server_directory.as_ref(),
        };
        let parent = card.path.as_deref().and_then(Path::parent);
        if let (Some(own), Some(parent), None) = (own, parent, &here.incoming)
            && !same_path(own, parent)
        {
            let (parent_text, own) = (parent.display(), own.display());
            add(
                parent,
                format!("its socket is in {parent_text}; this node uses {own} and may not have the other"),
            );
        }
    }
    found
}

/// As [`Facts::memory`] has them, without NUMA nodes: a fingerprint counts the pages of all together.
fn needs(here: &Fingerprint, memory: &MemoryBacking) -> Result<Vec<Need>> {
    if !memory.hugepages {
        return Ok(Vec::new());
    }
    if memory.pages.is_empty() {
        here.default_page_size.context("the default size of huge pages on this node is unknown")?;
    }
    let mut by_size: BTreeMap<u64, u64> = BTreeMap::new();
    for ((size, _), pages) in wanted(memory, here.default_page_size)? {
        let sum = by_size.entry(size).or_default();
        *sum = sum.saturating_add(pages);
    }
    let need = |(page_size, pages)| {
        let of_size = here.pages.iter().find(|pages| pages.size == page_size);
        let pool = of_size.map(|pages| Pool {
            page_size,
            available: pages.available,
            on_demand: 0,
            nodes: Vec::new(),
        });
        let mounted = memory.is_memfd() || of_size.is_some_and(|pages| !pages.mounts.is_empty());
        Need { page_size, pages, nodes: Vec::new(), mounted, pool }
    };
    Ok(by_size.into_iter().map(need).collect())
}
