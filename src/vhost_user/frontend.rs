// SPDX-License-Identifier: Apache-2.0
//! QEMU's side.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use vhost::VhostBackend;
use vhost::vhost_user::message::VhostUserHeaderFlag;
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vmm_sys_util::eventfd::EventFd;

use super::memory::Shared;
use super::ring::{ENTRIES, Ring};
use super::{Doing, FROM_GUEST, Failure, NET_HEADER, Outcome, QUEUES, TO_GUEST, features, protocol_features};

/// Between two looks at a ring.
const PAUSE: Duration = Duration::from_micros(200);

/// A network card whose other end is being set up.
pub struct Card {
    wire: Frontend,
}

pub struct Running {
    _wire: Frontend,
    shared: Shared,
    kicks: Vec<EventFd>,
    _calls: Vec<EventFd>,
}

impl Card {
    /// Agrees with the other side on features, and becomes the owner of the session.
    pub fn negotiate(stream: UnixStream) -> Outcome<Card> {
        let mut wire = Frontend::from_stream(stream, QUEUES as u64);
        let mut agree = || {
            wire.set_owner()?;
            let offered = wire.get_features()?;
            wire.set_features(offered & features())?;
            let offered = wire.get_protocol_features()?;
            wire.set_protocol_features(offered & protocol_features())?;
            wire.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
            wire.get_queue_num()
        };
        let queues = agree().map_err(|error| Failure::frontend("negotiating", &error))?;
        if queues < QUEUES as u64 {
            return Err(Failure::other("negotiating", format!("the other side has {queues} queues")));
        }
        Ok(Card { wire })
    }

    /// Passes the memory, and hears whether the other side could map it.
    pub fn share(self, shared: Shared) -> Outcome<Running> {
        let told = self.wire.set_mem_table(&[shared.region()]);
        told.map_err(|error| Failure::frontend("passing the memory", &error))?;
        let wire = &self.wire;
        let event = || EventFd::new(0).doing("making an eventfd");
        let (mut kicks, mut calls) = (Vec::new(), Vec::new());
        for queue in 0..QUEUES {
            let (kick, call) = (event()?, event()?);
            let ring_up = || {
                wire.set_vring_num(queue, ENTRIES)?;
                wire.set_vring_base(queue, 0)?;
                wire.set_vring_addr(queue, &Ring::new(queue).config(&shared))?;
                wire.set_vring_call(queue, &call)?;
                wire.set_vring_kick(queue, &kick)?;
                wire.clone().set_vring_enable(queue, true)
            };
            ring_up().map_err(|error| Failure::frontend("setting up the rings", &error))?;
            kicks.push(kick);
            calls.push(call);
        }
        Ok(Running { _wire: self.wire, shared, kicks, _calls: calls })
    }
}

impl Running {
    /// Sends a frame, once there is room for an answer.
    pub fn send(&self, frame: &[u8]) -> Outcome<()> {
        Ring::new(TO_GUEST).offer_room(&self.shared.memory)?;
        let framed = [&[0; NET_HEADER], frame].concat();
        Ring::new(FROM_GUEST).offer(&self.shared.memory, &framed)?;
        let kick = |queue: usize| {
            let kick = self.kicks.get(queue).ok_or_else(|| Failure::other("kicking", "no such queue"))?;
            kick.write(1).doing("kicking")
        };
        kick(TO_GUEST)?;
        kick(FROM_GUEST)
    }

    /// Waits for a frame, by looking at the ring as DPDK does.
    pub fn receive(&self, limit: Duration) -> Outcome<Vec<u8>> {
        let end = Instant::now() + limit;
        loop {
            if let Some(taken) = Ring::new(TO_GUEST).taken(&self.shared.memory)? {
                return Ok(taken.get(NET_HEADER..).unwrap_or_default().to_vec());
            }
            if Instant::now() > end {
                return Err(Failure::other("waiting for a frame", "none came"));
            }
            std::thread::sleep(PAUSE);
        }
    }
}
