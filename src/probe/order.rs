// SPDX-License-Identifier: Apache-2.0
//! What parent and children say to each other, a line of JSON each.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Who;
use crate::base::named::named;
use crate::vhost_user::Outcome;

named! {
    /// Whose part a child plays.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Side {
        /// ovs-vswitchd: the backend.
        Dataplane = "the dataplane",
        /// QEMU: the frontend.
        Qemu = "QEMU",
    }
}

named! {
    /// The steps of a trial, in their order.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Step {
        Become = "become",
        /// May the connecting side reach the sockets that ports have now? Asked of the kernel, without connecting.
        LiveSocket = "live-socket",
        /// The dataplane opens the directory of the hugepages, as DPDK does when it starts.
        Hugepages = "hugepages",
        Bind = "bind",
        /// The socket is given to QEMU's group, as the hook does.
        Grant = "grant",
        Connect = "connect",
        /// They agree on features.
        Negotiate = "negotiate",
        /// QEMU makes the guest's memory.
        Memory = "memory",
        Map = "map",
        FrameOut = "frame-out",
        FrameBack = "frame-back",
    }
}

/// What a child is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Order {
    /// Become someone; the first order, and only that.
    Become(Who),
    /// Ask the kernel whether this may be written to, for a socket: connected to.
    Reach(PathBuf),
    OpenDirectory(PathBuf),
    Bind(PathBuf),
    Connect(PathBuf),
    /// Take the connection of who connected.
    Accept,
    /// Be the switch's port until the guest hangs up; answer its frame with this one.
    Serve(Vec<u8>),
    /// Be the guest's network card.
    Negotiate,
    /// Make memory: of a huge page in this file, of ordinary ones without.
    Memory(Option<(PathBuf, u64)>),
    Share,
    Send(Vec<u8>),
    Receive,
}

/// What came of it.
pub(super) type Answer = Outcome<Said>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Said {
    Done,
    /// The switch and the guest agree on features.
    Negotiated,
    /// The switch mapped so many bytes.
    Mapped(u64),
    /// A frame came.
    Frame(Vec<u8>),
}
