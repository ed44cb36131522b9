// SPDX-License-Identifier: Apache-2.0
//! The driver's side of a split virtqueue (virtio 1.3, 2.7), with room for one buffer at a time: what a guest's kernel does.

use std::sync::atomic::Ordering;

use vhost::VringConfigData;
use virtio_bindings::bindings::virtio_ring::VRING_DESC_F_WRITE;
use virtio_queue::desc::split::Descriptor;
use vm_memory::{Bytes, GuestAddress};

use super::memory::Shared;
use super::{BUFFER, Failure, Memory, Outcome};

/// Entries of a ring.
pub(super) const ENTRIES: u16 = 8;
/// What one ring and its buffer take, in guest memory, one after the other from its beginning.
const PLACE: u64 = 0x4000;
const AVAILABLE: u64 = 0x1000;
const USED: u64 = 0x2000;
const DATA: u64 = 0x3000;

#[derive(Debug)]
pub(super) struct Ring {
    base: u64,
}

impl Ring {
    pub(super) fn new(index: usize) -> Ring {
        Ring { base: index as u64 * PLACE }
    }

    /// Where it is, for the other side.
    pub(super) fn config(&self, shared: &Shared) -> VringConfigData {
        let at = |offset| shared.host_address(self.base + offset);
        VringConfigData {
            queue_max_size: ENTRIES,
            queue_size: ENTRIES,
            flags: 0,
            desc_table_addr: at(0),
            used_ring_addr: at(USED),
            avail_ring_addr: at(AVAILABLE),
            log_addr: None,
        }
    }

    /// Offers a buffer with something in it.
    pub(super) fn offer(&self, memory: &Memory, content: &[u8]) -> Outcome<()> {
        let write = || {
            memory.write_slice(content, GuestAddress(self.base + DATA))?;
            self.publish(memory, u32::try_from(content.len()).unwrap_or(u32::MAX), 0)
        };
        write().map_err(|error| Failure::other("offering a buffer", error))
    }

    /// Offers an empty buffer to be written to.
    pub(super) fn offer_room(&self, memory: &Memory) -> Outcome<()> {
        // A small constant, both.
        let publish = self.publish(memory, BUFFER as u32, VRING_DESC_F_WRITE as u16);
        publish.map_err(|error| Failure::other("offering a buffer", error))
    }

    fn publish(&self, memory: &Memory, length: u32, flags: u16) -> Result<(), vm_memory::GuestMemoryError> {
        let available = self.base + AVAILABLE;
        memory.write_obj(Descriptor::new(self.base + DATA, length, flags, 0), GuestAddress(self.base))?;
        memory.write_obj(0_u16, GuestAddress(available + 4))?;
        // The index last: it is what makes the rest count.
        memory.store(1_u16, GuestAddress(available + 2), Ordering::Release)
    }

    /// What came back in the buffer; none yet.
    pub(super) fn taken(&self, memory: &Memory) -> Outcome<Option<Vec<u8>>> {
        let used = self.base + USED;
        let read = || -> Result<Option<Vec<u8>>, vm_memory::GuestMemoryError> {
            if memory.load::<u16>(GuestAddress(used + 2), Ordering::Acquire)? == 0 {
                return Ok(None);
            }
            // Of `struct virtq_used_elem`: the length, after the index.
            let length: u32 = memory.read_obj(GuestAddress(used + 8))?;
            let mut content = vec![0; (length as usize).min(BUFFER)];
            memory.read_slice(&mut content, GuestAddress(self.base + DATA))?;
            Ok(Some(content))
        };
        read().map_err(|error| Failure::other("reading a used buffer", error))
    }
}
