// SPDX-License-Identifier: Apache-2.0
//! How many huge pages of a size are free (Documentation/admin-guide/mm/hugetlbpage.rst of Linux).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::base::root::Root;

/// Pages of one size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pool {
    /// Their size in bytes.
    pub page_size: u64,
    /// How many a process could still get: free ones that nobody reserved, and those that may be made on demand.
    pub available: u64,
    /// How many the kernel may make on demand; while there are any, a node's count is no limit.
    pub on_demand: u64,
    /// Free pages of each NUMA node that was asked for, reserved or not: the kernel counts reservations for all together.
    pub nodes: Vec<(u32, u64)>,
}

const POOLS: &str = "/sys/kernel/mm/hugepages";

/// A page size in words.
pub fn text(bytes: u64) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ => format!("{} KiB", bytes >> 10),
    }
}

/// The page sizes that this kernel has, in bytes, the smallest first.
pub fn sizes(root: &Root) -> Result<Vec<u64>> {
    let size = |name: OsString| {
        let kib: u64 = name.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        kib.checked_mul(1024)
    };
    let mut sizes: Vec<u64> = root.list(Path::new(POOLS))?.into_iter().filter_map(size).collect();
    sizes.sort_unstable();
    Ok(sizes)
}

/// The NUMA nodes of this machine.
pub fn nodes(root: &Root) -> Result<Vec<u32>> {
    let names = root.list(Path::new("/sys/devices/system/node"))?;
    let mut nodes: Vec<u32> =
        names.iter().filter_map(|name| name.to_str()?.strip_prefix("node")?.parse().ok()).collect();
    nodes.sort_unstable();
    Ok(nodes)
}

/// Bytes of huge pages that exist or may be made on demand, by the size of a page; none where one of them is not known.
pub fn pools(root: &Root) -> Result<BTreeMap<u64, u64>> {
    let mut found = BTreeMap::new();
    for size in sizes(root)? {
        let count = |file: &str| number(root, &Path::new(POOLS).join(name(size)).join(file));
        let (exist, on_demand) = (count("nr_hugepages"), count("nr_overcommit_hugepages"));
        let (Ok(exist), Ok(on_demand)) = (exist, on_demand) else { return Ok(BTreeMap::new()) };
        found.insert(size, exist.saturating_add(on_demand).saturating_mul(size));
    }
    Ok(found)
}

/// How many pages of this size there are, free or not.
pub fn total(root: &Root, page_size: u64) -> Result<u64> {
    number(root, &Path::new(POOLS).join(name(page_size)).join("nr_hugepages"))
}

fn name(page_size: u64) -> String {
    format!("hugepages-{}kB", page_size >> 10)
}

/// The pool of this page size; `None` where the kernel has none of it.
pub fn pool(root: &Root, page_size: u64, nodes: &[u32]) -> Result<Option<Pool>> {
    let name = name(page_size);
    let Some(all) = root.find(&Path::new(POOLS).join(&name))? else { return Ok(None) };
    // The directory is held: each file is a step from there.
    let count = |file: &str| {
        let content = all.entry(OsStr::new(file))?.map(|file| file.read()).transpose()?;
        parse(content, &all.path().join(file))
    };
    let (free, reserved) = (count("free_hugepages")?, count("resv_hugepages")?);
    let on_demand = count("nr_overcommit_hugepages")?.saturating_sub(count("surplus_hugepages")?);
    let mut counted = Vec::new();
    for node in nodes {
        let directory = PathBuf::from(format!("/sys/devices/system/node/node{node}/hugepages/{name}"));
        counted.push((*node, number(root, &directory.join("free_hugepages"))?));
    }
    let available = free.saturating_sub(reserved) + on_demand;
    Ok(Some(Pool { page_size, available, on_demand, nodes: counted }))
}

fn number(root: &Root, path: &Path) -> Result<u64> {
    parse(root.read(path)?, path)
}

fn parse(content: Option<Vec<u8>>, path: &Path) -> Result<u64> {
    let content = content.with_context(|| format!("{} is missing", path.display()))?;
    let text = std::str::from_utf8(&content);
    let text = text.with_context(|| format!("{} is not UTF-8 text", path.display()))?;
    text.trim().parse().with_context(|| format!("{} is not a number", path.display()))
}

/// libvirt's set of numbers, `0-3,^2,7` (virBitmapParse); `None` for what is none.
pub fn parse_set(text: &str) -> Option<Vec<u32>> {
    /// More NUMA nodes or cells than any machine has.
    const MOST: u32 = 4096;
    let mut found: Vec<u32> = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (without, part) = part.strip_prefix('^').map_or((false, part), |part| (true, part));
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last >= MOST || first > last {
            return None;
        }
        found.retain(|number| !(first..=last).contains(number));
        if !without {
            found.extend(first..=last);
        }
    }
    found.sort_unstable();
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_as_libvirt_does() {
        assert_eq!(parse_set("0"), Some(vec![0]));
        assert_eq!(parse_set("0-3,^2, 7"), Some(vec![0, 1, 3, 7]));
        for wrong in ["", "x", "3-1", "0-", "0-99999999", "-1"] {
            assert_eq!(parse_set(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_pool_is_what_can_still_be_had() {
        let image = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = image.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let all = "sys/kernel/mm/hugepages/hugepages-2048kB";
        write(&format!("{all}/free_hugepages"), "10\n");
        write(&format!("{all}/resv_hugepages"), "4\n");
        write(&format!("{all}/nr_overcommit_hugepages"), "3\n");
        write(&format!("{all}/surplus_hugepages"), "1\n");
        write("sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", "7\n");
        let root = Root::open(image.path()).unwrap();
        let found = pool(&root, 2 << 20, &[1]).unwrap();
        assert_eq!(found, Some(Pool { page_size: 2 << 20, available: 8, on_demand: 2, nodes: vec![(1, 7)] }));
        assert_eq!(pool(&root, 1 << 30, &[]).unwrap(), None);
        write(&format!("{all}/nr_hugepages"), "12\n");
        assert_eq!((sizes(&root).unwrap(), total(&root, 2 << 20).unwrap()), (vec![2 << 20], 12));
        assert!(pool(&root, 2 << 20, &[0]).is_err());
    }
}
