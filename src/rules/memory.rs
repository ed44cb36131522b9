// SPDX-License-Identifier: Apache-2.0
//! The VM's memory, which the dataplane has to map.

use super::{Evidence, StartCase};
use crate::facts::domains::EndpointKind;
use crate::facts::hugepages::text;
use crate::fixes;
use crate::node::endpoints::needs::Need;

rules! {
    Broken "memory-not-shared" [Start<Memory>(not_shared)]
        cause: "the dataplane cannot map private memory: the VM would run without network, and usually nothing is logged",
        effect: "the VM starts without network; usually nothing is logged",
        see: "virsh dumpxml VM | grep -A4 memoryBacking",
        fix: "set <memoryBacking><access mode='shared'/></memoryBacking>, with hugepages or memfd",
        source: "kata 2187; QEMU hw/virtio/vhost-user.c",
    Broken "hugepages-not-mounted" [Start<Memory>(not_mounted)]
        cause: "libvirt needs a mount of hugetlbfs: 'hugetlbfs filesystem is not mounted or disabled by administrator config'",
        effect: "the VM does not start: 'hugetlbfs filesystem is not mounted ...'",
        see: "findmnt -t hugetlbfs",
        fix: "mount that size, then restart libvirt's daemon",
        source: "tp-libvirt 6290",
    Advice "hugepages-not-enough" [Start<Memory>(not_enough)]
        cause: "too few huge pages are free for this VM: 'unable to map backing store for guest RAM: Cannot allocate memory'",
        ahead: "too few huge pages are free: 'unable to map backing store for guest RAM: Cannot allocate memory'",
        effect: "the VM does not start: 'unable to map backing store for guest RAM: Cannot allocate memory'",
        see: "grep -i huge /proc/meminfo",
        fix: "stop another VM, or reserve more pages, best at boot",
        source: "QEMU util/mmap-alloc.c; virt-manager 662",
    Advice "hugepages-not-on-node" [Start<Memory>(not_on_node)]
        cause: "too few huge pages are free on its NUMA node: 'Insufficient free host memory pages available to allocate guest RAM'",
        ahead: "too few huge pages are free on this NUMA node: 'Insufficient free host memory pages available to allocate guest RAM'",
        effect: "the VM does not start: 'Insufficient free host memory pages available to allocate guest RAM'",
        see: "cat /sys/devices/system/node/node*/hugepages/*/free_hugepages",
        fix: "reserve pages on that node, or widen <numatune>",
        source: "kubevirt 6981",
}

fn not_shared(case: &StartCase<'_>) -> Vec<Evidence> {
    let domain = &case.start.domain;
    let device = domain.endpoints.iter().find(|endpoint| endpoint.device != EndpointKind::CommandLine);
    if domain.memory.is_shared() || domain.shares_by_command_line || device.is_none() {
        return Vec::new();
    }
    let fix = fixes::share_memory(domain);
    vec![Evidence::fixed_by(domain.name.clone(), "its memory is private", fix)]
}

fn needs<'a>(case: &StartCase<'a>) -> &'a [Need] {
    case.facts.memory.known().map(Vec::as_slice).unwrap_or_default()
}

fn not_mounted(case: &StartCase<'_>) -> Vec<Evidence> {
    let mut found: Vec<Evidence> = Vec::new();
    for need in needs(case).iter().filter(|need| !need.mounted) {
        let subject = format!("huge pages of {}", text(need.page_size));
        let fix = fixes::mount_pages(need.page_size);
        let evidence = Evidence::fixed_by(subject, "no hugetlbfs of that size is mounted", fix);
        if !found.contains(&evidence) {
            found.push(evidence);
        }
    }
    found
}

fn not_enough(case: &StartCase<'_>) -> Vec<Evidence> {
    let mut found = Vec::new();
    let needs = needs(case);
    let mut sizes: Vec<u64> = needs.iter().map(|need| need.page_size).collect();
    sizes.dedup();
    for page_size in sizes {
        let of_size = || needs.iter().filter(|need| need.page_size == page_size);
        let wanted: u64 = of_size().map(|need| need.pages).sum();
        let available = of_size().find_map(|need| need.pool.as_ref()).map_or(0, |pool| pool.available);
        if wanted > available {
            let seen = format!("{wanted} needed, {available} free and not reserved");
            let fix = fixes::more_pages(fixes::POOLS, page_size, wanted - available);
            found.push(Evidence::fixed_by(format!("huge pages of {}", text(page_size)), seen, fix));
        }
    }
    found
}

fn not_on_node(case: &StartCase<'_>) -> Vec<Evidence> {
    let short = |need: &Need| {
        let pool = need.pool.as_ref().filter(|pool| !need.nodes.is_empty() && pool.on_demand == 0)?;
        let there: u64 = pool.nodes.iter().map(|(_, free)| free).sum();
        if need.pages <= there {
            return None;
        }
        let nodes: Vec<String> = need.nodes.iter().map(u32::to_string).collect();
        let nodes = nodes.join(",");
        let seen = format!("{} needed on NUMA node {nodes}, {there} free there", need.pages);
        let first = need.nodes.first()?;
        let fix = fixes::more_pages(
            &format!("/sys/devices/system/node/node{first}/hugepages"),
            need.page_size,
            need.pages - there,
        );
        Some(Evidence::fixed_by(format!("huge pages of {}", text(need.page_size)), seen, fix))
    };
    needs(case).iter().filter_map(short).collect()
}
