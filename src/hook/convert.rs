// SPDX-License-Identifier: Apache-2.0
//! Converts a VM that is migrated to this node, or restored on it, to the port type `incoming`: first the port, then the domain.
//! Both or neither: until the domain is printed, whatever ends the hook restores the ports.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Decision;
use super::ledger::Ledger;
use crate::base::journald::{self, CONVERTED, Priority};
use crate::base::root::Root;
use crate::config::PortType;
use crate::convert::{self, Held, Step, Terms};
use crate::dataplane::ovs::database;
use crate::dataplane::ovs::ovsdb::Join;
use crate::dataplane::ovs::port::describe;
use crate::edit;
use crate::facts::Known;
use crate::facts::domains::parse_domain;
use crate::node::endpoints::start::switch_paths;
use crate::node::endpoints::usage::Usage;
use crate::rules::start::{Operation, Start};

/// libvirt takes a new domain from the hook at these moments only (libvirt: docs/hooks.rst).
pub fn may_convert(operation: Operation) -> bool {
    matches!(operation, Operation::Migrate | Operation::Restore)
}

/// A conversion whose domain was not printed yet.
#[derive(Debug)]
pub struct Conversion {
    xml: String,
    lines: Vec<(String, String)>,
}

/// Converts what must be converted; `None` if nothing must. The domain in `start` is the converted one afterwards.
///
/// # Errors
/// Our own only. If OVSDB or ovs-vswitchd fails, the journal says so, and nothing is converted.
pub fn convert(
    root: &Root,
    start: &mut Start,
    xml: &str,
    (wanted, ledger): (PortType, &Ledger),
    deadline: Instant,
) -> Result<Option<Conversion>> {
    if convert::interfaces(&start.domain).next().is_none() {
        return Ok(None);
    }
    let limit = deadline.saturating_duration_since(Instant::now()) / 2;
    let join = match ask(root, start, limit) {
        Ok(join) => join,
        Err(error) => return Ok(give_up(start, &error)),
    };
    let steps = decide(root, start, &join, wanted);
    if steps.is_empty() || !start.held.is_empty() {
        return Ok(None);
    }
    let turns: Vec<_> = steps.iter().filter_map(|step| step.turn.clone()).collect();
    let converted = edit::domain::turn(xml, &turns).context("converting the domain XML")?;
    let domain = parse_domain(&converted).context("reading the converted domain")?;
    let lines = steps.iter().map(|step| line(start, step)).collect();
    // The rules need some of the time as well.
    let turned_by = deadline - deadline.saturating_duration_since(Instant::now()) / 3;
    for (before, after) in steps.iter().filter_map(|step| step.port.as_ref()) {
        if let Err(error) = ledger.turn(root, before, after, turned_by) {
            ledger.put_back();
            return Ok(give_up(start, &error));
        }
    }
    start.domain = domain;
    Ok(Some(Conversion { xml: if turns.is_empty() { String::new() } else { converted }, lines }))
}

fn ask(root: &Root, start: &Start, limit: Duration) -> Result<Join> {
    let paths: Vec<&Path> = switch_paths(&start.domain).collect();
    database::connect(root, limit)?.ask(&paths)?.answer()
}

/// Converts nothing: the rules judge the VM as it is.
fn give_up(start: &Start, error: &anyhow::Error) -> Option<Conversion> {
    let why = format!("not converted: {error:#}");
    start.log(Priority::Warning, &why, &[("VA_FINDING", "conversion-failed")]);
    None
}

/// The steps of the conversion. Who uses ports is read once, and only if a port must change.
fn decide(root: &Root, start: &mut Start, join: &Join, wanted: PortType) -> Vec<Step> {
    let mut usage = None;
    let (mut steps, mut held) = (Vec::new(), Vec::new());
    let directory = start.agreed.as_ref().map(|agreed| agreed.socket_directory.as_path());
    let terms = Terms { wanted, socket_directory: directory };
    for (number, endpoint) in convert::interfaces(&start.domain) {
        let mut in_use = |port: &_, path: &Path| {
            let usage = usage.get_or_insert_with(|| Usage::read(root).map_err(|error| format!("{error:#}")));
            match usage {
                Ok(usage) => Known::from(usage.of(root, port, path, Some(&start.domain))),
                Err(why) => Known::Unknown(why.clone()),
            }
        };
        let path = endpoint.path.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
        match convert::decide(&terms, join, (number, endpoint), &mut in_use) {
            convert::Decision::Nothing => {}
            convert::Decision::Convert(step) => steps.push(step),
            convert::Decision::InUse { port, by } => held.push(Held { path, port, by }),
            convert::Decision::Left(why) => {
                let what = format!("{path} is not converted: {why}");
                start.log(Priority::Info, &what, &[("VA_SOCKET", &path)]);
            }
        }
    }
    start.held = held;
    steps
}

/// The new path of the socket, and what was done.
fn line(start: &Start, step: &Step) -> (String, String) {
    let mut words = Vec::new();
    if let Some((before, after)) = &step.port {
        words.push(format!("port {} from {} to {}", before.name, describe(before), describe(after)));
    }
    let mut socket = String::new();
    if let Some(turn) = &step.turn {
        let endpoint = convert::interfaces(&start.domain).find(|(number, _)| *number == turn.interface);
        let before = endpoint.and_then(|(_, endpoint)| endpoint.path.as_deref()).unwrap_or(Path::new(""));
        socket = turn.path.display().to_string();
        words.push(format!("its interface from {} to mode='{}' at {socket}", before.display(), turn.mode()));
    }
    (socket, format!("converted {}", words.join(" and ")))
}

impl Conversion {
    /// The last step: prints the domain for libvirt, or restores the ports if the VM is refused.
    pub fn finish(self, start: &Start, ledger: &Ledger, decision: Decision) -> Decision {
        if decision != Decision::Start {
            ledger.put_back();
            return decision;
        }
        while !ledger.begin_to_print() {
            // The watchdog was faster: it restored the ports and is about to end the process.
            std::thread::park();
        }
        let handed = if self.xml.is_empty() { Ok(()) } else { journald::hand_over(&self.xml) };
        if let Err(error) = handed.map_err(anyhow::Error::from).and_then(|()| ledger.finish()) {
            ledger.put_back();
            return Decision::Refuse(unfinished(&start.domain.name, &format!("{error:#}")));
        }
        for (socket, line) in &self.lines {
            start.log(Priority::Notice, line, &[("MESSAGE_ID", CONVERTED), ("VA_SOCKET", socket)]);
        }
        Decision::Start
    }
}

/// Refuses the VM: libvirt may have got a part of the document, and must not use it.
pub fn unfinished(name: &str, why: &str) -> String {
    format!(
        "vhost-accord: conversion-failed: {name}: libvirt did not accept the converted domain: {why}; nothing was converted; fix: try again, or set incoming = keep"
    )
}
