// SPDX-License-Identifier: Apache-2.0
//! Both sides of every vhost-user socket: what keeps them apart, and a row for each. Of a VM that is off, the hook's own
//! rules say what its start would meet, so that `check` and the hook never disagree; what a running VM has lost is here.

mod general;
mod meeting;
mod row;
pub(super) mod running;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::Path;

pub(super) use general::RULES;
use meeting::joins;
pub use meeting::{Meeting, is_joined};
pub use row::{ProcessRow, Row};

use super::start::{self, Start, StartCase, will_fix};
use super::{Ask, Case, Finding, Rule, all};
use crate::base::parts::in_parts;
use crate::config::Family;
use crate::dataplane::ovs::vswitchd::Vswitchd;
use crate::facts::domains::is_network_card;
use crate::node::endpoints::start::Facts;
use crate::node::endpoints::{Endpoints, FreePort, Link, Machine, Socket};

/// Nothing else about a VM's network can be told while one of these holds.
const FIRST_OF_ALL: [&str; 5] =
    ["no-libvirt", "no-dataplane", "dataplane-not-running", "dataplane-hung", "dpdk-not-initialized"];

/// The rule about sockets that QEMU connects to and has no access to.
const REFUSES: &str = "server-socket-refuses-qemu";

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judged {
    /// A row for each endpoint, then one for each port without a VM.
    pub rows: Vec<Row>,
    /// What keeps them apart.
    pub findings: Vec<Finding>,
    /// What is among them.
    known: HashSet<(&'static str, String)>,
}

/// What is judged, and by what.
#[derive(Debug)]
pub struct Matter<'a> {
    /// Both sides.
    pub endpoints: &'a Endpoints,
    /// What a start goes by, of whatever domain.
    pub start: &'a Start,
    /// Whom qemu.conf has QEMU run as.
    pub configured: Option<(u32, u32)>,
    /// What other rules found: a cause that is named there is not named again.
    pub named: &'a [Finding],
}

/// Judges every endpoint.
pub fn judge(case: &Case<'_>, matter: Matter<'_>) -> Judged {
    let Matter { endpoints, start, configured, named } = matter;
    let named =
        &named.iter().rev().map(|finding| (finding.subject.as_str(), finding.id)).collect::<Named<'_>>();
    let mut judged = Judged::default();
    let of_node = super::ask(|ask| match ask {
        Ask::Sides(check) => check(case, endpoints),
        _ => Vec::new(),
    });
    judged.add_all(of_node);
    let of_part = |part: &[Machine]| {
        let (mut judged, mut start) = (Judged::default(), start.clone());
        for machine in part {
            start.turn_to(machine.domain.clone(), configured);
            of_machine(&mut judged, case, endpoints, machine, (&start, named));
            let next = machine.next.as_ref().and_then(|next| general::next(&mut start, machine, next));
            judged.add_all(next);
        }
        judged
    };
    for part in in_parts(&endpoints.machines, of_part) {
        judged.rows.extend(part.rows);
        judged.add_all(part.findings);
    }
    for free in &endpoints.free {
        let FreePort { port, socket, link } = free;
        let facts = &Facts::unknown_yet();
        let sees_vms = case.profile.hypervisor.is_some();
        let (case_of_vm, port) = (StartCase { start, facts }, Some(port));
        let meeting = Meeting { case: case_of_vm, endpoints, machine: None, port, socket, link, sees_vms };
        let told = first(&meeting).map(|finding| told(finding, named));
        let word = judged.settle(told).unwrap_or_else(|| meeting.word().to_string());
        judged.rows.push(row::of_port(case, endpoints, free, word));
    }
    judged
}

/// A row for each endpoint of a VM, and what is wrong with it.
fn of_machine(
    judged: &mut Judged,
    node: &Case<'_>,
    endpoints: &Endpoints,
    machine: &Machine,
    (start, named): (&Start, &Named<'_>),
) {
    let (case, nobody) = (StartCase { start, facts: &machine.start }, Link::default());
    let meet = |(number, socket)| {
        let link = machine.links.get(number).unwrap_or(&nobody);
        Meeting { case, endpoints, machine: Some(machine), port: None, socket, link, sees_vms: true }
    };
    let meetings: Vec<Meeting<'_>> = machine.start.sockets.iter().enumerate().map(meet).collect();
    let found = found(node, case, machine, endpoints, &meetings);
    for (meeting, told) in meetings.iter().zip(tell(machine, &found, named)) {
        let word = judged.settle(told).unwrap_or_else(|| word(meeting, machine));
        judged.rows.push(row::of_machine(node, (meeting, machine), word));
    }
    for endpoint in machine.domain.endpoints.iter().filter(|endpoint| endpoint.path.is_none()) {
        judged.rows.push(row::without_path(node, machine, endpoint));
    }
    let is_new =
        |finding: &Finding| is_of_domain(finding, machine) && why_not_mounted(finding, named).is_none();
    judged.add_all(found.into_iter().filter(is_new));
}

/// The first cause that a rule about sockets finds.
fn first(meeting: &Meeting<'_>) -> Option<Finding> {
    if meeting.machine.is_some() && !meeting.is_seen() {
        return None;
    }
    let ask = |ask: &Ask| match ask {
        Ask::Socket(check) => check(meeting),
        _ => None,
    };
    all().find_map(|rule| rule.asks.iter().find_map(ask).map(|evidence| rule.finding(evidence)))
}

/// What other rules found, by what it is about.
type Named<'a> = HashMap<&'a str, &'static str>;

/// How what is wrong with an endpoint is told.
enum Told {
    /// By another rule's finding.
    Already(&'static str),
    /// It is to be added to the findings.
    New(Finding),
}

impl Judged {
    /// Without any endpoint.
    pub fn of(findings: Vec<Finding>) -> Judged {
        Judged { findings, ..Judged::default() }
    }

    /// The word for the table; none where there is no trouble.
    fn settle(&mut self, told: Option<Told>) -> Option<String> {
        let id = match told? {
            Told::Already(id) => id,
            Told::New(finding) => self.add(finding),
        };
        Some(id.to_string())
    }

    fn add_all(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            self.add(finding);
        }
    }

    /// One cause is one finding, however many VMs have it. Here it has happened, or has not to do with a start.
    fn add(&mut self, finding: Finding) -> &'static str {
        let id = finding.id;
        if self.known.insert((id, finding.subject.clone())) {
            let cause = all().find(|rule| rule.id == id).map_or(finding.cause, |rule| rule.cause);
            self.findings.push(Finding { cause, ..finding });
        }
        id
    }
}

/// A port that is of the wrong type makes its socket in the wrong place: that socket's owner is no cause of its own.
pub fn follows(rows: &[Row], finding: &Finding) -> bool {
    let clashes = |row: &&Row| row.verdict == "both-ends-server";
    let named = |row: &Row| {
        let port = row.port.as_ref().map(|port| port.name.as_str());
        port.is_some() && Path::new(&finding.subject).file_name().and_then(|name| name.to_str()) == port
    };
    finding.id == REFUSES && rows.iter().filter(clashes).any(named)
}

/// Of what a start would meet: what can be wrong with a VM that runs already.
fn may_count(rule: &Rule, family: Family) -> bool {
    let others =
        ["memory-not-shared", "server-socket-missing", "server-socket-stale", "not-a-socket", REFUSES];
    family == Family::Ports || others.contains(&rule.id)
}

/// Is it wrong with this one? A socket of a section may have been taken from QEMU, which is connected for now: `apply` gives it
/// before the VM connects again.
fn counts_now(case: &StartCase<'_>, machine: &Machine, finding: &Finding) -> bool {
    match finding.id {
        REFUSES => case.start.section(Path::new(&finding.subject)).is_some(),
        _ => !is_served(machine, finding),
    }
}

/// nova keeps a VM without its ports while a resize or a migration to another node waits for its confirmation, and has os-vif
/// create them before it starts the VM.
fn nova_will_fix(machine: &Machine, finding: &Finding) -> bool {
    machine.domain.is_novas && ["port-missing", "server-socket-missing"].contains(&finding.id)
}

/// Is it about the socket of another back end that QEMU is connected with? Some take one connection and no more: virtiofsd
/// listens no longer then, and some remove their socket.
fn is_served(machine: &Machine, finding: &Finding) -> bool {
    let is_its = |socket: &Socket| socket.path.display().to_string() == finding.subject;
    let mut sockets = machine.start.sockets.iter().zip(&machine.links);
    finding.foreign && sockets.any(|(socket, link)| is_its(socket) && joins(machine, socket, link, None))
}

/// All that is wrong with a VM, the first cause first.
fn found(
    node: &Case<'_>,
    case: StartCase<'_>,
    machine: &Machine,
    endpoints: &Endpoints,
    meetings: &[Meeting<'_>],
) -> Vec<Finding> {
    if node.lacks_libvirt() && !machine.domain.running {
        return general::absent("no-libvirt", "libvirt").into_iter().collect();
    }
    let runs = machine.domain.running;
    let counts = |finding: &Finding| match runs {
        true => counts_now(&case, machine, finding),
        false => !will_fix(&case, finding) && !nova_will_fix(machine, finding),
    };
    let mut found = start::run_those(&case, |rule, family| !runs || may_count(rule, family));
    found.retain(|finding| finding.sure && counts(finding));
    let meets_switch = |meeting: &&Meeting<'_>| meeting.meets_switch();
    found.extend(meetings.iter().filter(meets_switch).filter_map(first));
    if meetings.iter().any(|meeting| meets_switch(&meeting)) {
        let is_off = endpoints.vswitchd == Vswitchd::NotRunning;
        let stopped = is_off.then(|| general::not_running(node, case.start)).flatten();
        found.splice(..0, stopped.or_else(|| general::hung_at(node, endpoints)));
    }
    if let Some(first) = found.iter().find(|finding| FIRST_OF_ALL.contains(&finding.id)).cloned() {
        found.retain(|finding| is_of_domain(finding, machine));
        found.insert(0, first);
    }
    found
}

/// About the VM's memory, not about a socket.
fn is_of_domain(finding: &Finding, machine: &Machine) -> bool {
    finding.subject == machine.domain.name || finding.id.starts_with("hugepages-")
}

/// The first cause of each socket.
fn tell(machine: &Machine, found: &[Finding], named: &Named<'_>) -> Vec<Option<Told>> {
    let tell = |socket: &Socket| {
        let path = socket.path.display().to_string();
        let directory = socket.path.parent().unwrap_or(Path::new("/")).display().to_string();
        let about = |finding: &&Finding| {
            [&path, &directory].contains(&&finding.subject)
                || is_of_domain(finding, machine)
                || (FIRST_OF_ALL.contains(&finding.id) && is_network_card(&socket.endpoint))
        };
        // A directory that is not as agreed is the cause of all that happens in it.
        if let Some(id) = named.get(directory.as_str()).or_else(|| named.get(path.as_str())) {
            return Some(Told::Already(id));
        }
        found.iter().find(about).map(|finding| told(finding.clone(), named))
    };
    machine.start.sockets.iter().map(tell).collect()
}

fn told(finding: Finding, named: &Named<'_>) -> Told {
    let already = why_not_mounted(&finding, named).or_else(|| named.get(finding.subject.as_str()).copied());
    already.map_or(Told::New(finding), Told::Already)
}

/// A VM's huge pages count as not mounted where they cannot be written: the finding about the mount says why.
fn why_not_mounted(finding: &Finding, named: &Named<'_>) -> Option<&'static str> {
    let causes = ["hugepages-read-only", "hugepages-no-mount", "hugepages-disabled-in-qemu-conf"];
    let is_cause = |id: &&'static str| finding.id == "hugepages-not-mounted" && causes.contains(id);
    named.values().copied().find(is_cause)
}

/// An endpoint that nothing is wrong with.
fn word(meeting: &Meeting<'_>, machine: &Machine) -> String {
    let unknown = is_network_card(&meeting.socket.endpoint) && machine.start.switch.known().is_none();
    match machine.domain.running {
        false => "ready",
        true if unknown => "unknown",
        true => meeting.word(),
    }
    .to_string()
}
