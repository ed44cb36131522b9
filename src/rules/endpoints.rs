// SPDX-License-Identifier: Apache-2.0
//! Both sides of every vhost-user socket: what keeps them apart, and a row for each. Of a VM that is off, the hook's own
//! rules say what its start would meet, so that `check` and the hook never disagree; what a running VM has lost is here.

mod row;
mod running;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::Path;

pub use row::{PortRow, ProcessRow, Row, SocketRow};
pub use running::is_joined;

use super::{Case, Evidence, Finding, Level, Rule, catalogue};
use crate::facts::Known;
use crate::facts::endpoints::start::{Socket, is_network_card};
use crate::facts::endpoints::{Endpoints, FreePort, Link, Machine};
use crate::facts::vswitchd::Vswitchd;
use crate::hook::{self, Problem, Subject};
use crate::mends;

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
        "no VM has network, and QEMU would wait for ever or fail to connect"
    ),
    rule!("dpdk-not-initialized", Broken),
    rule!("switch-unknown", Advice, "OVSDB did not answer: nothing can be said of ports"),
    rule!("domain-unreadable", Advice, "nothing can be said of this VM"),
    rule!("socket-path-too-long", Broken),
    rule!("socket-path-not-clean", Broken),
    rule!("socket-directory-refuses-qemu", Broken),
    rule!("socket-directory-refuses-dataplane", Broken),
    rule!("both-ends-server", Broken, "OVS and QEMU each make the socket and wait for the other for ever"),
    rule!("both-ends-client", Broken, "OVS and QEMU each wait for the other to make the socket"),
    rule!("port-path-differs", Broken),
    rule!("port-of-other-type", Broken),
    rule!(
        "port-missing",
        Broken,
        "no port of the switch has this socket: QEMU waits for ever, without an error anywhere"
    ),
    rule!("port-failed", Broken),
    rule!(
        "port-without-vm",
        Advice,
        "no VM has this port, running or defined, and nobody is connected: a leftover, or a VM's path is wrong"
    ),
    rule!("server-socket-missing", Broken),
    rule!("not-a-socket", Broken),
    rule!("client-socket-in-use", Broken),
    rule!("client-socket-in-the-way", Broken),
    rule!(
        "listener-is-foreign",
        Broken,
        "neither ovs-vswitchd nor this VM's QEMU: the VM is wired to something else, or to nothing"
    ),
    rule!(
        "client-socket-gone",
        Broken,
        "the running QEMU's socket has lost its name: OVS cannot connect, now or after its next restart"
    ),
    rule!(
        "nic-dead-after-restart",
        Broken,
        "OVS made its socket anew and this QEMU does not connect again: the VM has no network until it is started again"
    ),
    rule!("not-connected", Broken, "the VM runs and nobody is at the other end of its network card"),
    rule!(
        "next-start-fails",
        Advice,
        "the VM runs, but its definition does not meet the port: once it is shut off, it does not start again"
    ),
    rule!("memory-not-shared", Broken),
    rule!("hugepages-not-mounted", Broken),
    rule!(
        "hugepages-not-enough",
        Advice,
        "this VM does not start now: 'unable to map backing store for guest RAM: Cannot allocate memory'"
    ),
    rule!(
        "hugepages-not-on-node",
        Advice,
        "this VM does not start now: 'Insufficient free host memory pages available to allocate guest RAM'"
    ),
];

/// Nothing else about a VM's network can be told while one of these holds.
const FIRST_OF_ALL: [&str; 4] =
    ["no-libvirt", "no-dataplane", "dataplane-not-running", "dpdk-not-initialized"];

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
    mend: String,
}

impl Trouble {
    fn of(id: &'static str, socket: &Socket, seen: impl Into<String>, mend: String) -> Trouble {
        Trouble { id, subject: socket.path.display().to_string(), seen: seen.into(), mend }
    }
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Trouble {
        Trouble { id: problem.id, subject: problem.subject, seen: problem.seen, mend: problem.mend }
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
    general(&mut judged, case, endpoints);
    for machine in &endpoints.machines {
        subject.turn_to(machine.domain.clone(), configured);
        let troubles = troubles(case, subject, endpoints, machine);
        let verdicts = verdicts(machine, &troubles, named);
        for ((number, socket), verdict) in machine.start.sockets.iter().enumerate().zip(verdicts) {
            let link = machine.links.get(number).cloned().unwrap_or_default();
            let word = judged.settle(verdict).unwrap_or_else(|| word(endpoints, machine, socket, &link));
            judged.rows.push(row::of_machine(case, endpoints, machine, socket, link, word));
        }
        for endpoint in machine.domain.endpoints.iter().filter(|endpoint| endpoint.path.is_none()) {
            judged.rows.push(row::without_path(case, endpoints, machine, endpoint));
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
    for port in &endpoints.free {
        let verdict = free(endpoints, port).map(|trouble| {
            named_as(&trouble, named).ok_or(trouble).map_or_else(Verdict::New, Verdict::Named)
        });
        let word = judged.settle(verdict).unwrap_or_else(|| running::free_word(endpoints, port));
        judged.rows.push(row::of_port(case, endpoints, port, word));
    }
    judged
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
        let Trouble { id, subject, seen, mend } = trouble;
        if !self.known.insert((id, subject.clone())) {
            return id;
        }
        if let Some(rule) = catalogue().find(|rule| rule.id == id) {
            let (level, cause) = (rule.level, rule.cause);
            self.findings.push(Finding { id, level, subject, seen, cause, mend, restart: None });
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

/// What is about no VM in particular.
fn general(judged: &mut Judged, case: &Case<'_>, endpoints: &Endpoints) {
    if let (Known::Unknown(why), true) = (&endpoints.switch, case.accord.dataplane.is_some()) {
        let running = endpoints.vswitchd != Vswitchd::NotRunning;
        let asked = endpoints.machines.iter().any(|machine| machine.start.asks_switch);
        if running && asked {
            let mend = "ovs-vsctl --timeout=5 show".to_string();
            let subject = "Open vSwitch".to_string();
            judged.add(Trouble { id: "switch-unknown", subject, seen: why.clone(), mend });
        }
    }
    for file in &endpoints.unread {
        let subject = file.path.display().to_string();
        let mend = format!("xmllint --noout {}", crate::shell::path(&file.path));
        judged.add(Trouble { id: "domain-unreadable", subject, seen: file.error.clone(), mend });
    }
}

/// All that is wrong with a VM, the first cause first.
fn troubles(node: &Case<'_>, subject: &Subject, endpoints: &Endpoints, machine: &Machine) -> Vec<Trouble> {
    if node.lacks_libvirt() && !machine.domain.running {
        return vec![absent("no-libvirt", "libvirt")];
    }
    let case = hook::Case { subject, facts: &machine.start };
    let problems = hook::problems(&case).into_iter().filter(|problem| problem.sure);
    let mut found: Vec<Trouble> = match machine.domain.running {
        true => problems.filter(running::still_counts).map(Trouble::from).collect(),
        false => {
            let is_left = |problem: &Problem| !hook::will_mend(&case, problem);
            problems.filter(is_left).map(Trouble::from).collect()
        }
    };
    for (socket, link) in machine.start.sockets.iter().zip(&machine.links) {
        if is_network_card(&socket.endpoint) && hook::is_switch_path(&case, &socket.path) {
            found.extend(running::trouble(endpoints, machine, socket, link));
        }
    }
    if endpoints.vswitchd == Vswitchd::NotRunning && machine.start.asks_switch {
        found.insert(0, not_running(node, subject));
    }
    if let Some(first) = found.iter().find(|trouble| FIRST_OF_ALL.contains(&trouble.id)).cloned() {
        found.retain(|trouble| is_of_domain(trouble, machine));
        found.insert(0, first);
    }
    found
}

/// What no VM can be judged without; the rule of that id names it, once for the node.
fn absent(id: &'static str, subject: &str) -> Trouble {
    Trouble { id, subject: subject.to_string(), seen: String::new(), mend: String::new() }
}

fn not_running(node: &Case<'_>, subject: &Subject) -> Trouble {
    if node.profile.dataplane.is_none() {
        return absent("no-dataplane", "openvswitch");
    }
    let unit = subject.agreed.as_ref().and_then(|agreed| agreed.dataplane.as_ref());
    let unit = unit.map_or("openvswitch-switch", |dataplane| dataplane.unit.as_str());
    let mend = format!("systemctl start {}", crate::shell::quote(unit));
    let (subject, seen) = ("ovs-vswitchd".to_string(), "does not run".to_string());
    Trouble { id: "dataplane-not-running", subject, seen, mend }
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
fn word(endpoints: &Endpoints, machine: &Machine, socket: &Socket, link: &Link) -> String {
    if !machine.domain.running {
        return "ready".to_string();
    }
    let unknown = is_network_card(&socket.endpoint) && machine.start.switch.known().is_none();
    if unknown {
        return "unknown".to_string();
    }
    running::word(endpoints, machine, socket, link).to_string()
}

/// What is wrong with a port that no VM has.
fn free(endpoints: &Endpoints, port: &FreePort) -> Option<Trouble> {
    if let Some(trouble) = running::foreign_at_port(endpoints, port) {
        return Some(trouble);
    }
    let used = !port.link.connections.is_empty();
    if used || endpoints.peers.known().is_none() {
        return None;
    }
    let mend = format!("ovs-vsctl --if-exists del-port {}", mends::interface(&port.port));
    let path = port.socket.path.display();
    let seen = format!("a {} at {path}, and no VM has it", port.port.kind);
    Some(Trouble { id: "port-without-vm", subject: format!("port {}", port.port.name), seen, mend })
}
