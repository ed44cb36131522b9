// SPDX-License-Identifier: Apache-2.0
//! Huge pages that a VM would need, and those that a fingerprint has.

use anyhow::{Context, Result};

use crate::facts::domains::MemoryBacking;
use crate::facts::hugepages::Pool;
use crate::fingerprint::{Fingerprint, Pages};
use crate::node::endpoints::needs::{self, Need};

/// As [`Facts::memory`](crate::node::endpoints::start::Facts::memory) has them.
pub fn needs(here: &Fingerprint, memory: &MemoryBacking) -> Result<Vec<Need>> {
    if !memory.hugepages {
        return Ok(Vec::new());
    }
    if memory.pages.is_empty() {
        here.default_page_size.context("the default size of huge pages on this node is unknown")?;
    }
    needs::needs(memory, here.default_page_size, |size, nodes| {
        let of_size = here.pages.iter().find(|pages| pages.size == size);
        let mounted = of_size.is_some_and(|pages| !pages.mounts.is_empty());
        Ok((mounted, of_size.map(|pages| pool(pages, nodes)).transpose()?))
    })
}

fn pool(pages: &Pages, nodes: &[u32]) -> Result<Pool> {
    let counted = |node: &u32| {
        let found = pages.nodes.iter().find(|(known, _)| known == node);
        found.copied().with_context(|| format!("the huge pages of NUMA node {node} on this node are unknown"))
    };
    Ok(Pool {
        page_size: pages.size,
        available: pages.available,
        on_demand: pages.on_demand,
        nodes: nodes.iter().map(counted).collect::<Result<_>>()?,
    })
}
