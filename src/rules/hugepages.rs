// SPDX-License-Identifier: Apache-2.0
//! Huge pages: that there are any, and mounts that can be written.

use super::security;
use super::{Case, Evidence};
use crate::base::shell;
use crate::edit::virconf::Value;
use crate::facts::mounts::HugetlbMount;
use crate::fixes;

rules! {
    Broken "hugepages-read-only" [Node(read_only)]
        cause: "QEMU cannot create the VM's memory: 'can't open backing store ... Read-only file system'",
        effect: "no VM with hugepages starts: 'Read-only file system'",
        see: "findmnt -t hugetlbfs -o TARGET,OPTIONS",
        fix: "remount it rw, and remove 'ro' from its unit or fstab",
        source: "mount(8)",
    Broken "hugepages-none" [Once(none)]
        cause: "DPDK and VMs need hugepages for shared memory: 'EAL: Cannot get hugepage information'",
        effect: "DPDK does not start, and no VM with hugepages starts",
        see: "grep -i huge /proc/meminfo",
        fix: "reserve pages at boot; later, memory is often too fragmented",
        source: "f-stack 274; spdk 702",
    Broken "hugepages-no-mount" [Once(no_mount)]
        cause: "libvirt needs a mount of hugetlbfs: 'hugetlbfs filesystem is not mounted or disabled by administrator config'",
        effect: "no VM with hugepages starts; DPDK logs 'no mounted hugetlbfs found for that size'",
        see: "findmnt -t hugetlbfs",
        fix: "systemctl start dev-hugepages.mount, then restart libvirt's daemon",
        source: "tp-libvirt 6290; sonic-platform-vpp 182",
    Broken "hugepages-masked" [Node(masked)]
        cause: "guest memory there is in files of another filesystem: slow, on disk, and the huge pages stay free; no error says so",
        effect: "the VM runs, slowly: its memory is in files on disk, and no line says so",
        see: "findmnt -R /dev/hugepages; stat -f -c %T /dev/hugepages/libvirt/qemu",
        fix: "umount what covers libvirt's directory and find what mounts it, then restart libvirt's daemon and the VM",
        source: "libvirt src/qemu/qemu_process.c; mount(8)",
    Advice "hugepages-mount-stacked" [Node(stacked)]
        cause: "two hugetlbfs are mounted on one directory: files of the lower one are hidden, and daemons started before see another filesystem",
        effect: "files of running VMs vanish from sight, and a new VM may find fewer huge pages",
        see: "findmnt -t hugetlbfs",
        fix: "leave one of the entries that mount it (fstab, a unit, a script)",
        source: "mount(8); guides that use fstab beside dev-hugepages.mount",
    Advice "hugepages-mount-capped" [Node(capped)]
        cause: "VMs get no more huge pages through this mount than its size=, however many are free",
        effect: "'unable to map backing store for guest RAM: Cannot allocate memory' although pages are free",
        see: "findmnt -t hugetlbfs -o TARGET,OPTIONS; grep -i huge /proc/meminfo",
        fix: "take size= out of the unit or fstab, then mount it again; a remount cannot change it",
        source: "kernel fs/hugetlbfs/inode.c",
    Broken "hugepages-disabled-in-qemu-conf" [Once(disabled)]
        cause: "libvirt needs a mount of hugetlbfs: 'hugetlbfs filesystem is not mounted or disabled by administrator config'",
        effect: "no VM with hugepages starts",
        see: "grep hugetlbfs_mount /etc/libvirt/qemu.conf",
        fix: "remove the line, then restart libvirt's daemon",
        source: "libvirt src/qemu/qemu.conf.in",
}

fn read_only(case: &Case<'_>) -> Vec<Evidence> {
    let mounts = case.surroundings.hugetlb.iter().filter(|mount| mount.read_only);
    let evidence = |mount: &HugetlbMount| {
        let path = mount.path.display().to_string();
        let fix = format!(
            "mount -o remount,rw {}  # and remove 'ro' from its unit or fstab",
            shell::path(&mount.path)
        );
        Evidence::fixed_by(path, "mounted read-only", fix)
    };
    mounts.map(evidence).collect()
}

/// Nobody misses them where no dataplane runs.
fn has_dataplane(case: &Case<'_>) -> bool {
    case.live.is_some_and(|live| live.vswitchd().is_some())
}

fn none(case: &Case<'_>) -> Option<Evidence> {
    let pools = &case.surroundings.pools;
    if pools.is_empty() || pools.values().any(|bytes| *bytes > 0) || !has_dataplane(case) {
        return None;
    }
    let seen = "none are reserved, and the kernel may not allocate any on demand";
    let fix = "reserve them at boot (kernel: hugepagesz=1G hugepages=N), or sysctl -w vm.nr_hugepages=N";
    Some(Evidence::fixed_by("huge pages", seen, fix))
}

fn no_mount(case: &Case<'_>) -> Option<Evidence> {
    let none = case.surroundings.pools.values().all(|bytes| *bytes == 0);
    if none || !case.surroundings.hugetlb.is_empty() || !has_dataplane(case) {
        return None;
    }
    // libvirt's daemon looks for mounts when it starts.
    let fix = format!("systemctl restart dev-hugepages.mount && {}", fixes::RESTART_LIBVIRT);
    Some(Evidence::fixed_by("hugetlbfs", "not mounted anywhere", fix))
}

fn masked(case: &Case<'_>) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    for (path, kind) in case.surroundings.hugetlb.iter().flat_map(|mount| &mount.masked_by) {
        let fix = format!("umount {} && systemctl try-restart libvirtd virtqemud", shell::path(path));
        let seen = format!("{kind} is mounted on it");
        evidence.push(Evidence::at(path, seen, fix));
    }
    evidence
}

fn stacked(case: &Case<'_>) -> Vec<Evidence> {
    let stacked = case.surroundings.hugetlb.iter().filter(|mount| mount.hides > 0);
    let evidence = |mount: &HugetlbMount| {
        let fix = format!(
            "take all but one of its entries out of fstab, units and scripts, then umount {} while no VM runs",
            shell::path(&mount.path)
        );
        let seen = format!("mounted {} times", mount.hides + 1);
        Evidence::at(&mount.path, seen, fix)
    };
    stacked.map(evidence).collect()
}

fn capped(case: &Case<'_>) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    for mount in &case.surroundings.hugetlb {
        let pool = case.surroundings.pools.get(&mount.page_size).copied();
        if let Some((cap, pool)) = mount.cap().zip(pool).filter(|(cap, pool)| cap < pool) {
            let seen = format!("size={} MiB, of {} MiB of huge pages", cap >> 20, pool >> 20);
            let fix =
                "take size= out of its unit or fstab, then mount it again while no VM and no switch uses it";
            evidence.push(Evidence::at(&mount.path, seen, fix));
        }
    }
    evidence
}

fn disabled(case: &Case<'_>) -> Option<Evidence> {
    let empty = match case.surroundings.qemu_conf.get("hugetlbfs_mount") {
        Some(Value::Text(path)) => path.is_empty(),
        Some(Value::List(paths)) => paths.iter().all(|path| *path == Value::Text(String::new())),
        Some(Value::Integer(_)) | None => false,
    };
    empty.then(|| security::line(case, "hugetlbfs_mount is empty", "hugetlbfs_mount"))
}
