// SPDX-License-Identifier: Apache-2.0
//! The guest's memory: a file that both sides map.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::sys::memfd::{MFdFlags, memfd_create};
use vhost::VhostUserMemoryRegionInfo;
use vm_memory::mmap::{MmapRegion, MmapRegionError};
use vm_memory::{FileOffset, GuestAddress, GuestRegionMmap};

use super::{Doing, Failure, Memory, Outcome};

/// What ordinary pages are taken for where there is no huge one.
const ORDINARY: u64 = 2 << 20;

/// Memory of our own, to be shared.
#[derive(Debug)]
pub struct Shared {
    /// As we have mapped it.
    pub memory: Memory,
    file: File,
    size: u64,
    address: u64,
}

impl Shared {
    /// One huge page of a file below a hugetlbfs mount, as QEMU makes it: the page is taken at once, since a page that is
    /// not there when it is first touched is a signal (SIGBUS), not an error. The name goes again at once.
    pub fn huge(path: &Path, size: u64) -> Outcome<Shared> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits());
        let file = options.open(path).doing("making a file in hugetlbfs")?;
        let removed = std::fs::remove_file(path);
        fallocate(&file, FallocateFlags::empty(), 0, size.cast_signed()).doing("taking a huge page")?;
        removed.doing("removing the file in hugetlbfs")?;
        Shared::of(file, size)
    }

    /// Ordinary pages of a file that has no name.
    pub fn ordinary() -> Outcome<Shared> {
        let made = memfd_create("vhost-accord", MFdFlags::MFD_CLOEXEC);
        let file = File::from(made.doing("making a memfd")?);
        file.set_len(ORDINARY).doing("sizing a memfd")?;
        Shared::of(file, ORDINARY)
    }

    fn of(file: File, size: u64) -> Outcome<Shared> {
        let copy = file.try_clone().doing("duplicating a descriptor")?;
        let (region, address) = map(copy, 0, size, 0)?;
        Ok(Shared { memory: join(vec![region])?, file, size, address })
    }

    /// How the other side is told of it.
    pub(super) fn region(&self) -> VhostUserMemoryRegionInfo {
        VhostUserMemoryRegionInfo {
            guest_phys_addr: 0,
            memory_size: self.size,
            userspace_addr: self.address,
            mmap_offset: 0,
            mmap_handle: self.file.as_raw_fd(),
        }
    }

    /// The address in this process of an address in the guest's memory: what rings are told by.
    pub(super) fn host_address(&self, guest: u64) -> u64 {
        self.address + guest
    }
}

/// Maps part of a file, shared; also gives where.
pub(super) fn map(file: File, offset: u64, size: u64, guest: u64) -> Outcome<(GuestRegionMmap<()>, u64)> {
    const DOING: &str = "mapping shared memory";
    let size = usize::try_from(size).map_err(|error| Failure::other(DOING, error))?;
    let mapping = MmapRegion::<()>::from_file(FileOffset::new(file, offset), size).map_err(|error| {
        if let MmapRegionError::Mmap(io) = &error {
            Failure::io(DOING, io)
        } else {
            Failure::other(DOING, error)
        }
    })?;
    let address = mapping.as_ptr() as u64;
    let region = GuestRegionMmap::new(mapping, GuestAddress(guest));
    Ok((region.ok_or_else(|| Failure::other(DOING, "its address is out of range"))?, address))
}

/// All regions of a guest together.
pub(super) fn join(regions: Vec<GuestRegionMmap<()>>) -> Outcome<Memory> {
    Memory::from_regions(regions).map_err(|error| Failure::other("joining shared memory", error))
}

/// For handlers of the protocol, whose errors are the system's.
pub(super) fn as_io(failure: &Failure) -> io::Error {
    failure.errno.map_or_else(|| io::Error::other(failure.to_string()), io::Error::from_raw_os_error)
}
