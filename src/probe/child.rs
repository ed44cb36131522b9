// SPDX-License-Identifier: Apache-2.0
//! The child's side: orders on standard input, answers on standard output, until its parent is gone.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::signal::SigSet;
use nix::unistd::{AccessFlags, faccessat};

use super::order::{Answer, Order, Said};
use crate::vhost_user::backend::{Event, Port};
use crate::vhost_user::frontend::{Card, Running};
use crate::vhost_user::memory::Shared;
use crate::vhost_user::{Doing, Failure, Outcome};

/// Longer than the parent waits for anything.
const LIMIT: Duration = Duration::from_secs(30);

/// What a child has so far.
#[derive(Default)]
struct Child {
    listener: Option<UnixListener>,
    stream: Option<UnixStream>,
    card: Option<Card>,
    memory: Option<Shared>,
    running: Option<Running>,
}

/// Serves the parent. An error only where there is no telling it.
pub fn serve() -> Result<()> {
    SigSet::empty().thread_set_mask().context("letting signals through")?;
    let mut lines = io::stdin().lock().lines();
    let Some(first) = lines.next().transpose()? else { return Ok(()) };
    let Order::Become(who) = serde_json::from_str(&first)? else {
        bail!("the first order is to become someone")
    };
    if let Err(error) = who.become_it() {
        let errno = error.downcast_ref::<nix::errno::Errno>().map(|errno| *errno as i32);
        return say(&Err(Failure { errno, ..Failure::other("taking the identity", format!("{error:#}")) }));
    }
    say(&Ok(Said::Done))?;
    let mut child = Child::default();
    for line in lines {
        say(&child.carry_out(serde_json::from_str(&line?)?))?;
    }
    Ok(())
}

fn say(answer: &Answer) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(answer)?)?;
    Ok(out.flush()?)
}

fn missing(what: &'static str) -> Failure {
    Failure::other("following an order", format!("there is no {what}"))
}

impl Child {
    fn carry_out(&mut self, order: Order) -> Answer {
        match order {
            Order::Become(_) => return Err(missing("way to become someone else")),
            Order::Reach(path) => faccessat(AT_FDCWD, &path, AccessFlags::W_OK, AtFlags::AT_EACCESS)
                .doing("reaching the socket")?,
            Order::OpenDirectory(path) => drop(File::open(path).doing("opening the directory")?),
            Order::Bind(path) => self.listener = Some(UnixListener::bind(path).doing("binding")?),
            Order::Connect(path) => self.stream = Some(UnixStream::connect(path).doing("connecting")?),
            Order::Accept => {
                let listener = self.listener.take().ok_or_else(|| missing("socket"))?;
                self.stream = Some(listener.accept().doing("accepting")?.0);
            }
            Order::Serve(back) => return serve_port(self.take_stream()?, &back),
            Order::Negotiate => self.card = Some(Card::negotiate(self.take_stream()?)?),
            Order::Memory(huge) => {
                self.memory = Some(match huge {
                    Some((path, size)) => Shared::huge(&path, size)?,
                    None => Shared::ordinary()?,
                });
            }
            Order::Share => {
                let memory = self.memory.take().ok_or_else(|| missing("memory"))?;
                let card = self.card.take().ok_or_else(|| missing("network card"))?;
                self.running = Some(card.share(memory)?);
            }
            Order::Send(frame) => self.running()?.send(&frame)?,
            Order::Receive => return Ok(Said::Frame(self.running()?.receive(LIMIT)?)),
        }
        Ok(Said::Done)
    }

    fn take_stream(&mut self) -> Outcome<UnixStream> {
        self.stream.take().ok_or_else(|| missing("connection"))
    }

    fn running(&self) -> Outcome<&Running> {
        self.running.as_ref().ok_or_else(|| missing("running network card"))
    }
}

/// Says what happens while it does; the last answer is that the guest has hung up.
fn serve_port(stream: UnixStream, back: &[u8]) -> Answer {
    let mut port = Port::new(stream)?;
    let tell = |said| say(&Ok(said)).map_err(|error| Failure::other("answering", error));
    while let Some(event) = port.next(Instant::now() + LIMIT)? {
        match event {
            Event::Negotiated => tell(Said::Negotiated)?,
            Event::Mapped(size) => tell(Said::Mapped(size))?,
            Event::Frame(frame) => {
                tell(Said::Frame(frame))?;
                port.deliver(back)?;
            }
        }
    }
    Ok(Said::Done)
}
