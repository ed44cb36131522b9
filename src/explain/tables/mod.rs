// SPDX-License-Identifier: Apache-2.0
//! Every message that is known, by what it is about. In each table the more special come before the more general.

mod back_ends;
mod crashes;
mod devices;
mod eal;
mod hotplug;
mod libvirt;
mod memory;
mod migration;
mod platforms;
mod pools;
mod refused;
mod sockets;
mod state;
mod switch;
mod unrelated;
mod vhost;
mod virtiofsd;

use super::Class::*;
use super::Program;
use super::Thing::{self, *};
use super::signature::{Actor, Signature, known};
use crate::access::Wish;

const QEMU: &[Program] = &[Program::Qemu, Program::Libvirt, Program::OpenStack, Program::Containers];
const LOOK: &str = "namei -l PATH; ls -lZ PATH; ausearch -m avc -ts recent; dmesg | grep apparmor=";

/// Of a whole log: features were agreed on, and memory never came.
pub(super) const NO_MEMORY_TABLE: Signature = known("no-memory-table", Missing, &[], &[
    "the front end connected and agreed on features (so socket, permission and roles are right), and never handed over its memory. With virtio-user (testpmd): more than 8 regions, because of many 2 MiB huge-page files, or no huge pages; its own log says 'Exceed maximum of 8' or 'prepare_vhost_memory_user'",
    "with QEMU: the guest's driver has not started the card yet (still booting, no virtio driver), which is no error",
])
.decide("the front end's own log; the number of rtemap files in /dev/hugepages; whether the guest is up")
.fix("for virtio-user 1 GiB pages, --single-file-segments (DPDK 18.05 and newer) or a smaller --socket-mem; for a guest wait until it is up")
.source("DPDK drivers/net/virtio/virtio_user, lib/vhost/vhost_user.c");

/// Every message that is known. Audit records are read apart.
pub const SIGNATURES: [&[Signature]; 17] = [
    hotplug::SIGNATURES,
    migration::SIGNATURES,
    refused::SIGNATURES,
    sockets::SIGNATURES,
    memory::SIGNATURES,
    devices::SIGNATURES,
    vhost::SIGNATURES,
    pools::SIGNATURES,
    eal::SIGNATURES,
    switch::SIGNATURES,
    state::SIGNATURES,
    virtiofsd::SIGNATURES,
    back_ends::SIGNATURES,
    crashes::SIGNATURES,
    unrelated::SIGNATURES,
    libvirt::SIGNATURES,
    platforms::SIGNATURES,
];
