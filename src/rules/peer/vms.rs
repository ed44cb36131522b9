// SPDX-License-Identifier: Apache-2.0
//! VM by VM: what the hook would say at its start here, and what libvirt would.

use std::collections::HashMap;
use std::path::Path;

use super::compare::has_other_mode;
use super::{Finding, Ground, Level, Row, Trouble, names};
use crate::arrivals::Arrival;
use crate::base::shell;
use crate::dataplane::ovs;
use crate::facts::domains::{Domain, SocketMode};
use crate::facts::hugepages;
use crate::fingerprint::Vm;
use crate::fixes;
use crate::hook::{self, Problem};
use crate::node::endpoints::start::Facts;

/// What was found of the VMs.
#[derive(Debug, Default)]
pub struct Met {
    /// A row for each.
    pub vms: Vec<Row>,
    /// What keeps them out.
    pub findings: Vec<Finding>,
    /// Huge pages that all of them need together, and those that are available here, by size.
    pub pages: HashMap<u64, (u64, u64)>,
}

/// Findings, and whose they are: one cause is told once, however many VMs have it.
#[derive(Default)]
struct Told {
    findings: Vec<(Finding, Vec<String>)>,
    known: HashMap<(&'static str, String, String), usize>,
}

impl Told {
    fn add(&mut self, vm: &str, finding: Finding) {
        let key = (finding.id, finding.subject.clone(), finding.fix.clone());
        let at = *self.known.entry(key).or_insert(self.findings.len());
        match self.findings.get_mut(at) {
            Some((_, vms)) => vms.push(vm.to_string()),
            None => self.findings.push((finding, vec![vm.to_string()])),
        }
    }

    /// Each names its VMs before what it is about.
    fn findings(self) -> Vec<Finding> {
        let named = |(finding, vms): (Finding, Vec<String>)| Finding {
            subject: match finding.subject.is_empty() {
                true => names(vms.iter().map(String::as_str)),
                false => format!("{}: {}", names(vms.iter().map(String::as_str)), finding.subject),
            },
            ..finding
        };
        self.findings.into_iter().map(named).collect()
    }
}

pub fn judge(mut ground: Ground<'_>) -> Met {
    let mut told = Told::default();
    let mut met = Met::default();
    for (vm, arrival) in ground.there.vms.iter().zip(ground.arrivals) {
        let (found, starts_here) = meet(&mut ground, vm, arrival);
        met.vms.push(row(&vm.domain, starts_here));
        count(&mut met.pages, &arrival.facts);
        found.into_iter().for_each(|finding| told.add(&vm.domain.name, finding));
    }
    met.findings = told.findings();
    met
}

/// What one VM would meet, and the word for it: `yes`, `unknown`, or the finding that keeps it out.
pub fn meet(ground: &mut Ground<'_>, vm: &Vm, arrival: &Arrival) -> (Vec<Finding>, &'static str) {
    let (here, domains) = (ground.here, ground.domains);
    // All that it has is in use, by itself.
    if let Some(trouble) = runs_here(&vm.domain, domains) {
        let found: Vec<Finding> = trouble.finding().into_iter().collect();
        let word = word(&found);
        return (found, word);
    }
    ground.subject.turn_to(arrival.domain.clone(), ground.configured);
    ground.subject.held.clone_from(&arrival.held);
    let case = hook::Case { subject: ground.subject, facts: &arrival.facts };
    let mut found = problems(&case, vm, arrival, &ground.there.name());
    found.extend(here.qemu.is_none().then(nobody).and_then(Trouble::finding));
    found.splice(..0, defined(&vm.domain, domains).and_then(Trouble::finding));
    // Nobody looked at the ports here: what the configuration says of them counts.
    let not_set_up = arrival.told && here.incoming.is_none() && has_other_mode(&arrival.domain, &here.modes);
    match word(&found) {
        "yes" | "unknown" if not_set_up => (found, "peer-mode-not-here"),
        word => (found, word),
    }
}

/// What the hook would say of it.
fn problems(case: &hook::Case<'_>, vm: &Vm, arrival: &Arrival, there: &str) -> Vec<Finding> {
    let turned =
        |problem: &Problem| arrival.turned.iter().any(|path| path.display().to_string() == problem.subject);
    let left = |problem: &Problem| !hook::will_fix(case, problem) && !novas(vm, problem) && !turned(problem);
    let problems = hook::problems(case).into_iter().filter(left);
    let mut found: Vec<Finding> = problems.map(|problem| finding(case, problem, there)).collect();
    found.extend(case.facts.unknown().into_iter().filter_map(|why| unknown(why).finding()));
    found
}

/// nova has os-vif make the port, and OVS with it the socket, before libvirt hears of the migration.
fn novas(vm: &Vm, problem: &Problem) -> bool {
    let name = Path::new(&problem.subject).file_name().and_then(|name| name.to_str());
    ["port-missing", "server-socket-missing"].contains(&problem.id)
        && vm.nova_ports.iter().any(|port| Some(port.as_str()) == name)
}

fn word(found: &[Finding]) -> &'static str {
    let broken = found.iter().find(|finding| finding.level == Level::Broken).map(|finding| finding.id);
    broken.unwrap_or(if found.is_empty() { "yes" } else { "unknown" })
}

fn row(vm: &Domain, starts_here: &str) -> Row {
    Row {
        name: vm.name.clone(),
        uuid: vm.uuid.clone(),
        endpoints: vm.endpoints.len(),
        starts_here: starts_here.to_string(),
    }
}

/// What the hook is sure of refuses the migration, whatever it means to a VM that is off.
fn finding(case: &hook::Case<'_>, problem: Problem, there: &str) -> Finding {
    let fix = match of_this_node(case, &problem) {
        Some(fix) => fix,
        // The VM is there, and so is its definition.
        None if problem.fix.starts_with("virsh ") => format!("{}  # on {}", problem.fix, plain(there)),
        None => problem.fix,
    };
    let level = if problem.sure { Level::Broken } else { Level::Advice };
    let Problem { id, subject, seen, cause, .. } = problem;
    Finding { id, level, subject, seen, cause, fix, restart: None }
}

/// The hook would change the VM; one that runs elsewhere, and well, keeps its side: the port here is to meet it.
fn of_this_node(case: &hook::Case<'_>, problem: &Problem) -> Option<String> {
    let socket =
        case.facts.sockets.iter().find(|socket| socket.path.display().to_string() == problem.subject);
    let socket = socket.filter(|_| problem.id == "both-ends-client")?;
    let join = case.facts.switch.known()?;
    let name = socket.path.file_name()?.to_str()?;
    let port = join.ports.iter().find(|port| port.name == name)?;
    Some(ovs::fixes::convert_port(&port.name, SocketMode::Client, &socket.path))
}

/// A comment ends where a line does: the other node may call itself what it likes.
fn plain(host: &str) -> &str {
    if shell::is_plain(host) { host } else { "the other node" }
}

fn unknown(why: String) -> Trouble {
    Trouble::new("peer-unknown", "", why, "vhost-accord check")
}

/// Neither libvirt nor the numbers of one in a container: no rule can say what QEMU may.
fn nobody() -> Trouble {
    unknown("the user of QEMU on this node is unknown".to_string())
}

fn count(pages: &mut HashMap<u64, (u64, u64)>, facts: &Facts) {
    for need in facts.memory.known().into_iter().flatten() {
        let (wanted, available) = pages.entry(need.page_size).or_default();
        *wanted = wanted.saturating_add(need.pages);
        *available = need.pool.as_ref().map_or(0, |pool: &hugepages::Pool| pool.available);
    }
}

fn exists(seen: String, fix: String) -> Trouble {
    Trouble::new("peer-vm-exists", "", seen, fix)
}

fn has_uuid_of(one: &Domain, other: &Domain) -> bool {
    one.uuid.is_some() && one.uuid == other.uuid
}

/// libvirt's own refusals (src/conf/virdomainobjlist.c, virDomainObjListAddLocked).
fn runs_here(vm: &Domain, domains: &[&Domain]) -> Option<Trouble> {
    let is_it = |other: &&&Domain| other.running && (other.name == vm.name || has_uuid_of(vm, other));
    let other = domains.iter().find(is_it)?;
    let seen = format!("'{}' runs here already", other.name);
    Some(exists(seen, format!("virsh shutdown {}", fixes::domain(other))))
}

/// The definition that an earlier stay left is in nobody's way.
fn defined(vm: &Domain, domains: &[&Domain]) -> Option<Trouble> {
    let other = domains.iter().find(|other| (other.name == vm.name) != has_uuid_of(vm, other))?;
    let name = fixes::domain(other);
    if has_uuid_of(vm, other) {
        let seen = format!("VM '{}' with the same UUID is defined here", other.name);
        return Some(exists(seen, format!("virsh domrename {name} {}", fixes::domain(vm))));
    }
    let uuid = other.uuid.as_deref().filter(|_| vm.uuid.is_some())?;
    let free = shell::quote(&format!("{}-of-this-node", other.name));
    let seen = format!("another VM with that name is defined here, {uuid}");
    Some(exists(seen, format!("virsh domrename {name} {free}")))
}
