// SPDX-License-Identifier: Apache-2.0
//! What else on the node has a say: security modules, tmpfiles.d, default ACLs, the rest of qemu.conf, huge pages. What
//! is not there, or may not be read, says nothing.

mod limits;
mod mac;
mod overrides;
mod tmpfiles;
mod udev;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

pub use limits::MemoryLimit;
pub use mac::{DAC_BOOLEAN, SeLinux, parse_label_type};
pub use overrides::LaterDropIn;
pub use tmpfiles::{TmpfilesLine, parse_tmpfiles};
pub use udev::UdevRule;

use super::hugepages;
use super::mounts::HugetlbMount;
use crate::access::Acl;
use crate::base::paths;
use crate::base::root::{Root, told};
use crate::edit::virconf::{Value, VirConf};
use crate::systemd::UnitFact;

/// Keys of qemu.conf that rules look at; `group` is an item of the accord (libvirt, src/qemu/qemu.conf.in).
const KEYS: [&str; 6] = [
    "user",
    "security_driver",
    "dynamic_ownership",
    "clear_emulator_capabilities",
    "namespaces",
    "hugetlbfs_mount",
];

/// What else has a say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Surroundings {
    /// Keys of qemu.conf that are set; empty where libvirt would not read it.
    pub qemu_conf: BTreeMap<String, Value>,
    /// The default ACL of the socket directory.
    pub socket_directory_default_acl: Option<Acl>,
    /// SELinux; `None` where the kernel has none or its state cannot be read.
    pub selinux: Option<SeLinux>,
    /// AppArmor is on, and an administrator switched off profiles of this name for libvirt.
    pub apparmor_disabled: Vec<String>,
    /// Lines of tmpfiles.d that are in force for paths of the accord, ours left out.
    pub tmpfiles: Vec<TmpfilesLine>,
    /// The units that the accord has drop-ins for, by their files; empty on a running node, where systemd was asked.
    pub units: Vec<UnitFact>,
    /// Drop-ins of others that count after ours.
    pub later: Vec<LaterDropIn>,
    /// The hugetlbfs mounts now.
    pub hugetlb: Vec<HugetlbMount>,
    /// Rules of udev in force that give device nodes to the shared group, where systemd minds its number.
    pub udev_rules: Vec<UdevRule>,
    /// Limits of memory above all VMs; `None` where huge pages do not count in them, or nothing runs.
    pub memory_limits: Option<Vec<MemoryLimit>>,
    /// Bytes of huge pages that exist or may be made on demand, by the size of a page; empty where that is not known, as in
    /// an image.
    pub pools: BTreeMap<u64, u64>,
    /// Files of defaults in which `DPDK_OPTS=` is set, which Open vSwitch does not read since 2.6.
    pub dpdk_opts: Vec<PathBuf>,
}

/// What they are looked at for.
#[derive(Debug, Clone)]
pub struct Concern<'a> {
    /// Where QEMU creates its sockets.
    pub socket_directory: &'a Path,
    /// Directories whose lines of tmpfiles.d count.
    pub directories: Vec<&'a Path>,
    /// Our drop-ins, each with its unit.
    pub drop_ins: Vec<(&'a str, &'a Path)>,
    /// The shared group's name and number.
    pub group: (&'a str, u32),
    /// Where recipes of 2016 put the options of DPDK.
    pub environments: &'a [&'a str],
}

/// What runs of it.
#[derive(Debug, Clone, Copy)]
pub struct Running<'a> {
    /// The units that we have drop-ins for.
    pub units: &'a [UnitFact],
    /// The process of a VM.
    pub guest: Option<u32>,
}

impl Surroundings {
    /// Reads them. `units` are those that we have drop-ins for, in an image; `running` what of them and of VMs runs.
    pub fn read(
        root: &Root,
        concern: &Concern<'_>,
        units: Vec<UnitFact>,
        hugetlb: Vec<HugetlbMount>,
        running: Option<Running<'_>>,
    ) -> Result<Surroundings> {
        let later = overrides::read(
            root,
            &concern.drop_ins,
            running.map_or(units.as_slice(), |running| running.units),
        )?;
        let directory = told(root.find_nofollow(concern.socket_directory))?.flatten();
        let runs = root.runs();
        Ok(Surroundings {
            qemu_conf: qemu_conf(root)?,
            socket_directory_default_acl: directory
                .as_ref()
                .and_then(|found| Acl::of(found, Acl::DEFAULT).ok()?),
            selinux: known(runs, || mac::selinux(root, directory.as_ref()))?,
            apparmor_disabled: known(runs, || mac::apparmor_disabled(root))?,
            tmpfiles: known(true, || tmpfiles::read(root, &concern.directories))?,
            units,
            later,
            hugetlb,
            udev_rules: known(true, || udev::read(root, concern.group))?,
            pools: known(runs, || hugepages::pools(root))?,
            dpdk_opts: known(true, || dpdk_opts(root, concern.environments))?,
            memory_limits: known(running.is_some(), || {
                limits::read(root, running.and_then(|running| running.guest))
            })?,
        })
    }
}

/// Nothing where it is not asked, or the report does not tell.
fn known<T: Default>(asked: bool, read: impl FnOnce() -> Result<T>) -> Result<T> {
    Ok(if asked { told(read())?.unwrap_or_default() } else { T::default() })
}

fn qemu_conf(root: &Root) -> Result<BTreeMap<String, Value>> {
    let text = root.read_text(Path::new(paths::QEMU_CONF))?.unwrap_or_default();
    let Ok(conf) = VirConf::parse(&text) else { return Ok(BTreeMap::new()) };
    Ok(KEYS.iter().filter_map(|key| Some((key.to_string(), conf.get(key)?))).collect())
}

fn dpdk_opts(root: &Root, environments: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in environments.iter().map(Path::new) {
        let text = root.read_text(path)?.unwrap_or_default();
        let is_set = |line: &str| {
            let value = line.trim_start().strip_prefix("DPDK_OPTS=");
            value.is_some_and(|value| !value.trim_matches(['"', '\'', ' ']).is_empty())
        };
        if text.lines().any(is_set) {
            found.push(path.to_path_buf());
        }
    }
    Ok(found)
}
