// SPDX-License-Identifier: Apache-2.0
//! Limits of memory above the VMs, where huge pages count in them: with the mount option `memory_hugetlb_accounting`
//! (Documentation/admin-guide/cgroup-v2.rst, Linux 6.6), which systemd sets since 259.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use crate::facts::mounts;
use crate::root::Root;

const CGROUPS: &str = "/sys/fs/cgroup";
/// Where systemd puts VMs for libvirt.
const MACHINES: &str = "/machine.slice";

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryLimit {
    /// The unit that has it.
    pub unit: String,
    /// `MemoryMax`, above which the kernel kills, or `MemoryHigh`, above which it slows down.
    pub key: &'static str,
    /// In bytes.
    pub bytes: u64,
}

/// The limits above all VMs, one of which may run as `guest`; `None` where huge pages do not count.
pub(super) fn read(root: &Root, guest: Option<u32>) -> Result<Option<Vec<MemoryLimit>>> {
    let mounted = root.read(Path::new("/proc/self/mountinfo"))?.unwrap_or_default();
    if !mounts::counts_hugepages(&mounted) {
        return Ok(None);
    }
    let mut limits = Vec::new();
    for unit in above(root, guest)? {
        for (file, key) in [("memory.max", "MemoryMax"), ("memory.high", "MemoryHigh")] {
            let path = Path::new(CGROUPS).join(&unit).join(file);
            let text = root.read_text(&path)?.unwrap_or_default();
            // "max" is none.
            if let (Ok(bytes), Some(name)) = (text.trim().parse(), unit.file_name()) {
                limits.push(MemoryLimit { unit: name.to_string_lossy().into_owned(), key, bytes });
            }
        }
    }
    Ok(Some(limits))
}

/// The units that VMs run below, outermost first: where one runs, and otherwise where systemd would put it. A VM's own
/// scope is new at each start.
fn above(root: &Root, guest: Option<u32>) -> Result<Vec<PathBuf>> {
    let text = guest.map(|pid| root.read_text(Path::new(&format!("/proc/{pid}/cgroup"))));
    let text = text.transpose()?.flatten();
    let found = text.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("0::")));
    Ok(units_of(found.filter(|path| !path.starts_with("/..")).unwrap_or(MACHINES)))
}

fn units_of(cgroup: &str) -> Vec<PathBuf> {
    let mut path = PathBuf::new();
    let mut units = Vec::new();
    for part in cgroup.split('/').filter(|part| !part.is_empty()) {
        path.push(part);
        if part.ends_with(".slice") || part.ends_with(".service") {
            units.push(path.clone());
        }
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_where_huge_pages_count_in_them() {
        let tree = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let root = Root::open(tree.path()).unwrap();
        let mounted =
            "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot";
        write("sys/fs/cgroup/machine.slice/memory.max", "1073741824\n");
        write("sys/fs/cgroup/machine.slice/memory.high", "max\n");
        write("sys/fs/cgroup/system.slice/libvirtd.service/memory.high", "4096\n");
        write("proc/self/mountinfo", mounted);
        assert_eq!(read(&root, None).unwrap(), None);
        write("proc/self/mountinfo", &format!("{mounted},memory_hugetlb_accounting\n"));
        let limit = |unit: &str, key, bytes| MemoryLimit { unit: unit.to_string(), key, bytes };
        let machines = Some(vec![limit("machine.slice", "MemoryMax", 1 << 30)]);
        assert_eq!(read(&root, None).unwrap(), machines);
        // Seen from another cgroup namespace.
        write("proc/7/cgroup", "1:cpu:/\n0::/../../machine.slice/x.scope\n");
        assert_eq!(read(&root, Some(7)).unwrap(), machines);
        write("proc/8/cgroup", "0::/system.slice/libvirtd.service\n");
        assert_eq!(read(&root, Some(8)).unwrap(), Some(vec![limit("libvirtd.service", "MemoryHigh", 4096)]));
    }

    #[test]
    fn a_vms_own_scope_is_none_of_those_above() {
        let units = units_of("/machine.slice/machine-qemu\\x2d1\\x2dvms.scope/libvirt/emulator");
        assert_eq!(units, [PathBuf::from("machine.slice")]);
        let units = units_of("/system.slice/libvirtd.service");
        assert_eq!(units, ["system.slice", "system.slice/libvirtd.service"].map(PathBuf::from));
    }
}
