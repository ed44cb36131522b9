// SPDX-License-Identifier: Apache-2.0
//! What else on the node has a say: security modules, tmpfiles.d, default ACLs, the rest of qemu.conf, huge pages. What
//! is not there, or may not be read, says nothing.

mod mac;
mod tmpfiles;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

pub use mac::{SeLinux, parse_label_type};
pub use tmpfiles::{TmpfilesLine, parse_tmpfiles};

use super::mounts::HugetlbMount;
use crate::access::Acl;
use crate::accord::Accord;
use crate::edit::virconf::{Value, VirConf};
use crate::paths;
use crate::root::{Root, told};

/// Keys of qemu.conf that rules look at; `group` is an item of the accord (libvirt, src/qemu/qemu.conf.in).
const KEYS: [&str; 6] = [
    "user",
    "security_driver",
    "dynamic_ownership",
    "clear_emulator_capabilities",
    "namespaces",
    "hugetlbfs_mount",
];
const POOLS: &str = "/sys/kernel/mm/hugepages";

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
    /// The hugetlbfs mounts now.
    pub hugetlb: Vec<HugetlbMount>,
    /// Huge pages of all sizes, free or not, and those that may be made on demand; `None` in an image.
    pub hugepages: Option<u64>,
}

impl Surroundings {
    /// Reads them. `hugetlb` are the mounts, which the accord was made by.
    pub fn read(root: &Root, accord: &Accord, hugetlb: Vec<HugetlbMount>) -> Result<Surroundings> {
        let directory = told(root.find_nofollow(&accord.socket_directory))?.flatten();
        let acl =
            directory.as_ref().map(|found| told(found.xattr(Acl::DEFAULT))).transpose()?.flatten().flatten();
        let runs = root.runs();
        Ok(Surroundings {
            qemu_conf: qemu_conf(root)?,
            socket_directory_default_acl: acl.and_then(|bytes| Acl::parse(&bytes).ok()),
            selinux: if runs { told(mac::selinux(root, directory.as_ref()))?.flatten() } else { None },
            apparmor_disabled: if runs {
                told(mac::apparmor_disabled(root))?.unwrap_or_default()
            } else {
                Vec::new()
            },
            tmpfiles: told(tmpfiles::read(root, accord))?.unwrap_or_default(),
            hugetlb,
            hugepages: if runs { told(hugepages(root))?.flatten() } else { None },
        })
    }
}

fn qemu_conf(root: &Root) -> Result<BTreeMap<String, Value>> {
    let text = root.read_text(Path::new(paths::QEMU_CONF))?.unwrap_or_default();
    let Ok(conf) = VirConf::parse(&text) else { return Ok(BTreeMap::new()) };
    Ok(KEYS.iter().filter_map(|key| Some((key.to_string(), conf.get(key)?))).collect())
}

fn hugepages(root: &Root) -> Result<Option<u64>> {
    let pools = root.list(Path::new(POOLS))?;
    let mut sum = 0;
    for pool in &pools {
        for file in ["nr_hugepages", "nr_overcommit_hugepages"] {
            let text = root.read_text(&Path::new(POOLS).join(pool).join(file))?.unwrap_or_default();
            let Ok(number) = text.trim().parse::<u64>() else { return Ok(None) };
            sum += number;
        }
    }
    Ok((!pools.is_empty()).then_some(sum))
}
