// SPDX-License-Identifier: Apache-2.0
//! VMs of another node as the hook would have them here, when they came by a migration: what libvirt leaves behind is
//! left out, and what the hook would convert (`incoming`) is as it would be then. Nothing is changed.

mod told;

pub use told::shape;

use std::path::{Path, PathBuf};

use crate::base::root::Root;
use crate::config::PortType;
use crate::convert::{self, Decision, Held, Step, Terms};
use crate::dataplane::ovs::ovsdb::PortState;
use crate::facts::Known;
use crate::facts::domains::{Domain, Endpoint, EndpointKind, LabelKind, SocketMode};
use crate::node::endpoints;
use crate::node::endpoints::start::Facts;
use crate::node::endpoints::usage::Usage;
use crate::node::live::Live;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The VM as it would start here.
    pub domain: Domain,
    /// What its start would depend on.
    pub facts: Facts,
    /// Ports that a conversion would have to change and someone has.
    pub held: Vec<Held>,
    /// Sockets whose port would be changed for it: what is there now counts no more.
    pub turned: Vec<PathBuf>,
    /// Nobody looked here: the facts are those of a fingerprint.
    pub told: bool,
}

/// Looks at what they would meet. `terms` are those of `incoming`; `None` where VMs keep what they have.
pub fn look(root: &Root, live: &Live, terms: Option<&Terms<'_>>, vms: &[&Domain]) -> Vec<Arrival> {
    let domains: Vec<Domain> = vms.iter().map(|vm| arriving(vm)).collect();
    let facts = endpoints::arrivals(root, live, &domains);
    let plain =
        |(domain, facts)| Arrival { domain, facts, held: Vec::new(), turned: Vec::new(), told: false };
    let mut arrivals: Vec<Arrival> = domains.into_iter().zip(facts).map(plain).collect();
    let Some(terms) = terms else { return arrivals };
    let usage = Usage::read(root).map_err(|error| format!("{error:#}"));
    let steps: Vec<Vec<Step>> =
        arrivals.iter_mut().map(|arrival| decide(root, &usage, terms, arrival)).collect();
    for (arrival, steps) in arrivals.iter_mut().zip(&steps) {
        turn(&mut arrival.domain, steps);
    }
    let domains: Vec<Domain> = arrivals.iter().map(|arrival| arrival.domain.clone()).collect();
    let facts = endpoints::arrivals(root, live, &domains);
    for ((arrival, steps), facts) in arrivals.iter_mut().zip(&steps).zip(facts) {
        arrival.facts = facts;
        for (_, after) in steps.iter().filter_map(|step| step.port.as_ref()) {
            turn_port(arrival, after);
        }
    }
    arrivals
}

/// A dynamic label is this node's own, and so is the port's name that libvirt filled in.
fn arriving(vm: &Domain) -> Domain {
    let mut vm = vm.clone();
    (vm.id, vm.pid) = (None, None);
    if let Some(label) = vm.dac.as_mut().filter(|label| label.kind != LabelKind::Static) {
        label.owner = None;
    }
    for card in vm.endpoints.iter_mut().filter(|endpoint| endpoint.device == EndpointKind::Interface) {
        card.target = None;
    }
    vm
}

/// As the hook decides: all of a VM's interfaces, or none.
fn decide(root: &Root, usage: &Result<Usage, String>, terms: &Terms<'_>, arrival: &mut Arrival) -> Vec<Step> {
    let Known::Known(join) = &arrival.facts.switch else { return Vec::new() };
    let mut in_use = |port: &_, path: &Path| match usage {
        Ok(usage) => Known::from(usage.of(root, port, path, &arrival.domain)),
        Err(why) => Known::Unknown(why.clone()),
    };
    let (mut steps, mut held) = (Vec::new(), Vec::new());
    for (number, endpoint) in convert::interfaces(&arrival.domain) {
        let path = endpoint.path.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
        match convert::decide(terms, join, (number, endpoint), &mut in_use) {
            Decision::Nothing | Decision::Left(_) => {}
            Decision::Convert(step) => steps.push(step),
            Decision::InUse { port, by } => held.push(Held { path, port, by }),
        }
    }
    arrival.held = held;
    if arrival.held.is_empty() { steps } else { Vec::new() }
}

fn turn(domain: &mut Domain, steps: &[Step]) {
    let counted =
        |endpoint: &&mut Endpoint| matches!(endpoint.device, EndpointKind::Interface | EndpointKind::Passt);
    for turn in steps.iter().filter_map(|step| step.turn.as_ref()) {
        if let Some(endpoint) = domain.endpoints.iter_mut().filter(counted).nth(turn.interface) {
            endpoint.path = Some(turn.path.clone());
            endpoint.mode = match turn.to {
                PortType::Dpdkvhostuserclient => SocketMode::Server,
                PortType::Dpdkvhostuser => SocketMode::Client,
            };
        }
    }
}

/// OVSDB and the socket as they would be once the switch has taken it.
fn turn_port(arrival: &mut Arrival, after: &PortState) {
    let Known::Known(join) = &mut arrival.facts.switch else { return };
    let Some(port) = join.ports.iter_mut().find(|port| port.name == after.name) else { return };
    (port.kind, port.server_path, port.socket, port.error) =
        (after.kind, after.server_path.clone(), None, None);
    arrival.turned.push(join.config.expected_socket(port));
}
