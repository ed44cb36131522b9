// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used, reason = "tests")]

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::backend::{Event, Port};
use super::frontend::Card;
use super::memory::Shared;

const LIMIT: Duration = Duration::from_secs(20);

/// The switch's side, in a thread: what the guest sent, and the answer on its way.
fn switch(stream: UnixStream) -> std::thread::JoinHandle<Vec<Event>> {
    std::thread::spawn(move || {
        let mut port = Port::new(stream).unwrap();
        let mut seen = Vec::new();
        while let Some(event) = port.next(Instant::now() + LIMIT).unwrap() {
            if let Event::Frame(_) = event {
                port.deliver(b"back").unwrap();
            }
            seen.push(event);
        }
        seen
    })
}

#[test]
fn a_frame_goes_out_and_one_comes_back() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let switch = switch(theirs);
    let running = Card::negotiate(ours).unwrap().share(Shared::ordinary().unwrap()).unwrap();
    running.send(b"out, and exactly this").unwrap();
    assert_eq!(running.receive(LIMIT).unwrap(), b"back");
    drop(running);
    let frame = Event::Frame(b"out, and exactly this".to_vec());
    assert_eq!(switch.join().unwrap(), [Event::Negotiated, Event::Mapped(2 << 20), frame]);
}

#[test]
fn who_answers_something_else_is_told_so() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    let failure = Card::negotiate(ours).map(drop).unwrap_err();
    assert_eq!((failure.doing.as_ref(), failure.errno), ("negotiating", Some(nix::libc::EPIPE)), "{failure}");
}
