// SPDX-License-Identifier: Apache-2.0
//! The switch's side: a port that hands out the frames a guest sends, and hands the guest frames.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vhost::vhost_user::{BackendReqHandler, Error};
use virtio_queue::QueueT;
use vm_memory::Bytes;

use super::{BUFFER, Doing, FROM_GUEST, Failure, NET_HEADER, Outcome, TO_GUEST};

mod device;

use device::Device;

/// What happened on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Both sides agreed on features.
    Negotiated,
    /// The guest's memory is mapped: so many bytes.
    Mapped(u64),
    /// The guest sent this frame.
    Frame(Vec<u8>),
}

pub struct Port {
    wire: BackendReqHandler<Mutex<Device>>,
    device: Arc<Mutex<Device>>,
    socket: UnixStream,
}

impl Port {
    /// On a connection, whoever made it.
    pub fn new(stream: UnixStream) -> Outcome<Port> {
        let device = Arc::new(Mutex::new(Device::default()));
        let socket = stream.try_clone().doing("duplicating a descriptor")?;
        Ok(Port { wire: BackendReqHandler::from_stream(stream, device.clone()), device, socket })
    }

    /// Serves the guest until the next event; `None` when it has hung up, or `end` has come.
    pub fn next(&mut self, end: Instant) -> Outcome<Option<Event>> {
        loop {
            if let Some(event) = self.device().events.pop_front() {
                return Ok(Some(event));
            }
            let (asked, kicked) = self.wait(end)?;
            if kicked {
                self.take_frames()?;
            } else if !asked {
                return Ok(None);
            } else if let Err(error) = self.wire.handle_request() {
                return self.ended(&error);
            }
        }
    }

    /// Hands the guest a frame; an error where it has left no room for one.
    pub fn deliver(&mut self, frame: &[u8]) -> Outcome<()> {
        const DOING: &str = "handing the guest a frame";
        let mut device = self.device();
        let memory = device.memory.clone().ok_or_else(|| Failure::other(DOING, "no memory was shared"))?;
        let queue = device.queue(TO_GUEST).map_err(|error| Failure::other(DOING, error))?;
        let chain = queue.state.pop_descriptor_chain(&memory);
        let chain = chain.ok_or_else(|| Failure::other(DOING, "it offered no buffer"))?;
        let head = chain.head_index();
        let room = chain.writable().next().ok_or_else(|| Failure::other(DOING, "its buffer is no room"))?;
        let mut framed = vec![0; NET_HEADER];
        // One buffer for the whole frame (`num_buffers` of the header).
        framed[10] = 1;
        framed.extend(frame);
        if framed.len() > room.len() as usize {
            return Err(Failure::other(DOING, "its buffer is too small"));
        }
        memory.write_slice(&framed, room.addr()).map_err(|error| Failure::other(DOING, error))?;
        let length = u32::try_from(framed.len()).unwrap_or(u32::MAX);
        queue.state.add_used(&memory, head, length).map_err(|error| Failure::other(DOING, error))?;
        queue.signal()
    }

    fn device(&self) -> MutexGuard<'_, Device> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is there a message, or a kick?
    fn wait(&self, end: Instant) -> Outcome<(bool, bool)> {
        const DOING: &str = "waiting for the guest";
        let kick = self.device().kick().doing(DOING)?;
        let mut waited = vec![PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        waited.extend(kick.as_ref().map(|kick| PollFd::new(kick.as_fd(), PollFlags::POLLIN)));
        let left = end.saturating_duration_since(Instant::now());
        match poll(&mut waited, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => {}
            failed => drop(failed.doing(DOING)?),
        }
        let is_ready = |index: usize| waited.get(index).is_some_and(|one| one.any() == Some(true));
        Ok((is_ready(0), is_ready(1)))
    }

    fn ended(&self, error: &Error) -> Outcome<Option<Event>> {
        if let Some(failure) = self.device().failure.take() {
            return Err(failure);
        }
        match error {
            // What a guest that ends in the middle of it leaves.
            Error::Disconnected | Error::PartialMessage | Error::SocketBroken(_) => Ok(None),
            error => Err(Failure::protocol("answering the guest", error)),
        }
    }

    fn take_frames(&self) -> Outcome<()> {
        const DOING: &str = "taking the guest's frames";
        let mut device = self.device();
        let Some(memory) = device.memory.clone() else { return Ok(()) };
        let queue = device.queue(FROM_GUEST).map_err(|error| Failure::other(DOING, error))?;
        queue.acknowledge()?;
        let mut frames = Vec::new();
        while let Some(chain) = queue.state.pop_descriptor_chain(&memory) {
            let head = chain.head_index();
            let mut content = Vec::new();
            for part in chain.readable() {
                // No more than a frame's buffer: the length is the guest's.
                let mut piece = vec![0; (part.len() as usize).min(BUFFER)];
                let read = memory.read_slice(&mut piece, part.addr());
                read.map_err(|error| Failure::other("reading the guest's frame", error))?;
                content.extend(piece);
            }
            queue.state.add_used(&memory, head, 0).map_err(|error| Failure::other(DOING, error))?;
            frames.push(Event::Frame(content.get(NET_HEADER..).unwrap_or_default().to_vec()));
        }
        queue.signal()?;
        device.events.extend(frames);
        Ok(())
    }
}

/// One queue as the guest set it up.
#[derive(Debug)]
struct Queue {
    state: virtio_queue::Queue,
    kick: Option<File>,
    call: Option<File>,
    enabled: bool,
}

impl Queue {
    fn new() -> Option<Queue> {
        let state = virtio_queue::Queue::new(1024).ok()?;
        Some(Queue { state, kick: None, call: None, enabled: false })
    }

    fn acknowledge(&mut self) -> Outcome<()> {
        let mut count = [0; 8];
        let read = self.kick.as_mut().map(|kick| kick.read(&mut count)).transpose();
        read.map(drop).doing("reading a kick")
    }

    fn signal(&mut self) -> Outcome<()> {
        let written = self.call.as_mut().map(|call| call.write(&1_u64.to_ne_bytes())).transpose();
        written.map(drop).doing("signalling the guest")
    }
}
