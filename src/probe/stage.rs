// SPDX-License-Identifier: Apache-2.0
//! A trial carried out, step by step until one fails.

use std::path::Path;

use anyhow::{Result, bail};
use nix::errno::Errno;

use super::order::{Answer, Order, Said};
use super::party::Party;
use super::traces::{NAME, Traces};
use super::{Done, Failed, Huge, Report, Side, Signals, Step, Trial, Who};
use crate::access::{Names, Wish, may};
use crate::config::PortType;
use crate::facts::paths::{PathFact, read_chain};
use crate::sockets::grant;
use crate::vhost_user::Failure;

/// Where an order goes wrong, for the report.
type Place<'a> = (Step, Option<(&'a Path, Wish)>);

/// Carries it out. `program` is this one; an error is that a signal came, or a fault of ours.
pub fn run(program: &Path, trial: &Trial, names: &dyn Names, signals: &Signals) -> Result<Report> {
    let mut report = Report { done: Vec::new(), failed: None, ordinary_pages: false };
    if let Err(error) = carry_out(program, trial, names, signals, &mut report) {
        report.failed = Some(error.downcast::<Failed>()?);
    }
    Ok(report)
}

fn carry_out(
    program: &Path,
    trial: &Trial,
    names: &dyn Names,
    signals: &Signals,
    report: &mut Report,
) -> Result<()> {
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
    fn ask(&mut self, side: Side, order: &Order, place: Place<'_>) -> Result<Said> {
        let answer = self.party(side).ask(order)?;
        self.judge(side, answer, place)
    }

    fn judge(&self, side: Side, answer: Answer, (step, path): Place<'_>) -> Result<Said> {
        let failure = match answer {
            Ok(said) => return Ok(said),
            Err(failure) => failure,
        };
        let party = if side == Side::Qemu { &self.qemu } else { &self.dataplane };
        let component = path.and_then(|(path, wish)| self.component(party, path, wish));
        bail!(Failed {
            step,
            side,
            who: party.who.text(self.names),
            errno: failure.errno.map(|number| format!("{:?}", Errno::from_raw(number))),
            error: failure.to_string(),
            path: path.map(|(path, _)| path.to_path_buf()),
            component,
        })
    }

    /// Which component says no.
    fn component(&self, party: &Party<'_>, path: &Path, wish: Wish) -> Option<String> {
        let wanted = if wish == Wish::Create { path.parent()? } else { path };
        match read_chain(&party.root().ok()?, wanted).ok()? {
            PathFact::Missing { first, .. } => Some(format!("{} is missing", first.display())),
            PathFact::Present { chain, .. } => {
                may(&party.who.identity(), &chain, wish).err().map(|denial| denial.text(self.names))
            }
        }
    }

    fn become_them(&mut self) -> Result<()> {
        for side in [Side::Dataplane, Side::Qemu] {
            let order = Order::Become(self.party(side).who.clone());
            self.ask(side, &order, (Step::Become, None))?;
        }
        let text = |who: &Who| who.text(self.names);
        let what =
            format!("the dataplane is {}, QEMU is {}", text(&self.trial.dataplane), text(&self.trial.qemu));
        self.done(Step::Become, what);
        Ok(())
    }

    fn reach_live(&mut self) -> Result<()> {
        let side = self.connecting();
        for path in &self.trial.live {
            let place = (Step::LiveSocket, Some((path.as_path(), Wish::Connect)));
            self.ask(side, &Order::Reach(path.clone()), place)?;
            self.done(Step::LiveSocket, format!("{} may connect to {}", side.name(), path.display()));
        }
        Ok(())
    }

    fn open_hugepages(&mut self) -> Result<()> {
        let Some(huge) = &self.trial.huge else { return Ok(()) };
        let place = (Step::Hugepages, Some((huge.mount.as_path(), Wish::Read)));
        self.ask(Side::Dataplane, &Order::OpenDirectory(huge.mount.clone()), place)?;
        self.done(Step::Hugepages, format!("the dataplane opens {}", huge.mount.display()));
        Ok(())
    }

    /// One makes a socket, the other connects.
    fn meet(&mut self, sockets: &mut Traces) -> Result<()> {
        let (maker, other) = (self.making(), self.connecting());
        let path = self.trial.directory.join(&self.trial.name);
        sockets.file(path.clone())?;
        self.ask(maker, &Order::Bind(path.clone()), (Step::Bind, Some((&path, Wish::Create))))?;
        self.done(Step::Bind, format!("{} creates {}", maker.name(), path.display()));
        if let Some(gid) = self.trial.grant.filter(|_| maker == Side::Dataplane) {
            give(sockets, &path, gid)?;
            let what = format!("given to group {}, as vhost-accord's hook does", self.names.group(gid));
            self.done(Step::Grant, what);
        }
        self.ask(other, &Order::Connect(path.clone()), (Step::Connect, Some((&path, Wish::Connect))))?;
        self.done(Step::Connect, format!("{} connects", other.name()));
        self.ask(maker, &Order::Accept, (Step::Connect, None)).map(drop)
    }

    /// What vhost-user is for. In it, QEMU asks and the dataplane serves, whoever made the socket.
    fn talk(&mut self, memory: &mut Traces) -> Result<()> {
        let (out, back) = (frame(b"out"), frame(b"back"));
        self.dataplane.order(&Order::Serve(back.clone()))?;
        self.ask_frontend(&Order::Negotiate, Step::Negotiate)?;
        let agreed = self.dataplane.answer()?;
        self.judge(Side::Dataplane, agreed, (Step::Negotiate, None))?;
        self.done(Step::Negotiate, "both negotiate vhost-user's features, with version 1 of virtio");
        self.make_memory(memory)?;
        self.ask_frontend(&Order::Share, Step::Map)?;
        let mapped = self.dataplane.answer()?;
        if let Said::Mapped(size) = self.judge(Side::Dataplane, mapped, (Step::Map, None))? {
            self.done(Step::Map, format!("the dataplane maps {} KiB of it", size >> 10));
        }
        self.ask_frontend(&Order::Send(out.clone()), Step::FrameOut)?;
        let got = self.dataplane.answer()?;
        self.compare(Side::Dataplane, got, &out, Step::FrameOut)?;
        let got = self.qemu.ask(&Order::Receive)?;
        self.compare(Side::Qemu, got, &back, Step::FrameBack)
    }

    /// Asks QEMU's side; where the other side knows better why it failed, that counts.
    fn ask_frontend(&mut self, order: &Order, step: Step) -> Result<()> {
        let answer = self.qemu.ask(order)?;
        if answer.is_err() {
            let other = self.dataplane.answer()?;
            self.judge(Side::Dataplane, other, (step, None))?;
        }
        self.judge(Side::Qemu, answer, (step, None)).map(drop)
    }

    fn make_memory(&mut self, traces: &mut Traces) -> Result<()> {
        let why = match &self.trial.huge {
            Some(huge) if huge.free => match self.huge_page(huge, traces)? {
                Ok(()) => return Ok(()),
                Err(why) => why,
            },
            Some(huge) => format!("no huge page of {} KiB is free", huge.page_size >> 10),
            None => "no hugetlbfs is mounted".to_string(),
        };
        self.ask(Side::Qemu, &Order::Memory(None), (Step::Memory, None))?;
        self.report.ordinary_pages = true;
        self.done(Step::Memory, format!("{why}: QEMU creates 2 MiB of ordinary pages (memfd) instead"));
        Ok(())
    }

    /// The inner error: somebody was faster, no page is left.
    fn huge_page(&mut self, huge: &Huge, traces: &mut Traces) -> Result<std::result::Result<(), String>> {
        let name = format!("{NAME}{}", std::process::id());
        let (uid, gid) = (self.trial.qemu.uid, self.trial.qemu.gid);
        let file = traces.memory_directory(&huge.mount, &name, uid, gid)?;
        let answer = self.qemu.ask(&Order::Memory(Some((file.clone(), huge.page_size))))?;
        if let Err(Failure { errno: Some(number), text, .. }) = &answer
            && [Errno::ENOSPC, Errno::ENOMEM].contains(&Errno::from_raw(*number))
        {
            return Ok(Err(text.clone()));
        }
        self.judge(Side::Qemu, answer, (Step::Memory, Some((&file, Wish::Create))))?;
        let size = huge.page_size >> 10;
        self.done(
            Step::Memory,
            format!("QEMU creates a huge page of {size} KiB below {}", huge.mount.display()),
        );
        Ok(Ok(()))
    }

    fn compare(&mut self, side: Side, got: Answer, wanted: &[u8], step: Step) -> Result<()> {
        let (got, sent) = (self.judge(side, got, (step, None))?, wanted.len());
        let wrong = match got {
            Said::Frame(got) if got == wanted => {
                let what = format!("{} gets a frame of {sent} bytes, exactly as it was sent", side.name());
                self.done(step, what);
                return Ok(());
            }
            Said::Frame(got) => {
                format!("{} bytes were received, not the {sent} bytes that were sent", got.len())
            }
            _ => "no frame was received".to_string(),
        };
        let failure = Failure::other("comparing the frame", wrong);
        self.judge(side, Err(failure), (step, None)).map(drop)
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
