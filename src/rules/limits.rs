// SPDX-License-Identifier: Apache-2.0
//! What newer systemds do to groups and huge pages that older ones left alone.

use super::{Case, Evidence};
use crate::base::shell;
use crate::facts::domains::Domain;
use crate::facts::surroundings::UdevRule;
use crate::fixes;

rules! {
    Broken "udev-group-ignored" [Node(|case| udev(case, |version| version == 258))]
        cause: "systemd 258 ignores the group in a udev rule unless it is a system group: OVS cannot open VFIO devices unless it is root",
        effect: "ports on physical devices fail after an upgrade to systemd 258: DPDK cannot open /dev/vfio/N",
        see: "ls -l /dev/vfio; journalctl -b -u systemd-udevd | grep -i 'not a system group'",
        fix: "run the command of the finding: udev then runs chgrp, which accepts any group",
        source: "systemd NEWS 258; OVS 91-vfio.rules; gid 42477 is above SYS_GID_MAX",
    Advice "udev-group-deprecated" [Node(|case| udev(case, |version| version > 258))]
        cause: "systemd 259 can ignore the group in a udev rule unless it is a system group; later versions warn and will ignore it",
        effect: "nothing with systemd 260 to 262; ports on physical devices fail with some versions 259, or after an upgrade",
        see: "journalctl -b -u systemd-udevd | grep -i 'not a system group'; udevadm test --action=add /sys/class/vfio/vfio",
        fix: "run the command of the finding: udev then runs chgrp, which accepts any group",
        source: "systemd NEWS 258 and 260; the warning seen with systemd 262",
    Broken "memory-limit-below-hugepages" [Node(memory_limits)]
        cause: "with systemd 259 and later, memory limits include huge pages: the VM is killed when it uses its memory",
        effect: "a VM that worked before an upgrade to systemd 259 is killed when it starts, or becomes so slow that it hangs",
        see: "grep memory_hugetlb_accounting /proc/self/mountinfo; systemctl show machine.slice -p MemoryMax; virsh memtune VM",
        fix: "raise the limit by the size of the VMs' huge pages",
        source: "systemd NEWS 259; Linux Documentation/admin-guide/cgroup-v2.rst, memory_hugetlb_accounting",
}

fn udev(case: &Case<'_>, concerns: fn(u32) -> bool) -> Vec<Evidence> {
    let evidence = |rule: &UdevRule| {
        let group = &rule.group;
        let edit = format!("'s#(^|[, \\t])GROUP:?=\"{group}\"#\\1RUN+=\"/usr/bin/chgrp {group} $devnode\"#'");
        let file = shell::path(&rule.file);
        let edited = match (rule.file.starts_with("/etc"), rule.file.file_name()) {
            (false, Some(name)) => {
                let own = shell::path(&std::path::Path::new("/etc/udev/rules.d").join(name));
                format!("mkdir -p /etc/udev/rules.d && sed -E {edit} {file} > {own}")
            }
            _ => format!("sed -E -i {edit} {file}"),
        };
        let fix = format!(
            "{edited} && udevadm control --reload && udevadm trigger --action=add --subsystem-match='vfio*'"
        );
        let seen = format!(
            "GROUP=\"{group}\", but the number of {} is {}, not that of a system group (systemd {})",
            case.accord.group.name, case.accord.group.gid, rule.systemd
        );
        Evidence::at(&rule.file, seen, fix)
    };
    let confined = case.accord.dataplane.as_ref().is_some_and(|dataplane| dataplane.is_confined());
    let rules = case.surroundings.udev_rules.iter().filter(|rule| confined && concerns(rule.systemd));
    rules.map(evidence).collect()
}

/// A limit that was fine when huge pages did not count means the same again with the VMs' pages added to it.
fn memory_limits(case: &Case<'_>) -> Vec<Evidence> {
    let (Some(live), Some(above)) = (case.live, &case.surroundings.memory_limits) else { return Vec::new() };
    let pages = |vm: &Domain| vm.memory.on_hugepages();
    let vms = || live.next.iter().chain(&live.defined.domains);
    let mut evidence = Vec::new();
    for limit in above {
        let below = |vm: &&Domain| vm.memory.is_in_default_partition() && pages(vm) > limit.bytes;
        if let Some(vm) = vms().filter(below).max_by_key(|vm| pages(vm)) {
            let wanted = vms().map(pages).fold(limit.bytes, u64::saturating_add);
            let seen = format!(
                "{}={}, but VM {} has {} bytes of huge pages",
                limit.key,
                limit.bytes,
                vm.name,
                pages(vm)
            );
            let fix = format!("systemctl set-property {} {}={wanted}", shell::quote(&limit.unit), limit.key);
            evidence.push(Evidence::fixed_by(limit.unit.clone(), seen, fix));
        }
    }
    for vm in vms() {
        let Some(limit) = vm.memory.hard_limit.filter(|limit| *limit < pages(vm)) else { continue };
        let seen = format!("<hard_limit> is {limit} bytes, but the VM has {} bytes of huge pages", pages(vm));
        let kib = limit.saturating_add(pages(vm)).div_ceil(1024);
        let fix = format!("virsh memtune {} --config --hard-limit {kib}", fixes::domain(vm));
        evidence.push(Evidence::fixed_by(format!("VM {}", vm.name), seen, fix));
    }
    evidence
}
