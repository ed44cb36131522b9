// SPDX-License-Identifier: Apache-2.0
//! Devices that come and go while the VM runs.

use super::*;

pub(super) const SIGNATURES: &[Signature] = &[
    known("unplug-busy", Transient, &[
        "guest is busy (power indicator blinking)",
        "guest is busy",
        "is already in the process of unplug",
        "Unable to detach from guest: ",
        "unplug was rejected by the guest",
        "timed out waiting for device removal",
        "Hot-unplug failed: ",
        "acpi: device unplug request for",
    ], &["the guest has not finished the previous plug or unplug (PCIe's slot needs about five seconds), or has not booted its driver yet. The device is still attached"])
        .decide("virsh dumpxml NAME | grep -A8 vhostuser; the guest's dmesg (pciehp)")
        .fix("try again after five seconds or more, once the guest is up. Do not delete the switch's port or the socket meanwhile")
        .source("QEMU hw/pci/pcie.c; libvirt src/qemu/qemu_hotplug.c"),
    known("plug-no-slot", Unsupported, &[
        "No more available PCI slots",
        "does not support hotplugging",
        "hotplug is not supported",
        "slot {*} occupied by",
        "slot 0 function 0 already occupied",
        "already occupied by",
        "is not hotpluggable",
        "is not hotplug",
    ], &["the machine has no free slot that takes devices while it runs (q35 needs a pcie-root-port for each)"])
        .decide("virsh dumpxml NAME | grep -c pcie-root-port")
        .fix("add <controller type='pci' model='pcie-root-port'/> for each device that will come, and start the VM again")
        .source("libvirt src/conf/domain_addr.c; QEMU hw/pci"),
    known("plug-duplicate", Setting, &[
        "Duplicate ID '{}' for",
        "attempt to add duplicate property '{}'",
        "Duplicate device ID '{}'",
        "duplicate chardev",
        "chardev \"{}\" already exists",
        "netdev '{}' already exists",
    ], &["a device or chardev of this name is still there: an earlier detach has not ended in the guest, or an earlier attach failed half-way"])
        .decide("virsh qemu-monitor-command NAME '{\"execute\":\"query-chardev\"}'")
        .fix("wait for the detach to end, then try again; a leftover chardev goes at the VM's next start")
        .source("QEMU qom/object.c, monitor"),
    known("unplug-missing", Missing, &["no matching network device was found", "device not found: ", "DeviceNotFound"], &[
        "the VM has no such device: it is gone already, or the XML names it otherwise (MAC, alias, path)",
    ])
    .decide("virsh dumpxml NAME | grep -A8 vhostuser")
    .fix("detach with the XML that virsh dumpxml shows")
    .source("libvirt src/qemu/qemu_hotplug.c"),
    known("plug-unsupported", Unsupported, &[
        "live update of network device of type vhostuser is not",
        "cannot modify network device",
        "hotplug of interface type of vhostuser is not implemented",
        "live attach of device '{}' is not supported",
        "unable to change config on 'vhostuser'",
    ], &["libvirt cannot change this of a vhostuser interface while the VM runs"])
        .decide("virsh version")
        .fix("detach and attach it, or change the definition and start the VM again")
        .source("libvirt src/qemu/qemu_hotplug.c"),
];
