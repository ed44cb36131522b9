// SPDX-License-Identifier: Apache-2.0
//! What DPDK's EAL says, in whatever program. Formats: lib/eal (librte_eal) of DPDK 16.11 to 25.

use super::*;

const SOURCE: &str = "DPDK lib/eal";
const MOUNTS: &str = "findmnt -t hugetlbfs; grep . /sys/kernel/mm/hugepages/*/free_hugepages, in the program's own mount namespace (nsenter -t PID -m)";

pub(super) const SIGNATURES: &[Signature] = &[
    known("cpu-unsupported", Unsupported, &[
        "This system does not support \"{}\"",
        "unsupported cpu type",
        "unsupported CPU type",
        "EAL: Illegal instruction",
    ], &["the CPU lacks an instruction that this build of DPDK was made for (SSSE3, SSE4.2, AVX): typical in a VM with CPU model kvm64 or qemu64. It is neither permission nor huge pages"])
        .decide("grep -o -m1 -E 'ssse3|sse4_2' /proc/cpuinfo")
        .fix("give the (virtual) machine a CPU model with it (<cpu mode='host-passthrough'/>), or take a build of DPDK for generic x86-64")
        .source("DPDK lib/eal/common/eal_common_cpuflags.c"),
    known("eal-secondary-memory", Missing, &[
        "sync_existing(): Cannot open '{}': No such file or directory",
        "Could not map memory from primary process",
        "Could not open {*}: No such file or directory (secondary",
    ], &[
        "a secondary process cannot see the primary's files: the primary does not run, has another --file-prefix, or (in a container) hugetlbfs and /var/run/dpdk are not mounted under the same path. It is no shortage",
    ])
    .decide("ls -ld /dev/hugepages /var/run/dpdk/rte, in the container too; ps -ef | grep file-prefix")
    .fix("bind the host's hugetlbfs and /var/run/dpdk into the container under the same paths (-v /dev/hugepages:/dev/hugepages -v /var/run/dpdk:/var/run/dpdk), same --file-prefix")
    .source("DPDK lib/eal/linux/eal_memalloc.c, eal.c"),
    known("eal-no-mount", Missing, &["reserved, but no mounted hugetlbfs found for that size", "no mounted hugetlbfs found"], &[
        "pages of this size are reserved, and the program sees no hugetlbfs of it (in a container: not among its mounts)",
    ])
    .findings(&["hugepages-no-mount"])
    .decide(MOUNTS)
    .fix("mount that size where the program sees it; harmless for sizes that nobody uses")
    .source("DPDK lib/eal/linux/eal_hugepage_info.c"),
    known("eal-hugepage-directory", Access, &[
        "Failed to lock hugepage directory!",
        "Unable to open hugepage directory {}",
        "get_seg_fd(): open '{}' failed: Permission denied",
        "open '{}' failed: Permission denied",
        "Couldn't open hugepage file",
        "map_all_hugepages(): open failed: Permission denied",
    ], &["the program may not search, read or write the hugetlbfs mount, or root's files of an earlier run are in its way", "SELinux or AppArmor, if it runs as root"])
        .findings(&["hugepages-owner", "hugepages-mode"])
        .decide("ls -ld /dev/hugepages; ls -l /dev/hugepages; findmnt -t hugetlbfs -o TARGET,OPTIONS")
        .fix("the mount's group and mode for the switch (its unit does it: 0775 and its group); leftover *map_* files of a process that is gone may be removed, those of VMs not")
        .source("DPDK lib/eal/linux/eal_hugepage_info.c, eal_memalloc.c"),
    known("eal-no-hugepages", Memory, &[
        "EAL: No free {*} hugepages reported",
        "EAL: No free hugepages reported in {}",
        "EAL: No available hugepages reported in {}",
        "EAL: No available {*} hugepages reported",
        "No free hugepages reported",
        "No available hugepages reported",
    ], &[
        "no huge page of this size is free: none reserved, VMs took them before the switch started, or a crashed process left files",
        "harmless for a size that nobody uses (1 GiB pages on a node with 2 MiB pages)",
    ])
    .findings(&["hugepages-none"])
    .decide(MOUNTS)
    .fix("reserve more at boot; start the switch before VMs; never rm -rf /dev/hugepages, VMs have files there too")
    .source(SOURCE),
    known("eal-hugepage-info", Memory, &["Cannot get hugepage information", "FATAL: Cannot init memory", "Cannot init memory", "FATAL: Cannot get hugepage", "Cannot init memzone", "Cannot allocate ethdev shared data"], &[
        "DPDK found no huge pages that it may use: the line before says whether they lack, are not mounted where it runs, or are closed to it",
    ])
    .findings(&["hugepages-owner", "hugepages-mode", "hugepages-none", "hugepages-no-mount"])
    .decide(MOUNTS)
    .fix("what the line before says")
    .source(SOURCE),
    known("eal-not-enough", Memory, &[
        "Not enough memory available on socket",
        "EAL: Not enough memory available",
        "alloc_seg(): mmap() failed: Cannot allocate memory",
        "alloc_seg(): can't mmap",
        "couldn't allocate {*} hugepage",
        "eal_memalloc_alloc_seg_bulk(): couldn't find suitable memseg_list",
    ], &["more huge pages are asked for (dpdk-socket-mem, --socket-mem, -m) than are free on that NUMA node"])
        .findings(&["hugepages-none"])
        .decide(MOUNTS)
        .fix("reserve more there, or lower other_config:dpdk-socket-mem")
        .source(SOURCE),
    known("dpdk-options", Setting, &[
        "unrecognized option '{}'",
        "unrecognized option \"{}\"",
        "Invalid 'command line' arguments",
        "Invalid EAL arguments",
        "invalid option -- '{}'",
        "unknown argument: {}",
        "dpdk-extra: {*}nvalid",
    ], &[
        "DPDK does not know an option that it is given: often --vhost-owner and --vhost-perm in other_config:dpdk-extra, which only Ubuntu's patched DPDK of 16.04 to 18.04 had",
        "an option that newer versions dropped (-w, --pci-whitelist, --master-lcore) or that is misspelled",
    ])
    .findings(&["vhost-owner-option"])
    .decide("ovs-vsctl get Open_vSwitch . other_config:dpdk-extra")
    .fix("take the option out of other_config:dpdk-extra and restart the switch; sockets of dpdkvhostuserclient ports need no such option")
    .source("DPDK lib/eal/common/eal_common_options.c"),
    known("eal-device", Missing, &[
        "Cannot find device ({})",
        "Driver cannot attach the device ({})",
        "Error attaching device '{}' to DPDK",
        "Requested device {} cannot be used",
        "EAL: failed to attach device",
        "EAL: Failed to attach device",
        "No such device ({})",
        "Cannot allocate VFIO",
    ], &["a physical card, not a vhost-user port: it is not bound to a driver that DPDK can use, or not there"])
        .decide("driverctl list-devices | grep -i net; dpdk-devbind.py -s")
        .fix("driverctl set-override ADDRESS vfio-pci, then plug the port again")
        .source("DPDK lib/eal/common/eal_common_dev.c, OVS lib/netdev-dpdk.c"),
    known("eal-iova", Setting, &[
        "Cannot use IOVA as 'PA' since physical addresses are not available",
        "Expecting 'PA' IOVA mode but current mode is 'VA'",
        "IOVA exceeding limits of current DMA mask",
        "not initializing",
    ], &["devices need physical addresses that this process may not see, or an IOMMU that is off: of physical cards, not of vhost-user ports"])
        .decide("dmesg | grep -e DMAR -e IOMMU; grep -o 'iommu=[^ ]*' /proc/cmdline")
        .fix("switch the IOMMU on (intel_iommu=on iommu=pt) and bind cards to vfio-pci")
        .source(SOURCE),
    known("eal-pagemap", Harmless, &["cannot open /proc/self/pagemap"], &[
        "a DPDK that is not root may not see physical addresses; it does not need them where devices use virtual ones",
    ])
    .fix("nothing, unless a physical NIC without IOMMU is attached")
    .source("DPDK lib/eal/linux/eal_memory.c"),
    known("eal-runtime-directory", Permission, &[
        "EAL: Error creating '{}': Permission denied",
        "EAL: Unable to open runtime directory",
        "Cannot create runtime directory",
        "Cannot clear runtime directory",
    ], &["DPDK keeps its run-time files in $RUNTIME_DIRECTORY, /var/run (root), $XDG_RUNTIME_DIR or /tmp: it may not write there, often because root's old ones are in the way"])
        .findings(&["run-directory-owner"])
        .decide("ls -ld /run/openvswitch/dpdk /run/dpdk /var/run/dpdk")
        .fix("remove root's old dpdk directory there while no DPDK process runs, then restart the switch")
        .source("DPDK lib/eal/linux/eal.c eal_create_runtime_dir"),
    known("eal-config-file", Access, &["Cannot open '{}' for rte_mem_config"], &[
        "a secondary process does not find the primary's file: the primary does not run, has another --file-prefix, or its run-time directory is not in this container",
        "a primary process may not write its run-time directory: root's old files of an earlier run are there",
    ])
    .findings(&["run-directory-owner"])
    .decide("ls -la the directory that the line names; pgrep -af dpdk; the process's own --proc-type")
    .fix("start the primary first, with the same --file-prefix and /var/run/dpdk mounted; or remove root's old dpdk directory while no DPDK process runs")
    .source("DPDK lib/eal/linux/eal.c"),
    known("eal-second-primary", Stale, &["Is another primary process running?", "Cannot create lock on '{}'"], &[
        "another DPDK process (testpmd, an ovs-vswitchd outside systemd) holds the same run-time files, or root's old file may not be opened",
    ])
    .decide("fuser -v on the file that the line names; ls -l of it")
    .fix("end the other process, or give one of them --file-prefix")
    .source(SOURCE),
    known("vfio-denied", Permission, &[
        "Cannot open VFIO container {}, error 13",
        "Failed to open VFIO group {}",
        "cannot open /dev/vfio/vfio: Permission denied",
        "failed to open /dev/vfio/{}: Permission denied",
    ], &["the process may not open /dev/vfio of a physical card: the udev rule acts on new devices only, and needs its group at boot"])
        .decide("ls -l /dev/vfio; driverctl list-overrides")
        .fix("udevadm trigger --subsystem-match=vfio --action=add; not chmod 0666")
        .source("DPDK lib/eal/linux/eal_vfio.c"),
    known("vfio-not-viable", Setting, &["VFIO group is not viable!", "is not viable", "Please ensure all devices within the iommu_group are bound"], &[
        "another device of the same IOMMU group is bound to a driver that is not VFIO's",
    ])
    .decide("ls /sys/bus/pci/devices/ADDRESS/iommu_group/devices")
    .fix("bind or unbind all devices of the group")
    .source("DPDK lib/eal/linux/eal_vfio.c; QEMU hw/vfio"),
    known("vfio-busy", Stale, &["failed to open /dev/vfio/{}: Device or resource busy", "failed to open /dev/vfio/{}: No such file or directory"], &[
        "another process has this card's group (the switch itself, another VM), or it is not bound to vfio-pci",
    ])
    .decide("fuser -v /dev/vfio/N; driverctl list-overrides")
    .fix("give the card to one of them")
    .source("QEMU hw/vfio/container.c"),
    known("dpdk-init-failed", Stale, &["Unable to initialize DPDK", "Cannot init EAL", "EAL initialization failed", "rte_eal_init returned -1", "Error with EAL initialization"], &[
        "without DPDK there are no vhost-user ports: an EAL line before says why",
    ])
    .findings(&["dpdk-not-initialized", "hugepages-none", "hugepages-mode", "vhost-owner-option"])
    .decide("the EAL lines before; ovs-vsctl get Open_vSwitch . dpdk_initialized")
    .fix("what the EAL line says, then restart the switch")
    .source("OVS lib/dpdk.c"),
];
