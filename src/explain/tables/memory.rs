// SPDX-License-Identifier: Apache-2.0
//! Guest memory in QEMU. Formats: backends/hostmem*.c, system/physmem.c (exec.c), util/oslib-posix.c of QEMU 2.5 to 11.

use super::*;

const SOURCE: &str = "QEMU system/physmem.c, util/mmap-alloc.c, util/oslib-posix.c";
const PAGES: &str = "grep . /sys/devices/system/node/node*/hugepages/*/free_hugepages; ls -l /proc/[0-9]*/fd 2>/dev/null | grep -E 'huge.*deleted'; cat /sys/fs/cgroup/.../hugetlb.*.max in a container";
const NOT_ENOUGH: &[&str] = &[
    "fewer free huge pages than the VM needs: others use them, or reserved them (free less reserved is what counts)",
    "a process still holds the pages of a VM that is gone: a back end (SPDK, a switch) keeps a deleted file of guest memory open, and ls shows nothing",
    "the pages are there, but not for this VM: on another NUMA node, of another size, or beyond the limit of its cgroup or of the mount (size=). A container's or kubelet's 'allocatable' is the total, not what is free",
];

pub(super) const SIGNATURES: &[Signature] = &[
    known("memory-map-denied", Access, &["unable to map backing store for guest RAM: Permission denied"], &[
        "QEMU opened the file of its memory and may not map it: SELinux's permission 'map' (boolean domain_can_mmap_files), or AppArmor. It is not a shortage of huge pages, and owner and mode are right",
        "the filesystem is mounted noexec or forbids the mapping",
    ])
    .decide("ausearch -m avc -ts recent | grep map; dmesg | grep apparmor=")
    .fix("setsebool -P domain_can_mmap_files 1, or keep guest memory on hugetlbfs or in a memfd")
    .source("QEMU system/physmem.c; selinux-policy virt.te"),
    known("memory-file-denied", Access, &[
        "can't open backing store {} for guest RAM: Permission denied",
        "can't create backing store {} for guest RAM: Permission denied",
    ], &[
        "an ordinary file that the command line names, not huge pages: AppArmor (or SELinux) has no rule for it, since libvirt does not know what is in <qemu:commandline>. On Ubuntu and Debian this is the usual cause",
        "owner and mode: QEMU's user may not open it for writing",
    ])
    .of(&[MemoryFile])
    .decide("dmesg | grep apparmor=; ausearch -m avc -ts recent; namei -l PATH")
    .fix("a rule 'PATH rw,' in /etc/apparmor.d/local/abstractions/libvirt-qemu and the profile loaded again; the file itself owned by QEMU's user, 0660. Or let libvirt choose the place: <memoryBacking><source type='file'/>")
    .source(SOURCE),
    known("hugepages-denied", Access, &[
        "can't open backing store {} for guest RAM: Permission denied",
        "unable to create backing store for hugepages: Permission denied",
    ], &[
        "QEMU may not search the mount, or write libvirt's directory on it: the mount's root directory is closed to QEMU's user (options mode= and gid= of the mount), or libvirt made its directory for another user",
        "SELinux or AppArmor: then owner and mode look right. With <qemu:commandline> there is no rule",
    ])
    .of(&[HugePages, Unknown])
    .findings(&["hugepages-owner", "hugepages-mode", "libvirt-older-than-qemu-conf"])
    .decide("namei -l PATH; findmnt -t hugetlbfs -o TARGET,OPTIONS; id libvirt-qemu qemu; dmesg | grep -E 'avc|apparmor='")
    .fix("restart libvirt's daemon, which makes its directory anew; if the mount's own mode keeps QEMU out, let others search it (mode=0755), or put QEMU's user into its group and restart daemon and VM; not mode=1777")
    .source(SOURCE),
    known("hugepages-read-only", Memory, &["can't open backing store {} for guest RAM: Read-only file system"], &[
        "the hugetlbfs mount is read-only",
    ])
    .findings(&["hugepages-read-only"])
    .decide("findmnt -t hugetlbfs -o TARGET,OPTIONS")
    .fix("remount it rw")
    .source(SOURCE),
    known("hugepages-not-a-mount", Missing, &[
        "can't open backing store {} for guest RAM: Is a directory",
        "can't create backing store {} for guest RAM: Is a directory",
    ], &[
        "the path is an ordinary directory: no hugetlbfs is mounted there, so QEMU takes it for a file",
    ])
    .decide("findmnt -t hugetlbfs; stat -f -c %T PATH")
    .fix("mount hugetlbfs there (systemctl start dev-hugepages.mount; in a container pass the mount through)")
    .source("QEMU system/physmem.c file_ram_open"),
    known("hugepages-missing", Missing, &[
        "can't open backing store {} for guest RAM: No such file or directory",
        "can't create backing store {} for guest RAM: No such file or directory",
    ], &[
        "the directory does not exist: hugetlbfs is mounted elsewhere, or after libvirt's daemon started (which makes its own directory there)",
        "QEMU is in a container without that mount",
    ])
    .of(&[HugePages])
    .findings(&["hugepages-no-mount"])
    .decide("findmnt -t hugetlbfs; ls -ld the directories of the path")
    .fix("mount hugetlbfs, then restart libvirt's daemon")
    .source(SOURCE),
    known("memory-file-missing", Missing, &["can't open backing store {} for guest RAM: {*}"], &[
        "QEMU cannot open the file that is to be the guest's memory: the message's end says why; a path of mem-path= is QEMU's, not libvirt's",
    ])
    .decide("namei -l PATH; findmnt -T PATH")
    .fix("correct mem-path=, or let libvirt choose it (<memoryBacking>)")
    .source(SOURCE),
    known("hugepages-not-enough", Memory, &[
        "unable to map backing store for guest RAM: Cannot allocate memory",
        "unable to map backing store for hugepages: Cannot allocate memory",
        "file_ram_alloc: can't mmap RAM pages: Cannot allocate memory",
    ], NOT_ENOUGH)
    .findings(&["hugepages-not-enough", "hugepages-none"])
    .decide(PAGES)
    .fix("restart the process that holds deleted files, or stop another VM; reserve more pages (best at boot) only if really too few are free on the right node")
    .source(SOURCE),
    known("memory-not-enough", Memory, &["cannot set up guest memory '{*}': Cannot allocate memory"], &[
        "the host has too little ordinary memory for the VM (not huge pages): overcommit is off or used up, a limit of the cgroup, or too many huge pages are reserved. Such memory is not shared, so no vhost-user device would work with it",
    ])
    .decide("free -m; cat /proc/sys/vm/overcommit_memory; the unit's MemoryMax= or the container's limit")
    .fix("a smaller VM, fewer reserved huge pages, or a higher limit")
    .source("QEMU system/physmem.c"),
    known("hugepages-not-on-node", Memory, &[
        "Insufficient free host memory pages available to allocate guest RAM",
        "preallocating memory failed: Bad address",
        "preallocating memory failed",
    ], &[
        "too few free huge pages on the NUMA node that the VM asks for; there may be enough on others",
        "a limit of the cgroup (a pod's hugepages- limit), or pages that another process took meanwhile",
    ])
    .findings(&["hugepages-not-on-node", "hugepages-not-enough"])
    .decide(PAGES)
    .fix("reserve pages on that node, or widen <numatune>")
    .source("QEMU util/oslib-posix.c"),
    known("memory-policy-denied", Setting, &[
        "cannot bind memory to host NUMA nodes",
        "Per-node memory binding is not supported",
    ], &[
        "QEMU may not bind memory to NUMA nodes: mbind() is blocked (seccomp of a container, without CAP_SYS_NICE), or the node has no memory",
    ])
    .decide("numactl -H; grep Seccomp /proc/self/status in the container")
    .fix("allow mbind and set_mempolicy to the container, or take <numatune> out")
    .source("QEMU backends/hostmem.c"),
    known("memory-size", Setting, &[
        "does not match 'size' option",
        "is too small for 'size' option",
        "must be equal to or larger than page size",
        "must be equal to or larger than hugepage size",
        "memory size {*} must be a multiple of",
        "must be multiple of page size",
    ], &["the VM's memory (or a NUMA cell of it) is no multiple of the page size, or the existing file has another size"])
        .decide("virsh dumpxml NAME | grep -E 'memory|cell|page'")
        .fix("make each <cell>'s memory a multiple of the page size; remove a leftover file if no VM uses it")
        .source("QEMU system/physmem.c"),
    known("memory-not-shared", Memory, &[
        "Failed initializing vhost-user memory map",
        "'vhostuser' requires shared memory",
        "requires shared memory",
        "NoMemoryRegion",
    ], &["the guest's memory is private: the back end cannot map it"])
        .findings(&["memory-not-shared"])
        .decide("virsh dumpxml NAME | grep -E 'memoryBacking|access|memAccess'")
        .fix("<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking> in the domain, or memAccess='shared' in each <cell> with huge pages; then stop and start the VM")
        .source("QEMU hw/virtio/vhost-user.c; libvirt src/qemu/qemu_validate.c"),
    known("vhost-not-started", Memory, &["falling back on userspace virtio", "vhost_set_mem_table failed"], &[
        "vhost-user did not come up, and there is no userspace virtio to fall back on: the device is dead. Usual: memory that is not shared (it then says 'memory map' a line before)",
        "the back end closed the connection, or has no memory for the queues on that NUMA node: its log says so",
    ])
    .findings(&["memory-not-shared"])
    .decide("the lines before; ovs-vswitchd.log at the same time; virsh dumpxml NAME | grep -E 'access|memAccess'")
    .fix("shared memory in the domain first; else what the back end's log says")
    .source("QEMU hw/net/virtio-net.c"),
    known("memory-slots", Setting, &[
        "vhost backend memory slots limit",
        "a used vhost backend has no free memory slots left",
        "too many memory regions ({*})",
        "Exceed maximum of 8",
    ], &[
        "more memory regions than a vhost-user back end takes (8 without configurable slots): too many small huge-page files, DIMMs or NUMA cells",
    ])
    .decide("the number of <memory model=> and <cell> in the domain; of 2 MiB files in virtio-user's memory")
    .fix("fewer and larger regions: 1 GiB pages, or --single-file-segments (DPDK 18.05 and newer), fewer DIMMs")
    .source("QEMU hw/virtio/vhost.c; DPDK drivers/net/virtio/virtio_user"),
    known("locked-memory", Setting, &[
        "VFIO_MAP_DMA failed: Cannot allocate memory",
        "dma_map({*}) = -12 (Cannot allocate memory)",
        "memory listener initialization failed",
        "mlockall failed",
        "locking memory failed",
        "RLIMIT_MEMLOCK ({}) exceeded",
        "cannot limit locked memory of process {} to",
    ], &[
        "the limit of locked memory (RLIMIT_MEMLOCK) is too small: devices by VFIO pin the guest's memory, with a virtual IOMMU once for each device (N devices need N times the memory)",
        "libvirt in a container may not raise it: CAP_SYS_RESOURCE is missing",
    ])
    .decide("grep -i 'locked memory' /proc/PID/limits; dmesg | grep MEMLOCK")
    .fix("<memtune><hard_limit> in the domain; LimitMEMLOCK=infinity for the service; CAP_SYS_RESOURCE for a container's libvirt")
    .source("QEMU hw/vfio; kernel drivers/vfio; libvirt src/util/virprocess.c"),
    known("memfd-denied", Unsupported, &["failed to create memfd", "memfd_create() failed", "failed to resize memfd"], &[
        "this kernel or container does not give a memory file (memfd): seccomp, an old kernel, or too few huge pages of that size for hugetlb=on",
    ])
    .decide("grep -i huge /proc/meminfo; uname -r")
    .fix("memory in a file or on hugetlbfs, or allow memfd_create")
    .source("QEMU util/memfd.c"),
];
