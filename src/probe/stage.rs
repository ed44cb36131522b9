// SPDX-License-Identifier: Apache-2.0
//! A trial carried out, step by step until one fails.

use std::path::Path;

use anyhow::Result;
use nix::errno::Errno;

use super::order::{Answer, Order};
use super::party::Party;
use super::traces::{NAME, Traces};
use super::{Done, Failed, Huge, Report, Side, Signals, Step, Trial, Who};
use crate::access::{Names, Wish, may};
use crate::config::PortType;
use crate::facts::paths::{PathFact, read_chain};
use crate::sockets::grant;

/// Either the trial goes on, or it ended at a step.
type Going<T> = std::result::Result<T, Box<End>>;

/// Why it does not go on.
enum End {
    Failed(Failed),
    Fault(anyhow::Error),
}

impl From<anyhow::Error> for Box<End> {
    fn from(error: anyhow::Error) -> Box<End> {
        Box::new(End::Fault(error))
    }
}

/// Where an order goes wrong, for the report.
struct Place<'a> {
    step: Step,
    path: Option<(&'a Path, Wish)>,
}

impl<'a> Place<'a> {
    fn of(step: Step) -> Place<'a> {
        Place { step, path: None }
    }

    fn at(step: Step, path: &'a Path, wish: Wish) -> Place<'a> {
        Place { step, path: Some((path, wish)) }
    }
}

/// Carries it out. `program` is this one; an error is that a signal came, or a fault of ours.
pub fn run(program: &Path, trial: &Trial, names: &dyn Names, signals: &Signals) -> Result<Report> {
    let mut report = Report { done: Vec::new(), failed: None, ordinary_pages: false };
    match carry_out(program, trial, names, signals, &mut report).map_err(|end| *end) {
        Ok(()) => {}
        Err(End::Failed(failed)) => report.failed = Some(failed),
        Err(End::Fault(error)) => return Err(error),
    }
    Ok(report)
}

fn carry_out(
    program: &Path,
    trial: &Trial,
    names: &dyn Names,
    signals: &Signals,
    report: &mut Report,
) -> Going<()> {
    let dataplane = Party::start(program, &trial.dataplane, signals)?;
    let qemu = Party::start(program, &trial.qemu, signals)?;
    let mut stage = Stage { trial, names, report, dataplane, qemu };
    stage.become_them()?;
    // After the identities, since these may bring other mounts with them.
    let mut sockets = Traces::new(stage.maker().root()?);
    let mut memory = Traces::new(stage.qemu.root()?);
    stage.reach_live()?;
    stage.open_hugepages()?;
    stage.meet(&mut sockets)?;
    drop(sockets);
    stage.talk(&mut memory)
}

/// Both children, and what became of them so far.
struct Stage<'a> {
    trial: &'a Trial,
    names: &'a dyn Names,
    report: &'a mut Report,
    dataplane: Party<'a>,
    qemu: Party<'a>,
}

impl<'a> Stage<'a> {
    fn party(&mut self, side: Side) -> &mut Party<'a> {
        match side {
            Side::Dataplane => &mut self.dataplane,
            Side::Qemu => &mut self.qemu,
        }
    }

    /// Who makes the socket.
    fn making(&self) -> Side {
        match self.trial.kind {
            PortType::Dpdkvhostuserclient => Side::Qemu,
            PortType::Dpdkvhostuser => Side::Dataplane,
        }
    }

    fn connecting(&self) -> Side {
        if self.making() == Side::Qemu { Side::Dataplane } else { Side::Qemu }
    }

    fn maker(&mut self) -> &mut Party<'a> {
        self.party(self.making())
    }

    fn done(&mut self, step: Step, what: impl Into<String>) {
        self.report.done.push(Done { step, what: what.into() });
    }

    /// An order, its answer, and the end where it did not work.
    fn ask(&mut self, side: Side, order: &Order, place: &Place<'_>) -> Going<Answer> {
        let answer = self.party(side).ask(order)?;
        self.judge(side, answer, place)
    }

    fn judge(&self, side: Side, answer: Answer, place: &Place<'_>) -> Going<Answer> {
        let Answer::Failed { doing, errno, text } = answer else { return Ok(answer) };
        let party = if side == Side::Qemu { &self.qemu } else { &self.dataplane };
        let component = place.path.and_then(|(path, wish)| self.component(party, path, wish));
        Err(Box::new(End::Failed(Failed {
            step: place.step,
            side,
            who: party.who.text(self.names),
            errno: errno.map(|number| format!("{:?}", Errno::from_raw(number))),
            error: format!("{doing}: {text}"),
            path: place.path.map(|(path, _)| path.to_path_buf()),
            component,
        })))
    }

    /// Which component says no.
    fn component(&self, party: &Party<'_>, path: &Path, wish: Wish) -> Option<String> {
        let wanted = if wish == Wish::Create { path.parent()? } else { path };
        match read_chain(&party.root().ok()?, wanted).ok()? {
            PathFact::Missing { first, .. } => Some(format!("{} is missing", first.display())),
            PathFact::Present { chain, .. } => {
                may(&party.who.identity(), &chain, wish).denial().map(|denial| denial.text(self.names))
            }
        }
    }

    fn become_them(&mut self) -> Going<()> {
        for side in [Side::Dataplane, Side::Qemu] {
            let order = Order::Become(self.party(side).who.clone());
            self.ask(side, &order, &Place::of(Step::Become))?;
        }
        let text = |who: &Who| who.text(self.names);
        let what =
            format!("the dataplane is {}, QEMU is {}", text(&self.trial.dataplane), text(&self.trial.qemu));
        self.done(Step::Become, what);
        Ok(())
    }

    fn reach_live(&mut self) -> Going<()> {
        let side = self.connecting();
        for path in &self.trial.live {
            let place = Place::at(Step::LiveSocket, path, Wish::Connect);
            self.ask(side, &Order::Reach(path.clone()), &place)?;
            self.done(Step::LiveSocket, format!("{} may connect to {}", side.name(), path.display()));
        }
        Ok(())
    }

    fn open_hugepages(&mut self) -> Going<()> {
        let Some(huge) = &self.trial.huge else { return Ok(()) };
        let place = Place::at(Step::Hugepages, &huge.mount, Wish::Read);
        self.ask(Side::Dataplane, &Order::OpenDirectory(huge.mount.clone()), &place)?;
        self.done(Step::Hugepages, format!("the dataplane opens {}", huge.mount.display()));
        Ok(())
    }

    /// One makes a socket, the other connects.
    fn meet(&mut self, sockets: &mut Traces) -> Going<()> {
        let (maker, other) = (self.making(), self.connecting());
        let path = self.trial.directory.join(&self.trial.name);
        sockets.file(path.clone())?;
        self.ask(maker, &Order::Bind(path.clone()), &Place::at(Step::Bind, &path, Wish::Create))?;
        self.done(Step::Bind, format!("{} creates {}", maker.name(), path.display()));
        if let Some(gid) = self.trial.grant.filter(|_| maker == Side::Dataplane) {
            give(sockets, &path, gid)?;
            let what = format!("given to group {}, as vhost-accord's hook does", self.names.group(gid));
            self.done(Step::Grant, what);
        }
        self.ask(other, &Order::Connect(path.clone()), &Place::at(Step::Connect, &path, Wish::Connect))?;
        self.done(Step::Connect, format!("{} connects", other.name()));
        self.ask(maker, &Order::Accept, &Place::of(Step::Connect)).map(drop)
    }

    /// What vhost-user is for. In it, QEMU asks and the dataplane serves, whoever made the socket.
    fn talk(&mut self, memory: &mut Traces) -> Going<()> {
        let (out, back) = (frame(b"out"), frame(b"back"));
        self.dataplane.order(&Order::Serve(back.clone()))?;
        self.ask_frontend(&Order::Negotiate, Step::Negotiate)?;
        let agreed = self.dataplane.answer()?;
        self.judge(Side::Dataplane, agreed, &Place::of(Step::Negotiate))?;
        self.done(Step::Negotiate, "both negotiate vhost-user's features, with version 1 of virtio");
        self.make_memory(memory)?;
        self.ask_frontend(&Order::Share, Step::Map)?;
        let mapped = self.dataplane.answer()?;
        if let Answer::Mapped(size) = self.judge(Side::Dataplane, mapped, &Place::of(Step::Map))? {
            self.done(Step::Map, format!("the dataplane maps {} KiB of it", size >> 10));
        }
        self.ask_frontend(&Order::Send(out.clone()), Step::FrameOut)?;
        let got = self.dataplane.answer()?;
        self.compare(Side::Dataplane, got, &out, Step::FrameOut)?;
        let got = self.qemu.ask(&Order::Receive)?;
        self.compare(Side::Qemu, got, &back, Step::FrameBack)
    }

    /// Asks QEMU's side; where the other side knows better why it failed, that counts.
    fn ask_frontend(&mut self, order: &Order, step: Step) -> Going<()> {
        let answer = self.qemu.ask(order)?;
        if matches!(answer, Answer::Failed { .. })
            && let other @ Answer::Failed { .. } = self.dataplane.answer()?
        {
            return self.judge(Side::Dataplane, other, &Place::of(step)).map(drop);
        }
        self.judge(Side::Qemu, answer, &Place::of(step)).map(drop)
    }

    fn make_memory(&mut self, traces: &mut Traces) -> Going<()> {
        let why = match &self.trial.huge {
            Some(huge) if huge.free => match self.huge_page(huge, traces)? {
                Ok(()) => return Ok(()),
                Err(why) => why,
            },
            Some(huge) => format!("no huge page of {} KiB is free", huge.page_size >> 10),
            None => "no hugetlbfs is mounted".to_string(),
        };
        self.ask(Side::Qemu, &Order::Memory(None), &Place::of(Step::Memory))?;
        self.report.ordinary_pages = true;
        self.done(Step::Memory, format!("{why}: QEMU creates 2 MiB of ordinary pages (memfd) instead"));
        Ok(())
    }

    /// The inner error: somebody was faster, no page is left.
    fn huge_page(&mut self, huge: &Huge, traces: &mut Traces) -> Going<std::result::Result<(), String>> {
        let name = format!("{NAME}{}", std::process::id());
        let (uid, gid) = (self.trial.qemu.uid, self.trial.qemu.gid);
        let file = traces.memory_directory(&huge.mount, &name, uid, gid)?;
        let answer = self.qemu.ask(&Order::Memory(Some((file.clone(), huge.page_size))))?;
        if let Answer::Failed { errno: Some(number), text, .. } = &answer
            && [Errno::ENOSPC, Errno::ENOMEM].contains(&Errno::from_raw(*number))
        {
            return Ok(Err(text.clone()));
        }
        self.judge(Side::Qemu, answer, &Place::at(Step::Memory, &file, Wish::Create))?;
        let size = huge.page_size >> 10;
        self.done(
            Step::Memory,
            format!("QEMU creates a huge page of {size} KiB below {}", huge.mount.display()),
        );
        Ok(Ok(()))
    }

    fn compare(&mut self, side: Side, got: Answer, wanted: &[u8], step: Step) -> Going<()> {
        let failed =
            |text: String| Answer::Failed { doing: "comparing the frame".to_string(), errno: None, text };
        let got = match self.judge(side, got, &Place::of(step))? {
            Answer::Frame(got) => got,
            _ => {
                return self
                    .judge(side, failed("no frame was received".to_string()), &Place::of(step))
                    .map(drop);
            }
        };
        if got != wanted {
            let text =
                format!("{} bytes were received, not the {} bytes that were sent", got.len(), wanted.len());
            return self.judge(side, failed(text), &Place::of(step)).map(drop);
        }
        self.done(
            step,
            format!("{} gets a frame of {} bytes, exactly as it was sent", side.name(), got.len()),
        );
        Ok(())
    }
}

/// The same change that the hook makes.
pub(super) fn give(sockets: &Traces, path: &Path, gid: u32) -> Result<()> {
    let Some(made) = sockets.root().find_nofollow(path)? else { return Ok(()) };
    let grant = grant::Grant {
        port: String::new(),
        path: path.to_path_buf(),
        uid: made.uid(),
        gid_before: made.gid(),
        mode_before: made.mode(),
        gid,
        mode: made.mode() | grant::GROUP_READ_WRITE,
    };
    grant::make(sockets.root(), &grant).map(drop)
}

/// An Ethernet frame to nobody (IEEE 802, local experimental ethertype 0x88B5), different each time.
fn frame(text: &[u8]) -> Vec<u8> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 0x88, 0xb5];
    frame.extend(text);
    frame.extend(now.as_nanos().to_be_bytes());
    // The shortest there is, less its check sum.
    frame.resize(60, 0);
    frame
}
