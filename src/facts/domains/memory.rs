// SPDX-License-Identifier: Apache-2.0
//! Where a domain's memory comes from: vhost-user needs it shared.

use anyhow::{Context, Result, bail};
use roxmltree::Node;
use serde::{Deserialize, Serialize};

use super::{child, child_text, children, number, text};

/// What the domain says about its memory. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryBacking {
    /// `<memory>`: how much the guest starts with.
    pub size: u64,
    /// `<hugepages/>` is there.
    pub hugepages: bool,
    /// The `<page>` sizes in it; none means the node's default size.
    pub pages: Vec<PageSize>,
    /// `<source type=>`: `file`, `anonymous` or `memfd`.
    pub source: Option<String>,
    /// `<access mode=>`: `shared` or `private`.
    pub access: Option<String>,
    /// The guest's NUMA cells; none when it has no such topology.
    pub cells: Vec<NumaCell>,
    /// `<numatune><memory nodeset=>`: the node's NUMA nodes that the memory comes from.
    pub host_nodes: Option<String>,
    /// `<numatune><memory mode=>`: `strict`, `preferred`, `interleave` or `restrictive`.
    pub placement: Option<String>,
    /// `<memtune><hard_limit>`.
    #[serde(default)]
    pub hard_limit: Option<u64>,
    /// `<resource><partition>`: the cgroup it is put below.
    #[serde(default)]
    pub partition: Option<String>,
}

/// Huge pages of one size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageSize {
    /// Their size in bytes.
    pub size: u64,
    /// The guest's NUMA cells that use it; all of them when it is not said.
    pub cells: Option<String>,
}

/// A NUMA cell of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumaCell {
    /// Its number.
    pub id: u32,
    /// How much memory it has, in bytes.
    pub size: u64,
    /// `memAccess=`, which overrides the domain's `<access>`.
    pub access: Option<String>,
    /// `<memnode nodeset=>`, which overrides the domain's `host_nodes`.
    pub host_nodes: Option<String>,
    /// `<memnode mode=>`, which overrides the domain's `placement`.
    pub placement: Option<String>,
}

impl MemoryBacking {
    /// QEMU allocates it with memfd_create(2).
    pub fn is_memfd(&self) -> bool {
        self.source.as_deref() == Some("memfd")
    }

    /// Whether another process can map all of it: without that, a vhost-user device gets no memory and stays dead. QEMU
    /// shares a memfd unless it is told not to (backends/hostmem-memfd.c), and libvirt before 11.2 tells it nothing where
    /// the domain has no `<access>`; a newer one refuses such a domain by itself.
    pub fn is_shared(&self) -> bool {
        let shared = |access: &Option<String>| {
            access.as_ref().or(self.access.as_ref()).map_or(self.is_memfd(), |mode| mode == "shared")
        };
        if self.cells.is_empty() { shared(&None) } else { self.cells.iter().all(|cell| shared(&cell.access)) }
    }

    /// How much of it is on huge pages for sure, in bytes.
    pub fn on_hugepages(&self) -> u64 {
        let all = self.hugepages && self.pages.iter().all(|page| page.cells.is_none());
        let cells = self.cells.iter().fold(0, |sum: u64, cell| sum.saturating_add(cell.size));
        if !all {
            0
        } else if self.cells.is_empty() {
            self.size
        } else {
            cells
        }
    }

    /// Is the VM put where libvirt puts all that say nothing else?
    pub fn is_in_default_partition(&self) -> bool {
        self.partition.as_deref().is_none_or(|partition| partition == "/machine")
    }
}

pub(super) fn read(domain: Node) -> Result<MemoryBacking> {
    let backing = child(domain, "memoryBacking");
    let part = |name| backing.and_then(|backing| child(backing, name));
    let hugepages = part("hugepages");
    let tune = child(domain, "numatune");
    let tune_memory = tune.and_then(|tune| child(tune, "memory"));
    let hard_limit = child(domain, "memtune").and_then(|tune| child(tune, "hard_limit"));
    let resource = child(domain, "resource");
    let pages = hugepages.into_iter().flat_map(|hugepages| children(hugepages, "page")).map(page);
    Ok(MemoryBacking {
        size: child(domain, "memory").map(content_size).transpose()?.unwrap_or(0),
        hugepages: hugepages.is_some(),
        pages: pages.collect::<Result<_>>().context("reading <hugepages>")?,
        source: part("source").and_then(|source| text(source, "type")),
        access: part("access").and_then(|access| text(access, "mode")),
        cells: cells(domain, tune).context("reading <numa>")?,
        host_nodes: tune_memory.and_then(|memory| text(memory, "nodeset")),
        placement: tune_memory.and_then(|memory| text(memory, "mode")),
        hard_limit: hard_limit.and_then(|limit| content_size(limit).ok()),
        partition: resource.and_then(|resource| child_text(resource, "partition")),
    })
}

fn page(page: Node) -> Result<PageSize> {
    let size = page.attribute("size").context("a <page> without size")?;
    Ok(PageSize { size: bytes(size, page.attribute("unit"))?, cells: text(page, "nodeset") })
}

fn cells(domain: Node, tune: Option<Node>) -> Result<Vec<NumaCell>> {
    let numa = child(domain, "cpu").and_then(|cpu| child(cpu, "numa"));
    let mut found = Vec::new();
    for (index, cell) in numa.into_iter().flat_map(|numa| children(numa, "cell")).enumerate() {
        let id = number(cell, "id")?.unwrap_or(u32::try_from(index)?);
        let size = cell.attribute("memory").map_or(Ok(0), |size| bytes(size, cell.attribute("unit")))?;
        let is_ours = |node: &Node| node.attribute("cellid").and_then(|cell| cell.parse().ok()) == Some(id);
        let memnode = tune.and_then(|tune| children(tune, "memnode").find(is_ours));
        let host_nodes = memnode.and_then(|node| text(node, "nodeset"));
        let placement = memnode.and_then(|node| text(node, "mode"));
        found.push(NumaCell { id, size, access: text(cell, "memAccess"), host_nodes, placement });
    }
    Ok(found)
}

fn content_size(node: Node) -> Result<u64> {
    let size = node.text().with_context(|| format!("<{}> is empty", node.tag_name().name()))?;
    bytes(size, node.attribute("unit")).with_context(|| format!("reading <{}>", node.tag_name().name()))
}

/// libvirt's scaled integers (`virScaleInteger`): KiB where no unit is given; `KB` is 1000, `KiB`, `K` and `k` are 1024.
fn bytes(size: &str, unit: Option<&str>) -> Result<u64> {
    let number: u64 =
        size.trim().parse().with_context(|| format!("'{}' is not a number", size.escape_debug()))?;
    let unit = unit.unwrap_or("KiB").to_ascii_lowercase();
    if unit == "b" || unit == "bytes" || unit == "byte" {
        return Ok(number);
    }
    let (letter, rest) = unit.split_at_checked(1).unwrap_or((&unit, ""));
    let base: u64 = match rest {
        "" | "ib" => 1024,
        "b" => 1000,
        _ => bail!("'{}' is not a unit", unit.escape_debug()),
    };
    let power = "kmgtpe".find(letter).filter(|_| !letter.is_empty());
    let power = power.with_context(|| format!("'{}' is not a unit", unit.escape_debug()))?;
    let factor = base.checked_pow(u32::try_from(power + 1)?).context("out of range")?;
    number.checked_mul(factor).context("out of range")
}
