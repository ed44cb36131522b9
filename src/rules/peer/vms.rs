// SPDX-License-Identifier: Apache-2.0
//! VM by VM: what the hook would say at its start here, and what libvirt would.

use std::collections::HashMap;
use std::path::Path;

use super::compare::has_other_mode;
use super::{Compared, Comparison, Finding, Newcomer, names};
use crate::arrivals::Arrival;
use crate::base::shell;
use crate::dataplane::ovs;
use crate::facts::domains::{Domain, SocketMode};
use crate::facts::hugepages;
use crate::fingerprint::Vm;
use crate::fixes;
use crate::node::endpoints::start::Facts;
use crate::rules::start::{self, StartCase, will_fix};
use crate::rules::{Evidence, Level, finding};

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

pub fn judge(mut comparison: Comparison<'_>) -> Compared {
    let mut told = Told::default();
    let mut met = Compared::default();
    for (vm, arrival) in comparison.there.vms.iter().zip(comparison.arrivals) {
        let (found, starts_here) = meet(&mut comparison, vm, arrival);
        met.vms.push(newcomer(&vm.domain, starts_here));
        count(&mut met.pages, &arrival.facts);
        found.into_iter().for_each(|finding| told.add(&vm.domain.name, finding));
    }
    met.findings = told.findings();
    met
}

/// What one VM would meet, and the word for it: `yes`, `unknown`, or the finding that keeps it out.
pub fn meet(comparison: &mut Comparison<'_>, vm: &Vm, arrival: &Arrival) -> (Vec<Finding>, &'static str) {
    let (here, domains) = (comparison.here, comparison.domains);
    // All that it has is in use, by itself.
    if let Some(running) = runs_here(&vm.domain, domains) {
        let found: Vec<Finding> = exists(running).into_iter().collect();
        let word = word(&found);
        return (found, word);
    }
    comparison.start.turn_to(arrival.domain.clone(), comparison.configured);
    comparison.start.held.clone_from(&arrival.held);
    let mut found: Vec<Finding> = defined(&vm.domain, domains).and_then(exists).into_iter().collect();
    let case = StartCase { start: comparison.start, facts: &arrival.facts };
    found.extend(at_start(&case, vm, arrival, &comparison.there.name()));
    // Neither libvirt nor the numbers of one in a container: no rule can say what QEMU may.
    let nobody = || unknown("the user of QEMU on this node is unknown".to_string());
    found.extend(here.qemu.is_none().then(nobody).flatten());
    // Whoever makes its ports here later is to find their type set up.
    let not_set_up = here.incoming.is_none() && has_other_mode(&arrival.domain, &here.modes, &arrival.facts);
    match word(&found) {
        "yes" | "unknown" if not_set_up => (found, "peer-mode-not-here"),
        word => (found, word),
    }
}

/// What the hook would say of it.
fn at_start(case: &StartCase<'_>, vm: &Vm, arrival: &Arrival, there: &str) -> Vec<Finding> {
    let turned =
        |found: &Finding| arrival.turned.iter().any(|path| path.display().to_string() == found.subject);
    let left = |found: &Finding| !will_fix(case, found) && !novas(vm, found) && !turned(found);
    let found = start::run(case).into_iter().filter(left);
    let mut findings: Vec<Finding> = found.map(|found| refusal(case, found, there)).collect();
    findings.extend(case.facts.unknown().into_iter().filter_map(unknown));
    findings
}

/// nova has os-vif make the port, and OVS with it the socket, before libvirt hears of the migration.
fn novas(vm: &Vm, found: &Finding) -> bool {
    let name = Path::new(&found.subject).file_name().and_then(|name| name.to_str());
    ["port-missing", "server-socket-missing"].contains(&found.id)
        && vm.nova_ports.iter().any(|port| Some(port.as_str()) == name)
}

fn word(found: &[Finding]) -> &'static str {
    let broken = found.iter().find(|finding| finding.level == Level::Broken).map(|finding| finding.id);
    broken.unwrap_or(if found.is_empty() { "yes" } else { "unknown" })
}

fn newcomer(vm: &Domain, starts_here: &str) -> Newcomer {
    Newcomer {
        name: vm.name.clone(),
        uuid: vm.uuid.clone(),
        endpoints: vm.endpoints.len(),
        starts_here: starts_here.to_string(),
    }
}

/// What the hook is sure of refuses the migration, whatever it means to a VM that is off.
fn refusal(case: &StartCase<'_>, found: Finding, there: &str) -> Finding {
    let fix = match of_this_node(case, &found) {
        Some(fix) => fix,
        // The VM is there, and so is its definition.
        None if found.fix.starts_with("virsh ") => format!("{}  # on {}", found.fix, plain(there)),
        None => found.fix.clone(),
    };
    let level = if found.sure { Level::Broken } else { Level::Advice };
    Finding { level, fix, ..found }
}

/// The hook would change the VM; one that runs elsewhere, and well, keeps its side: the port here is to meet it.
fn of_this_node(case: &StartCase<'_>, found: &Finding) -> Option<String> {
    let socket = case.facts.sockets.iter().find(|socket| socket.path.display().to_string() == found.subject);
    let socket = socket.filter(|_| found.id == "both-ends-client")?;
    let asked = case.second(socket);
    let join = asked.map_or(&case.facts.switch, |asked| &asked.join).known()?;
    let name = socket.path.file_name()?.to_str()?;
    let port = join.ports.iter().find(|port| port.name == name)?;
    Some(ovs::fixes::convert_port(
        asked.map(|asked| &asked.second),
        &port.name,
        SocketMode::Client,
        &socket.path,
    ))
}

/// A comment ends where a line does: the other node may call itself what it likes.
fn plain(host: &str) -> &str {
    if shell::is_plain(host) { host } else { "the other node" }
}

fn unknown(why: String) -> Option<Finding> {
    finding("peer-unknown", Evidence::fixed_by("", why, "vhost-accord check"))
}

fn count(pages: &mut HashMap<u64, (u64, u64)>, facts: &Facts) {
    for need in facts.memory.known().into_iter().flatten() {
        let (wanted, available) = pages.entry(need.page_size).or_default();
        *wanted = wanted.saturating_add(need.pages);
        *available = need.pool.as_ref().map_or(0, |pool: &hugepages::Pool| pool.available);
    }
}

fn exists((seen, fix): (String, String)) -> Option<Finding> {
    finding("peer-vm-exists", Evidence::fixed_by("", seen, fix))
}

fn has_uuid_of(one: &Domain, other: &Domain) -> bool {
    one.uuid.is_some() && one.uuid == other.uuid
}

/// libvirt's own refusals (src/conf/virdomainobjlist.c, virDomainObjListAddLocked).
fn runs_here(vm: &Domain, domains: &[&Domain]) -> Option<(String, String)> {
    let is_it = |other: &&&Domain| other.running && (other.name == vm.name || has_uuid_of(vm, other));
    let other = domains.iter().find(is_it)?;
    let seen = format!("'{}' runs here already", other.name);
    Some((seen, format!("virsh shutdown {}", fixes::domain(other))))
}

/// The definition that an earlier stay left is in nobody's way.
fn defined(vm: &Domain, domains: &[&Domain]) -> Option<(String, String)> {
    let other = domains.iter().find(|other| (other.name == vm.name) != has_uuid_of(vm, other))?;
    let name = fixes::domain(other);
    if has_uuid_of(vm, other) {
        let seen = format!("VM '{}' with the same UUID is defined here", other.name);
        return Some((seen, format!("virsh domrename {name} {}", fixes::domain(vm))));
    }
    let uuid = other.uuid.as_deref().filter(|_| vm.uuid.is_some())?;
    let free = shell::quote(&format!("{}-of-this-node", other.name));
    let seen = format!("another VM with that name is defined here, {uuid}");
    Some((seen, format!("virsh domrename {name} {free}")))
}
