// SPDX-License-Identifier: Apache-2.0
//! Both sides of every vhost-user socket: what keeps them apart, and a row for each. Of a VM that is off, the hook's own
//! rules say what its start would meet, so that `check` and the hook never disagree; what a running VM has lost is here.

mod row;
mod running;
mod switch;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::Path;

pub use row::{PortRow, ProcessRow, Row, SocketRow};
pub use running::is_joined;

use super::{Case, Evidence, Finding, Level, Rule, catalogue};
use crate::dataplane::ovs;
use crate::dataplane::ovs::vswitchd::Vswitchd;
use crate::facts::domains::is_network_card;
use crate::hook::{self, Problem, Subject};
use crate::node::endpoints::start::Socket;
use crate::node::endpoints::{Endpoints, FreePort, Link, Machine};

/// A rule whose findings [`judge`] makes: the first cause of each endpoint counts, whichever rule names it.
macro_rules! rule {
    // As at a VM's start.
    ($id:literal, $level:ident) => {
        rule!($id, $level, hook::cause($id))
    };
    ($id:literal, $level:ident, $cause:expr) => {
        Rule { id: $id, level: Level::$level, cause: $cause, check: by_judge }
    };
}

fn by_judge(_: &Case<'_>) -> Vec<Evidence> {
    Vec::new()
}

/// The rules, by the order of what is looked at.
pub const RULES: &[Rule] = &[
    rule!(
        "dataplane-not-running",
        Broken,
        "without ovs-vswitchd no VM has network, and a VM that starts hangs or fails to connect"
    ),
    rule!(
        "dataplane-hung",
        Broken,
        "ovs-vswitchd does not answer: no VM can start or reconnect, and running VMs may have no network"
    ),
    rule!("dpdk-not-initialized", Broken),
    rule!("switch-unknown", Advice, "OVSDB did not answer, so the state of ports is unknown"),
    rule!(
        "domain-unreadable",
        Advice,
        "libvirt's file for this VM cannot be read, so the state of the VM is unknown"
    ),
    rule!("socket-path-too-long", Broken),
    rule!("socket-path-not-clean", Broken),
    rule!("socket-directory-refuses-qemu", Broken),
    rule!("socket-directory-refuses-dataplane", Broken),
    rule!(
        "both-ends-server",
        Broken,
        "OVS and QEMU both create the socket and wait for a connection forever"
    ),
    rule!("both-ends-client", Broken, "OVS and QEMU both try to connect, and neither creates the socket"),
    rule!("port-path-differs", Broken),
    rule!("port-of-other-type", Broken),
    rule!(
        "port-missing",
        Broken,
        "no port of OVS uses this socket: QEMU waits forever, and nothing logs an error"
    ),
    rule!("port-failed", Broken),
    rule!(
        "port-not-in-datapath",
        Broken,
        "OVSDB reports the port as connected, but ovs-vswitchd could not configure it: the VM has no network"
    ),
    rule!(
        "hot-plug-waits",
        Broken,
        "a network card was plugged in without a port: the VM's monitor and libvirt are blocked until OVS connects"
    ),
    rule!(
        "port-without-vm",
        Advice,
        "no VM uses this port and nothing is connected: the port is a leftover, or a VM has a wrong path"
    ),
    rule!("server-socket-missing", Broken),
    rule!("not-a-socket", Broken),
    rule!("client-socket-in-use", Broken),
    rule!("client-socket-in-the-way", Broken),
    rule!(
        "listener-is-foreign",
        Broken,
        "the listener is neither ovs-vswitchd nor this VM's QEMU: the VM is connected to another program"
    ),
    rule!(
        "client-socket-gone",
        Broken,
        "the socket file of the running QEMU was removed: OVS cannot connect now, or after its next restart"
    ),
    rule!(
        "nic-dead-after-restart",
        Broken,
        "OVS created its socket again, and this QEMU has no <reconnect>: the VM has no network until it is started again"
    ),
    rule!("not-connected", Broken, "QEMU and OVS are not connected, although both run"),
    rule!(
        "next-start-fails",
        Advice,
        "its definition does not fit the port: after a shutdown the VM does not start again"
    ),
    rule!("memory-not-shared", Broken),
    rule!("hugepages-not-mounted", Broken),
    rule!(
        "hugepages-not-enough",
        Advice,
        "too few huge pages are free for this VM: 'unable to map backing store for guest RAM: Cannot allocate memory'"
    ),
    rule!(
        "hugepages-not-on-node",
        Advice,
        "too few huge pages are free on its NUMA node: 'Insufficient free host memory pages available to allocate guest RAM'"
    ),
];

/// Nothing else about a VM's network can be told while one of these holds.
const FIRST_OF_ALL: [&str; 5] =
    ["no-libvirt", "no-dataplane", "dataplane-not-running", "dataplane-hung", "dpdk-not-initialized"];

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

/// Something that is wrong with a socket, or with all of a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    id: &'static str,
    subject: String,
    seen: String,
    fix: String,
}

impl Trouble {
    fn of(id: &'static str, socket: &Socket, seen: impl Into<String>, fix: String) -> Trouble {
        Trouble { id, subject: socket.path.display().to_string(), seen: seen.into(), fix }
    }
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Trouble {
        Trouble { id: problem.id, subject: problem.subject, seen: problem.seen, fix: problem.fix }
    }
}

/// What is judged, and by what.
#[derive(Debug)]
pub struct Matter<'a> {
    /// Both sides.
    pub endpoints: &'a Endpoints,
    /// What the hook goes by; turned to each domain in its turn.
    pub subject: &'a mut Subject,
    /// Whom qemu.conf has QEMU run as.
    pub configured: Option<(u32, u32)>,
    /// What other rules found: a cause that is named there is not named again.
    pub named: &'a [Finding],
}

/// Judges every endpoint.
pub fn judge(case: &Case<'_>, ground: Matter<'_>) -> Judged {
    let Matter { endpoints, subject, configured, named } = ground;
    let named =
        &named.iter().rev().map(|finding| (finding.subject.as_str(), finding.id)).collect::<Named<'_>>();
    let mut judged = Judged::default();
    switch::general(&mut judged, case, endpoints);
    for machine in &endpoints.machines {
        subject.turn_to(machine.domain.clone(), configured);
        let troubles = troubles(case, subject, endpoints, machine);
        let verdicts = verdicts(machine, &troubles, named);
        for ((number, socket), verdict) in machine.start.sockets.iter().enumerate().zip(verdicts) {
            let link = machine.links.get(number).cloned().unwrap_or_default();
            let hook_case = hook::Case { subject, facts: &machine.start };
            let other = Other { endpoints, machine, meets_switch: meets_switch(&hook_case, socket) };
            let word = judged.settle(verdict).unwrap_or_else(|| word(&other, socket, &link));
            judged.rows.push(row::of_machine(case, &other, socket, link, word));
        }
        for endpoint in machine.domain.endpoints.iter().filter(|endpoint| endpoint.path.is_none()) {
            judged.rows.push(row::without_path(case, machine, endpoint));
        }
        let is_new =
            |trouble: &Trouble| is_of_domain(trouble, machine) && why_not_mounted(trouble, named).is_none();
        for trouble in troubles.into_iter().filter(is_new) {
            judged.add(trouble);
        }
        if let Some(trouble) = machine.next.as_ref().and_then(|next| running::next(subject, machine, next)) {
            judged.add(trouble);
        }
    }
    let sees_vms = case.profile.hypervisor.is_some();
    for port in &endpoints.free {
        let verdict = free(endpoints, port, sees_vms).map(|trouble| {
            named_as(&trouble, named).ok_or(trouble).map_or_else(Verdict::New, Verdict::Named)
        });
        let word = judged.settle(verdict).unwrap_or_else(|| running::free_word(endpoints, port));
        judged.rows.push(row::of_port(case, endpoints, port, word));
    }
    judged
}

/// The other end of a VM's socket.
struct Other<'a> {
    endpoints: &'a Endpoints,
    machine: &'a Machine,
    /// It is to be the switch; else any process is as it should be.
    meets_switch: bool,
}

/// What other rules found, by what it is about.
type Named<'a> = HashMap<&'a str, &'static str>;

/// How an endpoint's trouble is told.
enum Verdict {
    /// Another rule's finding.
    Named(&'static str),
    /// To be added to the findings.
    New(Trouble),
}

impl Judged {
    /// Without any endpoint.
    pub fn of(findings: Vec<Finding>) -> Judged {
        Judged { findings, ..Judged::default() }
    }

    /// The word for the table; none where there is no trouble.
    fn settle(&mut self, verdict: Option<Verdict>) -> Option<String> {
        let id = match verdict? {
            Verdict::Named(id) => id,
            Verdict::New(trouble) => self.add(trouble),
        };
        Some(id.to_string())
    }

    /// One cause is one finding, however many VMs have it.
    fn add(&mut self, trouble: Trouble) -> &'static str {
        let Trouble { id, subject, seen, fix } = trouble;
        if !self.known.insert((id, subject.clone())) {
            return id;
        }
        if let Some(rule) = catalogue().find(|rule| rule.id == id) {
            let (level, cause) = (rule.level, rule.cause);
            self.findings.push(Finding { id, level, subject, seen, cause, fix, restart: None });
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
    finding.id == "server-socket-refuses-qemu" && rows.iter().filter(clashes).any(named)
}

/// All that is wrong with a VM, the first cause first.
fn troubles(node: &Case<'_>, subject: &Subject, endpoints: &Endpoints, machine: &Machine) -> Vec<Trouble> {
    if node.lacks_libvirt() && !machine.domain.running {
        return vec![switch::absent("no-libvirt", "libvirt")];
    }
    let case = hook::Case { subject, facts: &machine.start };
    let problems = hook::problems(&case).into_iter().filter(|problem| problem.sure);
    let counts = |problem: &Problem| running::still_counts(problem) && !running::is_served(machine, problem);
    let mut found: Vec<Trouble> = match machine.domain.running {
        true => problems.filter(counts).map(Trouble::from).collect(),
        false => {
            let is_left = |problem: &Problem| !hook::will_fix(&case, problem);
            problems.filter(is_left).map(Trouble::from).collect()
        }
    };
    let meets_switch = |socket: &Socket| meets_switch(&case, socket);
    for (socket, link) in machine.start.sockets.iter().zip(&machine.links) {
        if meets_switch(socket) {
            let refused = running::refused(subject, endpoints, machine, socket, link);
            found.extend(refused.or_else(|| running::trouble(endpoints, machine, socket, link)));
        }
    }
    if machine.start.sockets.iter().any(meets_switch) {
        let is_off = endpoints.vswitchd == Vswitchd::NotRunning;
        let stopped = is_off.then(|| switch::not_running(node, subject));
        found.splice(..0, stopped.or_else(|| switch::hung(node, endpoints)));
    }
    if let Some(first) = found.iter().find(|trouble| FIRST_OF_ALL.contains(&trouble.id)).cloned() {
        found.retain(|trouble| is_of_domain(trouble, machine));
        found.insert(0, first);
    }
    found
}

/// Is the switch that was asked to be at the other end? Where there is another one, only its own ports say so.
fn meets_switch(case: &hook::Case<'_>, socket: &Socket) -> bool {
    let is_asked = || case.facts.second.is_none() || hook::port_at(case, socket).is_some();
    hook::meets_switch(case, socket) && is_asked()
}

/// About the VM's memory, not about a socket.
fn is_of_domain(trouble: &Trouble, machine: &Machine) -> bool {
    trouble.subject == machine.domain.name || trouble.id.starts_with("hugepages-")
}

/// The first cause of each socket.
fn verdicts(machine: &Machine, troubles: &[Trouble], named: &Named<'_>) -> Vec<Option<Verdict>> {
    let verdict = |socket: &Socket| {
        let path = socket.path.display().to_string();
        let directory = socket.path.parent().unwrap_or(Path::new("/")).display().to_string();
        let concerns = |subject: &str| subject == path || subject == directory;
        let about = |trouble: &&Trouble| {
            concerns(&trouble.subject)
                || is_of_domain(trouble, machine)
                || (FIRST_OF_ALL.contains(&trouble.id) && is_network_card(&socket.endpoint))
        };
        // A directory that is not as agreed is the cause of all that happens in it.
        if let Some(id) = named.get(directory.as_str()).or_else(|| named.get(path.as_str())) {
            return Some(Verdict::Named(id));
        }
        let trouble = troubles.iter().find(about)?.clone();
        Some(named_as(&trouble, named).map_or(Verdict::New(trouble), Verdict::Named))
    };
    machine.start.sockets.iter().map(verdict).collect()
}

fn named_as(trouble: &Trouble, named: &Named<'_>) -> Option<&'static str> {
    why_not_mounted(trouble, named).or_else(|| named.get(trouble.subject.as_str()).copied())
}

/// A VM's huge pages count as not mounted where they cannot be written: the finding about the mount says why.
fn why_not_mounted(trouble: &Trouble, named: &Named<'_>) -> Option<&'static str> {
    let causes = ["hugepages-read-only", "hugepages-no-mount", "hugepages-disabled-in-qemu-conf"];
    let is_cause = |id: &&'static str| trouble.id == "hugepages-not-mounted" && causes.contains(id);
    named.values().copied().find(is_cause)
}

/// An endpoint that nothing is wrong with.
fn word(other: &Other<'_>, socket: &Socket, link: &Link) -> String {
    let machine = other.machine;
    if !machine.domain.running {
        return "ready".to_string();
    }
    let unknown = is_network_card(&socket.endpoint) && machine.start.switch.known().is_none();
    if unknown {
        return "unknown".to_string();
    }
    running::word(other, socket, link).to_string()
}

/// What is wrong with a port that no VM has.
fn free(endpoints: &Endpoints, port: &FreePort, sees_vms: bool) -> Option<Trouble> {
    if let Some(trouble) = running::foreign_at_port(endpoints, port) {
        return Some(trouble);
    }
    let used = !port.link.connections.is_empty();
    if let Some(trouble) = running::unmade(endpoints, &port.socket).filter(|_| used) {
        return Some(trouble);
    }
    // A VM that cannot be read may have it, or one of a libvirt that is in a container.
    let all_known = endpoints.peers.known().is_some() && endpoints.unread.is_empty() && sees_vms;
    if used || !all_known {
        return None;
    }
    let fix = format!("ovs-vsctl --if-exists del-port {}", ovs::fixes::interface(&port.port));
    let path = port.socket.path.display();
    let seen = format!("a {} at {path}, and no VM uses it", port.port.kind);
    Some(Trouble { id: "port-without-vm", subject: format!("port {}", port.port.name), seen, fix })
}
