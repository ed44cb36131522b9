// SPDX-License-Identifier: Apache-2.0
//! Mounts of hugetlbfs (`/proc/self/mountinfo`, proc(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::base::root::Root;
use crate::base::root::listing::unescape;

/// A mounted hugetlbfs that its path really leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HugetlbMount {
    /// Where it is mounted.
    pub path: PathBuf,
    /// The size of its pages in bytes.
    pub page_size: u64,
    /// Options of the mount, then those of the filesystem (`gid=`, `mode=`, `size=`...), as the kernel prints them. The
    /// owner and mode of the mount's root directory count, not these: they are only what it began with.
    pub options: Vec<String>,
    /// Nothing can be written to it.
    pub read_only: bool,
    /// How many other hugetlbfs are hidden below it, at the same path.
    #[serde(default)]
    pub hides: usize,
    /// Mounts of other filesystems in it, each with its type: what is written there takes no huge pages.
    #[serde(default)]
    pub masked_by: Vec<(PathBuf, String)>,
}

impl HugetlbMount {
    /// The bytes that its option `size=` lets files have; `None`: as many as there are.
    pub fn cap(&self) -> Option<u64> {
        parse_size(self.options.iter().find_map(|option| option.strip_prefix("size="))?).ok()
    }
}

/// One line of mountinfo.
#[derive(Debug)]
struct Mount<'a> {
    id: u32,
    parent: u32,
    path: PathBuf,
    options: &'a str,
    kind: &'a str,
    super_options: &'a str,
}

/// The hugetlbfs mounts that we see, in the order of their paths.
pub fn hugetlb(root: &Root) -> Result<Vec<HugetlbMount>> {
    hugetlb_of(root, read_default_page_size(root)?)
}

/// The same where the default page size is known already.
pub fn hugetlb_of(root: &Root, default_page_size: Option<u64>) -> Result<Vec<HugetlbMount>> {
    let path = Path::new("/proc/self/mountinfo");
    let Some(text) = root.read(path)? else { return Ok(Vec::new()) };
    parse_hugetlb(&text, default_page_size).with_context(|| format!("reading {}", path.display()))
}

/// The node's default huge page size in bytes; `None` without huge pages.
pub fn read_default_page_size(root: &Root) -> Result<Option<u64>> {
    let meminfo = root.read_text(Path::new("/proc/meminfo"))?.unwrap_or_default();
    Ok(default_page_size(&meminfo))
}

/// The node's default huge page size in bytes, from the text of `/proc/meminfo`. `None` without huge pages.
pub fn default_page_size(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("Hugepagesize:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Reads the text of a mountinfo. Where mounts are stacked, only the topmost counts.
pub fn parse_hugetlb(text: &[u8], default_page_size: Option<u64>) -> Result<Vec<HugetlbMount>> {
    // A path may hold bytes that are no text; all but the path is ASCII, so nothing of interest is lost here.
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let mounts = lines.iter().map(|line| parse_line(line)).collect::<Result<Vec<_>>>()?;
    let mut found = Vec::new();
    for mount in mounts.iter().filter(|mount| mount.kind == "hugetlbfs" && is_reachable(mount, &mounts)) {
        let others = || mounts.iter().filter(|other| other.id != mount.id);
        let hides = others().filter(|other| other.kind == "hugetlbfs" && other.path == mount.path).count();
        let inside = |other: &&Mount| other.kind != "hugetlbfs" && is_below(&other.path, &mount.path);
        let reachable = others().filter(inside).filter(|other| is_reachable(other, &mounts));
        let masked_by = reachable.map(|other| (other.path.clone(), other.kind.to_string())).collect();
        found.push(HugetlbMount { hides, masked_by, ..describe(mount, default_page_size)? });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Whether the mount that a path is on, or its filesystem, is read-only, by the text of a mountinfo.
pub fn is_read_only(text: &[u8], path: &Path) -> Result<bool> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut found: Option<Mount<'_>> = None;
    for line in lines {
        let mount = parse_line(line)?;
        let deeper = |found: &Mount<'_>| mount.path.components().count() >= found.path.components().count();
        // Of those at the same place the last is on top.
        if path.starts_with(&mount.path) && found.as_ref().is_none_or(deeper) {
            found = Some(mount);
        }
    }
    let mount = found.with_context(|| format!("no mount has {}", path.display()))?;
    Ok(mount.options.split(',').chain(mount.super_options.split(',')).any(|option| option == "ro"))
}

fn parse_line(line: &[u8]) -> Result<Mount<'_>> {
    let wrong = || format!("'{}' is not a line of mountinfo", line.escape_ascii());
    let mut words = line.split(|byte| *byte == b' ');
    let mut word = || words.next().with_context(wrong);
    let text = |bytes| std::str::from_utf8(bytes).with_context(wrong);
    let (id, parent) = (text(word()?)?, text(word()?)?);
    let (_device, _root, path, options) = (word()?, word()?, word()?, text(word()?)?);
    while word()? != b"-" {}
    let (kind, _source, super_options) = (text(word()?)?, word()?, word()?);
    Ok(Mount {
        id: id.parse().with_context(wrong)?,
        parent: parent.parse().with_context(wrong)?,
        path: PathBuf::from(OsString::from_vec(unescape(path))),
        options,
        kind,
        // Other filesystems may print paths in theirs, with any bytes.
        super_options: std::str::from_utf8(super_options).unwrap_or_default(),
    })
}

/// Whether the mount's path leads to it: nothing is mounted over it, nor over a directory on the way to it.
fn is_reachable(mount: &Mount, all: &[Mount]) -> bool {
    let (mut current, mut below) = (mount, None);
    // Ends: each step goes one mount up, and there are no more than these.
    for _ in all {
        let covered = |other: &Mount| {
            let over_it = other.parent == current.id && other.path == current.path && Some(other.id) != below;
            let above_it = other.parent == current.parent
                && other.id != current.id
                && is_below(&current.path, &other.path);
            over_it || above_it
        };
        if all.iter().any(covered) {
            return false;
        }
        let parent = all.iter().find(|other| other.id == current.parent && other.id != current.id);
        let Some(parent) = parent else { return true };
        (current, below) = (parent, Some(current.id));
    }
    true
}

fn is_below(path: &Path, dir: &Path) -> bool {
    path != dir && dir != Path::new("/") && path.starts_with(dir)
}

fn describe(mount: &Mount, default_page_size: Option<u64>) -> Result<HugetlbMount> {
    let options: Vec<String> =
        mount.options.split(',').chain(mount.super_options.split(',')).map(str::to_string).collect();
    let stated = options.iter().find_map(|option| option.strip_prefix("pagesize="));
    let page_size = match stated {
        Some(size) => parse_size(size).with_context(|| format!("reading pagesize={size}"))?,
        None => default_page_size.context("the default huge page size is not known")?,
    };
    let read_only = options.iter().any(|option| option == "ro");
    let (path, hides, masked_by) = (mount.path.clone(), 0, Vec::new());
    Ok(HugetlbMount { path, page_size, options, read_only, hides, masked_by })
}

/// Where filesystems of these types are mounted.
pub fn mounts_of(text: &[u8], kinds: &[&str]) -> Vec<PathBuf> {
    let mounts = text.split(|byte| *byte == b'\n').filter_map(|line| parse_line(line).ok());
    mounts.filter(|mount| kinds.contains(&mount.kind)).map(|mount| mount.path).collect()
}

/// Do huge pages count in limits of memory, by the text of a mountinfo?
pub fn counts_hugepages(text: &[u8]) -> bool {
    let mounts = text.split(|byte| *byte == b'\n').filter_map(|line| parse_line(line).ok());
    let mut options = mounts.filter(|mount| mount.kind == "cgroup2").map(|mount| mount.super_options);
    options.any(|options| options.split(',').any(|option| option == "memory_hugetlb_accounting"))
}

/// `2M`, `1024M`, `1G`, `64K` or plain bytes.
fn parse_size(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(['K', 'M', 'G']);
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        unit => bail!("'{unit}' is not a unit"),
    };
    digits.parse::<u64>()?.checked_mul(1 << shift).context("out of range")
}
