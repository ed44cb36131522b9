// SPDX-License-Identifier: Apache-2.0
//! vhost-user itself, both sides of it, by the crates of rust-vmm: the frontend is QEMU's side, the backend the switch's,
//! whichever of them made the socket (docs/interop/vhost-user.rst of QEMU). Enough for one network card with one pair of
//! queues and one frame each way.

pub mod backend;
pub mod frontend;
pub mod memory;
mod ring;

use std::borrow::Cow;
use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};
use vhost::vhost_user::{Error as ProtocolError, VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vm_memory::GuestMemoryMmap;

/// The memory of a guest, as one process has mapped it.
pub type Memory = GuestMemoryMmap<()>;

/// The queue of frames to the guest, and of those from it (virtio 1.3, 5.1.2).
pub const TO_GUEST: usize = 0;
pub const FROM_GUEST: usize = 1;
pub const QUEUES: usize = 2;
/// Of `struct virtio_net_hdr_v1`, before each frame (virtio 1.3, 5.1.6).
const NET_HEADER: usize = 12;
/// What a buffer for one frame holds.
const BUFFER: usize = 2048;
/// `VIRTIO_F_VERSION_1`, as a bit.
const VERSION_1: u64 = 1 << 32;

/// What both sides of ours can do.
fn features() -> u64 {
    VERSION_1 | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
}

/// Of the protocol: several queues, and an answer to what has none of its own, so that a failed mapping is heard of.
fn protocol_features() -> VhostUserProtocolFeatures {
    VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::REPLY_ACK
}

/// What did not work, with the number the kernel gave where it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub doing: Cow<'static, str>,
    pub errno: Option<i32>,
    pub text: String,
}

impl Failure {
    fn io(doing: &'static str, error: &io::Error) -> Failure {
        Failure { doing: doing.into(), errno: error.raw_os_error(), text: error.to_string() }
    }

    /// Of something that the kernel had no part in.
    pub fn other(doing: &'static str, error: impl fmt::Display) -> Failure {
        Failure { doing: doing.into(), errno: None, text: error.to_string() }
    }

    fn frontend(doing: &'static str, error: &vhost::Error) -> Failure {
        match error {
            vhost::Error::VhostUserProtocol(error) => Failure::protocol(doing, error),
            other => Failure::other(doing, other),
        }
    }

    fn protocol(doing: &'static str, error: &ProtocolError) -> Failure {
        let io = match error {
            ProtocolError::SocketConnect(io)
            | ProtocolError::SocketError(io)
            | ProtocolError::SocketBroken(io)
            | ProtocolError::SocketRetry(io)
            | ProtocolError::ReqHandlerError(io) => Some(io),
            _ => None,
        };
        Failure { doing: doing.into(), errno: io.and_then(io::Error::raw_os_error), text: error.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.text)
    }
}

impl std::error::Error for Failure {}

/// Says of a call to the kernel what it was for.
pub trait Doing<T> {
    fn doing(self, what: &'static str) -> Outcome<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: &'static str) -> Outcome<T> {
        self.map_err(|error| Failure::io(what, &error.into()))
    }
}

/// What a step of a conversation ends with.
pub type Outcome<T> = Result<T, Failure>;

#[cfg(test)]
mod tests;
