// SPDX-License-Identifier: Apache-2.0
//! Which huge pages a VM needs, and from which NUMA nodes.

use std::collections::HashMap;

use anyhow::{Context, Result};

use crate::facts::domains::{MemoryBacking, NumaCell};
use crate::facts::hugepages;

/// Huge pages that the VM needs from the same places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Their size in bytes.
    pub page_size: u64,
    /// How many.
    pub pages: u64,
    /// The only NUMA nodes they may come from; empty: any.
    pub nodes: Vec<u32>,
    /// A hugetlbfs of that size is mounted, or none is needed.
    pub mounted: bool,
    /// What there is; `None`: this kernel has no such pages.
    pub pool: Option<hugepages::Pool>,
}

/// Pages of a size, from these NUMA nodes.
pub(super) type Origin = (u64, Vec<u32>);

/// What a VM on huge pages needs, in order. `default` is the size of pages that it does not name; `of` tells whether a hugetlbfs of
/// a size is mounted, and what these NUMA nodes have of it.
pub fn needs(
    memory: &MemoryBacking,
    default: Option<u64>,
    mut of: impl FnMut(u64, &[u32]) -> Result<(bool, Option<hugepages::Pool>)>,
) -> Result<Vec<Need>> {
    let mut needs = Vec::new();
    for ((page_size, nodes), pages) in wanted(memory, default)? {
        let (mounted, pool) = of(page_size, &nodes)?;
        // The kernel has a hugetlbfs of its own for these: `memfd_create(2)`, `MFD_HUGETLB`.
        needs.push(Need { page_size, pages, nodes, mounted: mounted || memory.is_memfd(), pool });
    }
    needs.sort_by(|a, b| (a.page_size, &a.nodes).cmp(&(b.page_size, &b.nodes)));
    Ok(needs)
}

/// How many pages of which size, and from where.
fn wanted(memory: &MemoryBacking, default: Option<u64>) -> Result<HashMap<Origin, u64>> {
    let mut wanted: HashMap<Origin, u64> = HashMap::new();
    for (cell, size, host_nodes) in cells(memory) {
        let holds = |set: &str| hugepages::parse_set(set).is_some_and(|set| set.contains(&cell));
        let of_cell = memory.pages.iter().find(|page| page.cells.as_deref().is_some_and(holds));
        let for_all = memory.pages.iter().find(|page| page.cells.is_none());
        // Sizes are named for other cells only: this one is on ordinary pages.
        let Some(page_size) =
            of_cell.or(for_all).map(|page| page.size).or(default.filter(|_| memory.pages.is_empty()))
        else {
            continue;
        };
        let page_size = Some(page_size).filter(|size| *size > 0).context("a page size of 0")?;
        *wanted.entry((page_size, host_nodes)).or_default() += size.div_ceil(page_size);
    }
    Ok(wanted)
}

/// Each cell's number, size, and the NUMA nodes that its memory must come from.
fn cells(memory: &MemoryBacking) -> Vec<(u32, u64, Vec<u32>)> {
    let strict = |placement: Option<&str>| matches!(placement, None | Some("strict"));
    let nodes = |own: Option<&str>, own_placement: Option<&str>| {
        let placement = own_placement.or(memory.placement.as_deref());
        let set = own.or(memory.host_nodes.as_deref()).filter(|_| strict(placement));
        set.and_then(hugepages::parse_set).unwrap_or_default()
    };
    if memory.cells.is_empty() {
        return vec![(0, memory.size, nodes(None, None))];
    }
    let cell =
        |cell: &NumaCell| (cell.id, cell.size, nodes(cell.host_nodes.as_deref(), cell.placement.as_deref()));
    memory.cells.iter().map(cell).collect()
}
