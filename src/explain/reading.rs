// SPDX-License-Identifier: Apache-2.0
//! All that was read: failures, each once, and what was not understood.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::document::Documents;
use super::listing::{Listing, Port};
use super::object::{self, Thing};
use super::{Class, Event, Line, Program, SIGNATURES, recognise};
use crate::base::text::cut;

/// Longer lines are shown cut.
const SHOWN: usize = 300;
/// Lines of unknown meaning that are shown.
const EXAMPLES: usize = 10;
/// Records of one line that are read.
const RECORDS: usize = 64;
/// Different failures that are kept: a log can be made to hold any number.
const MOST: usize = 500;

/// All that was read.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Reading {
    /// The failures, in the order they were first seen.
    #[serde(skip)]
    pub events: Vec<Event>,
    /// Lines that were read.
    pub lines: u64,
    /// Lines whose message is known.
    pub known: u64,
    /// Lines that look like errors and match nothing.
    pub unknown: u64,
    /// Those of them that another program says, which has nothing to do with the dataplane.
    pub foreign: u64,
    /// The first of them.
    pub examples: Vec<String>,
    /// Lines of different failures that were not kept, because there are too many.
    pub dropped: u64,
    #[serde(skip)]
    state: HashMap<String, State>,
    #[serde(skip)]
    listing: Listing,
    #[serde(skip)]
    documents: Documents,
}

/// What earlier lines of the same log say of later ones.
#[derive(Debug, Default, Clone)]
struct State {
    /// A command line goes on.
    command: bool,
    /// What kinds of vhost-user device QEMU named.
    devices: Vec<Thing>,
    /// It handed over its memory, or said otherwise that it goes on.
    memory: bool,
    /// The line by which the front end agreed on features.
    handshake: Option<String>,
}

impl Reading {
    /// Takes one line of the log of this name.
    pub fn take(&mut self, log: &str, raw: &str) {
        self.lines += 1;
        if self.documents.take(log, raw) {
            return;
        }
        // Several records can stand in one line.
        let mut start = 0;
        for (at, _) in raw.match_indices("type=AVC ").skip(1).take(RECORDS) {
            self.part(log, &raw[start..at]);
            start = at;
        }
        self.part(log, &raw[start..]);
    }

    fn part(&mut self, log: &str, raw: &str) {
        let line = Line::read(raw);
        let text = line.text.as_str();
        let state = self.state.entry(log.to_string()).or_default();
        // QEMU's command line, as libvirt writes it into the VM's log: options and not messages.
        let begins = text.starts_with("LC_ALL=C") || text.starts_with('-');
        let goes_on = text.ends_with(" \\");
        let is_command = state.command || (begins && goes_on);
        state.command = is_command && goes_on;
        let mut thing = object::of_line(text);
        if is_command && !text.contains(": ") {
            return;
        }
        if line.program == Program::Qemu && thing.is_vhost_user() && !state.devices.contains(&thing) {
            state.devices.push(thing);
        }
        state.memory |=
            ["SET_MEM_TABLE", "ADD_MEM_REG", "SET_VRING_KICK"].iter().any(|word| text.contains(word));
        if text.contains("read message VHOST_USER_SET_FEATURES") {
            state.handshake.get_or_insert_with(|| text.to_string());
        }
        let mut hit = recognise(&line, thing);
        // "Failed to set msg fds." does not say of which device; a log with devices of one kind does.
        if let (Some(effect), Thing::Unknown, [only]) = (&hit, thing, state.devices.as_slice())
            && effect.is_effect
        {
            (hit, thing) = (recognise(&line, *only).or(hit), *only);
        }
        if let Some(hit) = hit {
            self.known += 1;
            self.add(log, &line, thing, hit);
        } else if self.listing.take(text) {
            self.known += 1;
        } else if looks_bad(text) {
            self.unknown += 1;
            self.foreign += u64::from(line.program == Program::Other);
            if self.examples.len() < EXAMPLES {
                self.examples.push(cut(text, SHOWN));
            }
        }
    }

    fn add(&mut self, log: &str, line: &Line, thing: Thing, found: Event) {
        let time = line.time.clone();
        let same = |event: &&mut Event| event.id == found.id && event.key == found.key;
        if let Some(event) = self.events.iter_mut().find(same) {
            event.count += 1;
            event.first = event.first.take().into_iter().chain(time.clone()).min();
            event.last = event.last.take().max(time);
            if !event.logs.iter().any(|known| known == log) {
                event.logs.push(log.to_string());
            }
        } else if self.events.len() == MOST {
            self.dropped += 1;
        } else {
            self.events.push(Event {
                program: line.program,
                thing,
                first: time.clone(),
                last: time,
                logs: vec![log.to_string()],
                line: cut(&line.text, SHOWN),
                ..found
            });
        }
    }

    /// Afterwards: puts together what different lines say of the same thing.
    pub fn finish(&mut self) {
        for (log, document) in self.documents.finish() {
            for (text, hit) in document {
                let line = Line { text, time: None, program: Program::Libvirt };
                self.known += 1;
                self.add(&log, &line, Thing::Unknown, hit);
            }
        }
        self.roles();
        self.handshakes();
        for (text, hit) in self.listing.findings() {
            let line = Line { text, time: None, program: Program::Unknown };
            self.add("what was listed", &line, Thing::Unknown, hit);
        }
        self.security_modules();
        self.effects();
        for event in &mut self.events {
            event.notes.extend(self.listing.notes(event));
        }
    }

    /// A domain and a port with the same end of the socket, where both were read.
    fn roles(&mut self) {
        for event in &mut self.events {
            let qemu_serves = match event.id {
                "qemu-serves" => true,
                "qemu-connects" => false,
                _ => continue,
            };
            let name = event.subject.as_deref().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
            let same = |port: &&Port| port.name == name && port.is_client != qemu_serves;
            let Some(port) = self.listing.ports.iter().find(same) else { continue };
            let (id, what) = match qemu_serves {
                true => (
                    "both-ends-server",
                    "both ends are servers: the switch (dpdkvhostuser) listens where QEMU (mode='server') creates its socket. QEMU unlinks the switch's socket, or fails; no packet ever flows",
                ),
                false => (
                    "both-ends-client",
                    "both ends are clients: the switch (dpdkvhostuserclient) and QEMU (mode='client') both wait for a socket that nobody creates",
                ),
            };
            event.id = id;
            event.class = Class::Setting;
            event.findings = vec!["both-ends-server", "both-ends-client"];
            event.causes = vec![format!("{what} (port {})", port.name)];
            event.fix = "change one end: port type dpdkvhostuserclient with options:vhost-server-path and mode='server' in a directory that QEMU may write, or dpdkvhostuser and mode='client'";
        }
    }

    /// What was shaken hands on, and never came.
    fn handshakes(&mut self) {
        let without = self.state.iter().filter(|(_, state)| !state.memory);
        let said = without.filter_map(|(log, state)| Some((log.clone(), state.handshake.clone()?)));
        let said: BTreeMap<String, String> = said.collect();
        let Some(known) = SIGNATURES.iter().find(|known| known.id == "no-memory-table") else { return };
        for (log, text) in said {
            let line = Line { text, time: None, program: Program::Dpdk };
            self.known += 1;
            self.add(&log, &line, Thing::VhostUser, Event::of(known, None));
        }
    }

    /// Says of what was refused to owner and mode that a security module refused the same.
    fn security_modules(&mut self) {
        let name = |event: &Event| Some(event.subject.as_deref()?.rsplit('/').next()?.to_string());
        let by_module = self.events.iter().filter(|event| event.class == Class::SecurityModule);
        let denied: Vec<String> = by_module.filter_map(name).collect();
        for event in &mut self.events {
            event.also_security_module = matches!(event.class, Class::Permission | Class::Access)
                && name(event).is_some_and(|name| denied.contains(&name));
        }
    }

    /// A closed connection is no cause: where the back end's own line is there too, that is.
    fn effects(&mut self) {
        let cause = self.events.iter().find(|event| event.ends_connection).map(|event| event.id);
        let Some(cause) = cause else { return };
        for event in self.events.iter_mut().filter(|event| event.is_effect) {
            event.notes.push(format!("the back end's own line says why: {cause}, see there"));
        }
    }
}

/// The words by which programs say that something went wrong.
const BAD: &str = "error, fail, fatal, warn, |err|, |emer|, \
    panic, abort, segfault, segmentation, core dumped, crash, killed, terminated, \
    traceback, exception, nil value, destroyed, corrupt, \
    cannot, can't, could not, couldn't, unable, gave up, giving up, \
    denied, refuse, reject, not permitted, not allowed, \
    not supported, unsupported, does not support, incompatible, mismatch, conflict, \
    no such, not found, does not exist, doesn't exist, missing, \
    not available, unavailable, unreachable, \
    invalid, illegal, unexpected, unrecogni, unknown, \
    timed out, timeout, stuck, hung, stall, deadlock, busy, \
    exceed, exhaust, too many, too long, too small, \
    not enough, insufficient, out of memory, \
    broken pipe, reset by peer, lost connection, disconnect";

fn looks_bad(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    BAD.split(", ").any(|word| lower.contains(word))
}
