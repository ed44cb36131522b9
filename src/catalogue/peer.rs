// SPDX-License-Identifier: Apache-2.0
//! Pages: what two nodes have in common, or not.

use super::{Page, page};

pub(super) const PAGES: &[Page] = &[
    page(
        "peer-newer",
        "nothing; fields that this version does not know are not compared",
        "vhost-accord --version, on both nodes",
        "install the same vhost-accord on both nodes",
        "src/fingerprint/mod.rs: the format's version",
    ),
    page(
        "peer-unknown",
        "STARTS HERE says unknown: OVSDB, a directory or /proc could not be read",
        "vhost-accord check; ovs-vsctl --timeout=5 show",
        "fix what vhost-accord check reports on this node",
        "the hook refuses a VM only if it is sure",
    ),
    page(
        "peer-mode-not-here",
        "the hook refuses the VM at 'migrate begin', or the VM has no network here",
        "vhost-accord config, on both nodes",
        "add the type to modes here and run vhost-accord apply; or convert the VM to a type that both nodes have",
        "docs/reference.md: modes",
    ),
    page(
        "peer-modes-differ",
        "nothing yet: no VM of that type runs there, or it works here by manual configuration",
        "vhost-accord config, on both nodes",
        "set the same modes on all nodes that VMs migrate between",
        "docs/reference.md: modes",
    ),
    page(
        "peer-directory-differs",
        "the hook refuses the VM with socket-directory-missing or port-path-differs, unless that directory exists here as well",
        "vhost-accord config; ovs-vsctl get Open_vSwitch . other_config:vhost-sock-dir; on both nodes",
        "use the same directories on all nodes that VMs migrate between",
        "libvirt migrates a vhostuser interface with its path (src/conf/domain_conf.c); OVS vhost-sock-dir",
    ),
    page(
        "peer-gid-differs",
        "usually nothing; a VM with a DAC label, or a container, that uses the other number gets 'Permission denied'",
        "getent group hugetlbfs, on both nodes",
        "use one number on all nodes: vhost-accord apply --renumber --restart",
        "kolla kolla/common/users.py, TripleO and EDPM: gid 42477",
    ),
    page(
        "peer-qemu-identity-differs",
        "QEMU cannot read an image on NFS that the source's libvirt owns by number; a static DAC label names another account",
        "id libvirt-qemu qemu, on both nodes",
        "use the same uid and gid for QEMU on nodes that share storage; libvirt's dynamic_ownership changes local files",
        "Debian has 64055, RHEL 107; libvirt src/security/security_dac.c",
    ),
    page(
        "peer-page-size-missing",
        "a VM that asks for pages of that size does not start here",
        "cat /sys/kernel/mm/hugepages/*/nr_hugepages; findmnt -t hugetlbfs; on both nodes",
        "reserve the pages here (1 GiB at boot: hugepagesz= hugepages=) and mount them",
        "Documentation/admin-guide/mm/hugetlbpage.rst",
    ),
    page(
        "peer-pages-short",
        "the first VMs migrate; a later one is refused with hugepages-not-enough and stays on its node",
        "cat /sys/kernel/mm/hugepages/*/free_hugepages",
        "reserve more pages here, or move fewer VMs",
        "Documentation/admin-guide/mm/hugetlbpage.rst",
    ),
    page(
        "peer-older",
        "the migration fails and the VM stays at the source: 'unsupported machine type' or 'Features ... unsupported'",
        "virsh version; ovs-vsctl get Open_vSwitch . ovs_version dpdk_version; on both nodes",
        "install the newer version here, or give the VM the machine type and features of the older one",
        "QEMU docs/devel/migration: only older to newer is supported; hw/virtio/virtio.c, virtio_load",
    ),
    page(
        "peer-vm-exists",
        "libvirt refuses the migration before it calls the hook",
        "virsh list --all --uuid --name, on both nodes",
        "rename the VM that is defined here, or stop the VM that runs here",
        "libvirt src/conf/virdomainobjlist.c, virDomainObjListAddLocked",
    ),
];
