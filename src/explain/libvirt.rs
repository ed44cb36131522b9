// SPDX-License-Identifier: Apache-2.0
//! What libvirt says (virsh, the journal of libvirtd or virtqemud). Formats: src/util/virhook.c, src/qemu of libvirt 5 to 11.

use super::Class::{Missing, Permission, Setting};
use super::{Signature, known};

pub(super) const SIGNATURES: &[Signature] = &[
    known(
        "hugetlbfs-not-mounted",
        Missing,
        "hugetlbfs filesystem is not mounted or disabled by administrator config",
        &["hugepages-not-mounted", "hugepages-no-mount", "hugepages-disabled-in-qemu-conf"],
        "libvirt knew no hugetlbfs of the size the VM wants when it started",
        "mount it, then restart libvirt's daemon, which looks only when it starts",
    ),
    known(
        "hook-not-executable",
        Permission,
        "Non-executable hook script {}",
        &["hook-not-executable"],
        "libvirt passes over a hook that it may not execute: VMs start unchecked",
        "chmod 0755 on what the link leads to",
    ),
    known(
        "hook-refused",
        Setting,
        "Hook script execution failed: internal error: Child process ({*}/hooks/{}) unexpected exit status",
        &[],
        "a hook refused the operation: what comes after 'exit status' are its own words, an id first if it was ours",
        "vhost-accord explain ID; 126 and 127: the hook's interpreter is missing",
    ),
    known(
        "qemu-conf-group-missing",
        Setting,
        "Failed to parse group '{}'",
        &["qemu-conf-invalid"],
        "qemu.conf names a group that does not exist: libvirt's daemon does not start",
        "correct the line, then restart libvirt's daemon",
    ),
    known(
        "qemu-conf-user-missing",
        Setting,
        "Failed to parse user '{}'",
        &["qemu-conf-invalid"],
        "qemu.conf names a user that does not exist: libvirt's daemon does not start",
        "correct the line, then restart libvirt's daemon",
    ),
    known(
        "locked-memory",
        Setting,
        "cannot limit locked memory of process {} to",
        &[],
        "libvirt may not raise the limit of locked memory: a container without the capability, or too strict a drop-in",
        "LimitMEMLOCK=infinity for the service; CAP_SYS_RESOURCE in a container",
    ),
    known(
        "mount-namespace",
        Permission,
        "Unable to move {} mount to",
        &[],
        "libvirt cannot make QEMU's private /dev over this mount, as in a container whose mounts it may not move",
        "share the mount another way; namespaces = [ ] takes the isolation from every VM",
    ),
    known(
        "state-lock",
        Setting,
        "cannot acquire state change lock",
        &[],
        "another operation holds the VM: one that waits for OVS, or a hook that calls virsh and waits for itself",
        "virsh destroy ends a start that waits; no virsh in hooks",
    ),
];
