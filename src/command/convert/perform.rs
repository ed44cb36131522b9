// SPDX-License-Identifier: Apache-2.0
//! Converts one VM: written to the journal before, and undone if it cannot be completed.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::statvfs::fstatvfs;

use super::done::Done;
use super::inventory::Machine;
use super::row::{SAVED, Verdict};
use crate::base::progress::Progress;
use crate::base::root::Root;
use crate::config::PortType;
use crate::dataplane::ovs::ovsdb::PortState;
use crate::facts::libvirt;
use crate::items::{Card, Change, Conversion, Held, Undone, VmState, conversion, vm};
use crate::journal::Journal;
use crate::sockets::grant::give_new;
use crate::survey::Survey;

/// The least time for a save or restore, and how much memory a slow disk writes in a second.
const BASE: Duration = Duration::from_secs(60);
const SLOW: u64 = 20 << 20;

#[derive(Debug)]
pub struct Turning<'a> {
    pub root: &'a Root,
    pub survey: &'a Survey,
    pub journal: Journal,
    pub to: PortType,
    /// Convert running VMs as well.
    pub pause: bool,
    /// Which of how many VMs it is about.
    pub turn: (usize, usize),
}

impl Turning<'_> {
    pub fn turn(&mut self, machine: &Machine) -> Done {
        let (name, to) = (&machine.name, self.to);
        let rest =
            machine.blocked().map(|why| format!("; one of its cards is blocked: {why}")).unwrap_or_default();
        let done = match machine.verdict() {
            Verdict::Done => Done::nothing(name),
            Verdict::Blocked => Done::left(name, machine.blocked().unwrap_or("blocked").to_string()),
            Verdict::Pause if !self.pause => {
                let way = "the VM runs on its port; use --pause to save and restore it, or shut it off first; nothing was changed";
                Done::left(name, way.to_string())
            }
            Verdict::Pause => Done::of(name, to, self.paused(machine).map(Some)),
            Verdict::Ready | Verdict::DefinitionOnly => {
                Done::of(name, to, self.at_rest(machine).map(|()| None))
            }
        };
        done.with(rest)
    }

    /// A VM that is off, or that runs with the type already.
    fn at_rest(&mut self, machine: &Machine) -> Result<()> {
        let change = change(self.root, machine)?;
        if machine.verdict() == Verdict::Ready && !libvirt::info(&change.item.uuid)?.is_off() {
            bail!("the VM was started in the meantime; nothing was changed");
        }
        let change = change.into();
        let earlier = self.journal.clone();
        self.journal.begin(self.root, &change)?;
        if let Err(error) = self.make(&change) {
            return Err(self.put_back(earlier, &change, error, || Ok(())));
        }
        self.journal.settle(self.root, &change)
    }

    /// A VM that runs on its port. Returns how long it was paused.
    fn paused(&mut self, machine: &Machine) -> Result<Duration> {
        let change = change(self.root, machine)?;
        let uuid = &change.item.uuid.clone();
        let change = change.into();
        let limit = BASE + Duration::from_secs(machine.memory / SLOW);
        has_room(self.root, machine.memory)?;
        if libvirt::info(uuid)?.saved {
            bail!("libvirt has a saved state although the VM runs; run 'virsh managedsave-remove' first");
        }
        let earlier = self.journal.clone();
        self.journal.begin(self.root, &change)?;
        self.journal.stopped(self.root, &change)?;
        let begun = Instant::now();
        let _progress = self.progress(machine);
        let saved = vm::save(uuid, limit).context("libvirt cannot save the VM");
        let done = saved.and_then(|()| self.make(&change)).and_then(|()| vm::start(uuid, limit));
        if let Err(error) = done {
            let off = vm::stop_starting(uuid);
            return Err(self.put_back(earlier, &change, error, || off.and_then(|()| go_on(uuid, limit))));
        }
        let stood_still = begun.elapsed();
        self.journal.made(self.root, &change.target())?;
        self.journal.settle(self.root, &change)?;
        Ok(stood_still)
    }

    /// How much of the memory is in the file that libvirt writes.
    fn progress(&self, machine: &Machine) -> Progress {
        let ((number, count), name, memory) = (self.turn, machine.name.clone(), machine.memory >> 20);
        let file = Path::new(SAVED).join(format!("{name}.save"));
        Progress::show(move || {
            let found = Root::open(Path::new("/")).and_then(|root| root.find_nofollow(&file)).ok().flatten();
            let saved = found.map_or(0, |file| file.size() >> 20);
            format!("VM {name}, {number} of {count}: {saved} of {memory} MiB saved")
        })
    }

    fn make(&self, change: &Change) -> Result<()> {
        change.make(self.root)?;
        give_new(self.root, &self.survey.accord)
    }

    /// Undoes what was begun. The journal is then as before, unless something is left to do: then the next `convert` or `revert` does
    /// it.
    fn put_back(
        &mut self,
        earlier: Journal,
        change: &Change,
        error: anyhow::Error,
        start: impl FnOnce() -> Result<()>,
    ) -> anyhow::Error {
        let undone = change.undo(self.root).and_then(|undone| match undone {
            Undone::InUse(why) | Undone::Left(why) => bail!(why),
            _ => Ok(()),
        });
        // It ran before, so it is started, whatever type it has now.
        let started = give_new(self.root, &self.survey.accord).and_then(|()| start());
        let back = undone.and(started).and_then(|()| {
            self.journal = earlier;
            self.journal.save(self.root)
        });
        match back {
            Ok(()) => error.context("restored as it was"),
            Err(also) => error.context(format!(
                "NOT EVERYTHING WAS RESTORED ({also:#}; run the same command again, or 'vhost-accord revert')"
            )),
        }
    }
}

/// What is to be changed, with what libvirt and OVSDB say now.
pub fn change(root: &Root, machine: &Machine) -> Result<Held<Conversion>> {
    let uuid = machine.uuid.clone().context("the definition has no UUID")?;
    let turns = || machine.rows.iter().filter_map(|row| row.turn.as_ref());
    let cards: Vec<Card> = turns().map(|(card, _)| card.clone()).collect();
    let wanted: Vec<PortState> = turns().filter_map(|(_, port)| port.clone()).collect();
    let definition = libvirt::definition(&uuid)?.context("libvirt no longer has this VM")?;
    let sides = cards.iter().map(|card| (&card.from, &card.to));
    let turned = conversion::turned(&definition, sides)?;
    let item = Conversion { uuid, name: machine.name.clone(), definition: turned, cards, ports: wanted };
    let ports = conversion::read(root, &item)?.ports;
    Ok(Held { item, before: VmState { definition: Some(definition), ports } })
}

/// Checks, before the VM is paused, that the disk has room for all of its memory.
fn has_room(root: &Root, memory: u64) -> Result<()> {
    let Some(directory) = root.find(Path::new(SAVED))? else { return Ok(()) };
    let filesystem = fstatvfs(directory.fd())?;
    let free = filesystem.blocks_available() * filesystem.fragment_size();
    if free < memory {
        bail!(
            "{SAVED} has {} MiB free, but the VM has {} MiB of memory; nothing was changed",
            free >> 20,
            memory >> 20
        );
    }
    Ok(())
}

/// Starts a VM again that was stopped with its memory saved; one that runs is left alone.
fn go_on(uuid: &str, limit: Duration) -> Result<()> {
    let info = libvirt::info(uuid)?;
    if info.is_off() && info.saved { vm::start(uuid, limit) } else { Ok(()) }
}

/// Converts VMs that a killed run stopped, or undoes that, and starts them.
pub fn finish(root: &Root, look: impl Fn() -> Result<Survey>) -> Result<Vec<Done>> {
    let mut journal = Journal::read(root)?;
    let mut done = Vec::new();
    for change in journal.entries.clone().into_iter().filter_map(|entry| entry.pending) {
        let Change::Conversion(Held { item, .. }) = &change else { continue };
        vm::wait_until_saved(&item.uuid)?;
        let info = libvirt::info(&item.uuid).with_context(|| format!("finishing VM {}", item.name))?;
        if info.is_off() && info.saved {
            finish_one(root, &change, &item.uuid, &look()?)
                .with_context(|| format!("finishing VM {}", item.name))?;
            done.push(Done::finished(&item.name));
        }
        journal.made(root, &change.target())?;
        journal.settle(root, &change)?;
    }
    Ok(done)
}

fn finish_one(root: &Root, change: &Change, uuid: &str, survey: &Survey) -> Result<()> {
    let start = || give_new(root, &survey.accord).and_then(|()| go_on(uuid, BASE));
    let Err(error) = change.make(root).and_then(|()| start()) else { return Ok(()) };
    vm::stop_starting(uuid)?;
    change.undo(root).with_context(|| format!("{error:#}; undoing the conversion"))?;
    start().with_context(|| format!("{error:#}; starting the VM as it was"))
}

/// After a conversion was taken back whose VM a killed run had stopped.
pub fn start_again(item: &Conversion) -> Result<()> {
    go_on(&item.uuid, BASE)
}
