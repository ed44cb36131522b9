// SPDX-License-Identifier: Apache-2.0
//! Pages: what two nodes have in common, or not.

use super::{Page, page};

pub(super) const PAGES: &[Page] = &[
    page(
        "peer-newer",
        "what the other node's program knows of a newer format is not compared; the rest is",
        "vhost-accord --version, on both nodes",
        "the same vhost-accord on both nodes",
        "src/fingerprint/mod.rs: the format's version",
    ),
    page(
        "peer-unknown",
        "a VM is neither promised a start nor refused: OVSDB, a directory or /proc did not tell what counts",
        "vhost-accord check; ovs-vsctl --timeout=5 show",
        "what vhost-accord check says on this node",
        "the hook refuses nothing that it is not sure of",
    ),
    page(
        "peer-mode-not-here",
        "the VM is refused at 'migrate begin', or would have a dead network card here: its sockets are of a type that nobody \
         agreed on",
        "vhost-accord config, on both nodes",
        "add the type to modes here and apply; or turn the VM's ports to a type that both nodes have",
        "README: modes; tests/node/against.rs",
    ),
    page(
        "peer-modes-differ",
        "nothing yet: no VM with that type runs there, or everything for it was made here by hand",
        "vhost-accord config, on both nodes",
        "the same modes on all nodes that VMs move between",
        "README: modes",
    ),
    page(
        "peer-directory-differs",
        "the hook refuses the VM with socket-directory-missing or port-path-differs, unless that directory is made here as well",
        "vhost-accord config; ovs-vsctl get Open_vSwitch . other_config:vhost-sock-dir; on both nodes",
        "the same directories on all nodes that VMs move between",
        "libvirt migrates a vhostuser interface with its path (src/conf/domain_conf.c); OVS vhost-sock-dir",
    ),
    page(
        "peer-gid-differs",
        "nothing where each node goes by its own number; a DAC label or a container with the other one is kept out",
        "getent group hugetlbfs, on both nodes",
        "one number on all nodes: vhost-accord apply --renumber --restart",
        "kolla kolla/common/users.py, TripleO and EDPM: gid 42477",
    ),
    page(
        "peer-qemu-identity-differs",
        "an image on NFS that libvirt gave to the source's number is unreadable here; a static DAC label names another account",
        "id libvirt-qemu qemu, on both nodes",
        "the same uid and gid for QEMU on nodes that share storage; dynamic_ownership gives local files anew",
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
        "the first VMs come, one of the next is refused with hugepages-not-enough and stays where it is",
        "cat /sys/kernel/mm/hugepages/*/free_hugepages",
        "reserve more pages here, or move fewer VMs",
        "Documentation/admin-guide/mm/hugetlbpage.rst",
    ),
    page(
        "peer-older",
        "QEMU here may not know the VM's machine type ('unsupported machine type') or refuse its state ('Features ... \
         unsupported'); the VM stays at the source",
        "virsh version; ovs-vsctl get Open_vSwitch . ovs_version dpdk_version; on both nodes",
        "the newer version here, or a VM with a machine type and features of the older one",
        "QEMU docs/devel/migration: from older to newer only is promised; hw/virtio/virtio.c, virtio_load",
    ),
    page(
        "peer-vm-exists",
        "libvirt refuses the migration before the hook is asked",
        "virsh list --all --uuid --name, on both nodes",
        "rename the one that is defined here, or stop the one that runs",
        "libvirt src/conf/virdomainobjlist.c, virDomainObjListAddLocked",
    ),
];
