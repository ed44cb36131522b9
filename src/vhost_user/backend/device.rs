// SPDX-License-Identifier: Apache-2.0
//! What the guest told the port, message by message.

use std::collections::VecDeque;
use std::fs::File;
use std::io;

use vhost::VhostUserMemoryRegionBase;
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight,
    VhostUserLog, VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig, VhostUserSharedMsg,
    VhostUserSingleMemoryRegion, VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{Error, GpuBackend, Result, VhostUserBackendReqHandlerMut};
use virtio_queue::QueueT;

use super::{Event, Queue};
use crate::vhost_user::memory::{as_io, join, map};
use crate::vhost_user::{FROM_GUEST, Failure, Memory, QUEUES, features, protocol_features};

/// Part of the guest's memory, in its own addresses and those of the process that shared it.
#[derive(Debug)]
struct Region {
    guest: u64,
    theirs: u64,
    size: u64,
}

/// The port as it stands.
#[derive(Debug, Default)]
pub(super) struct Device {
    pub(super) memory: Option<Memory>,
    pub(super) events: VecDeque<Event>,
    /// What went wrong with the last message.
    pub(super) failure: Option<Failure>,
    regions: Vec<Region>,
    queues: Vec<Queue>,
}

impl Device {
    pub(super) fn queue(&mut self, index: usize) -> Result<&mut Queue> {
        while self.queues.len() < QUEUES {
            self.queues.push(Queue::new().ok_or(Error::BackendInternalError)?);
        }
        self.queues.get_mut(index).ok_or(Error::InvalidParam)
    }

    /// What to wait for, once the guest may send.
    pub(super) fn kick(&self) -> io::Result<Option<File>> {
        let queue = self.queues.get(FROM_GUEST).filter(|queue| queue.enabled && queue.state.ready());
        queue.and_then(|queue| queue.kick.as_ref()).map(File::try_clone).transpose()
    }

    /// The address in the guest of one in the other process.
    fn guest_address(&self, theirs: u64) -> Result<u64> {
        let inside =
            |region: &&Region| theirs.checked_sub(region.theirs).is_some_and(|offset| offset < region.size);
        let region = self.regions.iter().find(inside).ok_or(Error::InvalidParam)?;
        Ok(theirs - region.theirs + region.guest)
    }
}

fn not_offered<T>(what: &'static str) -> Result<T> {
    Err(Error::InvalidOperation(what))
}

/// Messages whose answer is always the same.
macro_rules! answers {
    ($($message:ident($($content:ty),*) -> $kind:ty: $answer:expr;)+) => {
        $(fn $message(&mut self $(, _: $content)*) -> Result<$kind> {
            $answer
        })+
    };
}

impl VhostUserBackendReqHandlerMut for Device {
    fn reset_device(&mut self) -> Result<()> {
        *self = Device::default();
        Ok(())
    }

    fn set_features(&mut self, wanted: u64) -> Result<()> {
        if wanted & !features() != 0 {
            return Err(Error::FeatureMismatch);
        }
        Ok(())
    }

    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy: Option<bool>,
    ) -> Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        let mapped = regions
            .iter()
            .zip(files)
            .map(|(region, file)| {
                map(file, region.mmap_offset, region.memory_size, region.guest_phys_addr)
                    .map(|(region, _)| region)
            })
            .collect::<std::result::Result<Vec<_>, _>>()
            .and_then(join);
        self.memory = Some(mapped.map_err(|failure| {
            let io = as_io(&failure);
            self.failure = Some(failure);
            Error::ReqHandlerError(io)
        })?);
        let region = |region: &VhostUserMemoryRegion| Region {
            guest: region.guest_phys_addr,
            theirs: region.user_addr,
            size: region.memory_size,
        };
        self.regions = regions.iter().map(region).collect();
        self.events.push_back(Event::Mapped(regions.iter().map(|region| region.memory_size).sum()));
        Ok(None)
    }

    fn set_vring_num(&mut self, index: u32, number: u32) -> Result<()> {
        let size = u16::try_from(number).map_err(|_| Error::InvalidParam)?;
        self.queue(index as usize)?.state.try_set_size(size).map_err(|_| Error::InvalidParam)
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        _flags: VhostUserVringAddrFlags,
        descriptors: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Result<()> {
        let [descriptors, used, available] =
            [self.guest_address(descriptors)?, self.guest_address(used)?, self.guest_address(available)?]
                .map(vm_memory::GuestAddress);
        let state = &mut self.queue(index as usize)?.state;
        state
            .try_set_desc_table_address(descriptors)
            .and_then(|()| state.try_set_used_ring_address(used))
            .and_then(|()| state.try_set_avail_ring_address(available))
            .map_err(|_| Error::InvalidParam)
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        let base = u16::try_from(base).map_err(|_| Error::InvalidParam)?;
        let state = &mut self.queue(index as usize)?.state;
        state.set_next_avail(base);
        state.set_next_used(base);
        Ok(())
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        let state = &mut self.queue(index as usize)?.state;
        state.set_ready(false);
        Ok(VhostUserVringState::new(index, state.next_avail().into()))
    }

    fn set_vring_kick(&mut self, index: u8, file: Option<File>) -> Result<()> {
        let queue = self.queue(index.into())?;
        queue.kick = file;
        queue.state.set_ready(true);
        Ok(())
    }

    fn set_vring_call(&mut self, index: u8, file: Option<File>) -> Result<()> {
        self.queue(index.into())?.call = file;
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        self.events.push_back(Event::Negotiated);
        Ok(QUEUES as u64)
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        self.queue(index as usize)?.enabled = enable;
        Ok(())
    }

    answers! {
        get_features() -> u64: Ok(features());
        set_owner() -> (): Ok(());
        reset_owner() -> (): Ok(());
        set_vring_err(u8, Option<File>) -> (): Ok(());
        get_protocol_features() -> VhostUserProtocolFeatures: Ok(protocol_features());
        set_protocol_features(u64) -> (): Ok(());
    }

    // None of what follows is offered, so nobody may ask for it.
    answers! {
        get_config(u32, u32, VhostUserConfigFlags) -> Vec<u8>: not_offered("no configuration space");
        set_config(u32, &[u8], VhostUserConfigFlags) -> (): not_offered("no configuration space");
        set_gpu_socket(GpuBackend) -> (): not_offered("no graphics");
        get_shared_object(VhostUserSharedMsg) -> File: not_offered("no shared objects");
        get_inflight_fd(&VhostUserInflight) -> (VhostUserInflight, File): not_offered("no tracking");
        set_inflight_fd(&VhostUserInflight, File) -> (): not_offered("no tracking");
        get_max_mem_slots() -> u64: not_offered("no memory slots");
        add_mem_region(&VhostUserSingleMemoryRegion, File, Option<bool>) -> Option<VhostUserMemoryRegionBase>:
            not_offered("no memory slots");
        remove_mem_region(&VhostUserSingleMemoryRegion) -> (): not_offered("no memory slots");
        set_device_state_fd(VhostTransferStateDirection, VhostTransferStatePhase, File) -> Option<File>:
            not_offered("no migration");
        check_device_state() -> (): not_offered("no migration");
        get_shmem_config() -> VhostUserShMemConfig: not_offered("no shared memory of the device");
        set_log_base(&VhostUserLog, File) -> (): not_offered("no migration");
    }
}
