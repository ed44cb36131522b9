// SPDX-License-Identifier: Apache-2.0
//! Huge pages: that there are any, and mounts that can be written.

use super::{Case, Evidence, Level, Rule};
use crate::base::shell;
use crate::edit::virconf::Value;
use crate::mends;

pub const RULES: &[Rule] = &[
    Rule {
        id: "hugepages-read-only",
        level: Level::Broken,
        cause: "QEMU cannot create the VM's memory: 'can't open backing store ... Read-only file system'",
        check: read_only,
    },
    Rule {
        id: "hugepages-none",
        level: Level::Broken,
        cause: "DPDK and VMs need hugepages for shared memory: 'EAL: Cannot get hugepage information'",
        check: none,
    },
    Rule {
        id: "hugepages-no-mount",
        level: Level::Broken,
        cause: "libvirt needs a mount of hugetlbfs: 'hugetlbfs filesystem is not mounted or disabled by administrator config'",
        check: no_mount,
    },
    Rule {
        id: "hugepages-disabled-in-qemu-conf",
        level: Level::Broken,
        cause: "libvirt needs a mount of hugetlbfs: 'hugetlbfs filesystem is not mounted or disabled by administrator config'",
        check: disabled,
    },
];

fn read_only(case: &Case<'_>) -> Vec<Evidence> {
    let mounts = case.surroundings.hugetlb.iter().filter(|mount| mount.read_only);
    let evidence = |mount: &crate::facts::mounts::HugetlbMount| {
        let path = mount.path.display().to_string();
        let mend = format!(
            "mount -o remount,rw {}  # and remove 'ro' from its unit or fstab",
            shell::path(&mount.path)
        );
        Evidence::mended_by(path, "mounted read-only", mend)
    };
    mounts.map(evidence).collect()
}

/// Nobody misses them where no dataplane runs.
fn has_dataplane(case: &Case<'_>) -> bool {
    case.live.is_some_and(|live| live.vswitchd().is_some())
}

fn none(case: &Case<'_>) -> Vec<Evidence> {
    if case.surroundings.hugepages != Some(0) || !has_dataplane(case) {
        return Vec::new();
    }
    let mend = "reserve them at boot (kernel: hugepagesz=1G hugepages=N), or sysctl -w vm.nr_hugepages=N";
    vec![Evidence::mended_by(
        "huge pages",
        "none are reserved, and the kernel may not allocate any on demand",
        mend,
    )]
}

fn no_mount(case: &Case<'_>) -> Vec<Evidence> {
    let known = case.surroundings.hugepages.is_some_and(|pages| pages > 0);
    if !known || !case.surroundings.hugetlb.is_empty() || !has_dataplane(case) {
        return Vec::new();
    }
    // libvirt's daemon looks for mounts when it starts.
    let mend = format!("systemctl restart dev-hugepages.mount && {}", mends::RESTART_LIBVIRT);
    vec![Evidence::mended_by("hugetlbfs", "not mounted anywhere", mend)]
}

fn disabled(case: &Case<'_>) -> Vec<Evidence> {
    let empty = match case.surroundings.qemu_conf.get("hugetlbfs_mount") {
        Some(Value::Text(path)) => path.is_empty(),
        Some(Value::List(paths)) => paths.iter().all(|path| *path == Value::Text(String::new())),
        Some(Value::Integer(_)) | None => false,
    };
    let unit = case.profile.hypervisor.as_ref().map_or("libvirtd", |found| found.daemon_unit.as_str());
    let mend = mends::take_from_qemu_conf("hugetlbfs_mount", unit);
    let evidence = || Evidence::mended_by(crate::base::paths::QEMU_CONF, "hugetlbfs_mount is empty", mend);
    empty.then(evidence).into_iter().collect()
}
