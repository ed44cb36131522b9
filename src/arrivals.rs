// SPDX-License-Identifier: Apache-2.0
//! VMs of another node as the hook would have them here, when they came by a migration: what libvirt leaves behind is
//! left out, and what the hook would convert (`incoming`) is as it would be then. What is here is in a fingerprint: this node's
//! own (`check --against`), or that of any other (`compare`).

mod memory;

use std::path::{Path, PathBuf};

use crate::config::PortType;
use crate::convert::{self, Decision, Held, Step, Terms};
use crate::dataplane::ovs::ovsdb::{PortState, VhostPort};
use crate::facts::Known;
use crate::facts::domains::{Domain, Endpoint, EndpointKind, LabelKind, SocketMode};
use crate::fingerprint::{Fingerprint, Vm};
use crate::node::endpoints::place::Ground;
use crate::node::endpoints::start::Facts;

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
}

/// What they would meet, in their order.
pub fn look<'a>(here: &Fingerprint, vms: impl IntoIterator<Item = &'a Domain>) -> Vec<Arrival> {
    let ground = here.place.ground();
    vms.into_iter().map(|vm| Arrival::at(here, &ground, vm)).collect()
}

impl Arrival {
    /// Of a VM that would come to the node of this fingerprint.
    pub fn at(here: &Fingerprint, ground: &Ground<'_>, vm: &Domain) -> Arrival {
        let domain = arriving(vm);
        let memory = Known::from(memory::needs(here, &domain.memory));
        let facts = ground.facts(&domain, memory);
        let mut arrival = Arrival { domain, facts, held: Vec::new(), turned: Vec::new() };
        if let Some(wanted) = here.incoming.as_deref().and_then(PortType::named) {
            let socket_directory = here.agreed.as_ref().map(|agreed| agreed.socket_directory.as_path());
            arrival.convert(ground, &Terms { wanted, socket_directory });
        }
        arrival
    }

    fn convert(&mut self, ground: &Ground<'_>, terms: &Terms<'_>) {
        let steps = self.decide(ground, terms);
        if steps.is_empty() {
            return;
        }
        turn(&mut self.domain, &steps);
        self.facts = ground.facts(&self.domain, self.facts.memory.clone());
        for (_, after) in steps.iter().filter_map(|step| step.port.as_ref()) {
            self.turn_port(after);
        }
    }

    /// As the hook decides: all of a VM's interfaces, or none.
    fn decide(&mut self, ground: &Ground<'_>, terms: &Terms<'_>) -> Vec<Step> {
        let Known::Known(join) = &self.facts.switch else { return Vec::new() };
        let (mut steps, mut held) = (Vec::new(), Vec::new());
        for (number, endpoint) in convert::interfaces(&self.domain) {
            let path = endpoint.path.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
            let mut in_use = |port: &VhostPort, _: &Path| ground.user_of(&port.name);
            match convert::decide(terms, join, (number, endpoint), &mut in_use) {
                Decision::Nothing | Decision::Left(_) => {}
                Decision::Convert(step) => steps.push(step),
                Decision::InUse { port, by } => held.push(Held { path, port, by }),
            }
        }
        self.held = held;
        if self.held.is_empty() { steps } else { Vec::new() }
    }

    /// OVSDB and the socket as they would be once the switch has taken it.
    fn turn_port(&mut self, after: &PortState) {
        let Known::Known(join) = &mut self.facts.switch else { return };
        let Some(port) = join.ports.iter_mut().find(|port| port.name == after.name) else { return };
        (port.kind, port.server_path, port.socket, port.error) =
            (after.kind, after.server_path.clone(), None, None);
        self.turned.push(join.config.expected_socket(port));
    }
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

/// A VM without what is its own, and which of its ports nova makes: two of one shape meet the same on any node that has nothing
/// of their sockets' names, and no VM of their own name or UUID.
pub fn shape(vm: &Vm) -> (Domain, Vec<bool>) {
    let mut shape = arriving(&vm.domain);
    shape.name.clear();
    shape.uuid = None;
    let mut novas = Vec::new();
    for endpoint in &mut shape.endpoints {
        (endpoint.mac, endpoint.alias, endpoint.target) = (None, None, None);
        if let Some(path) = &mut endpoint.path {
            let name = path.file_name().and_then(|name| name.to_str());
            novas.push(vm.nova_ports.iter().any(|port| Some(port.as_str()) == name));
            path.pop();
        }
    }
    (shape, novas)
}

fn turn(domain: &mut Domain, steps: &[Step]) {
    let counted =
        |endpoint: &&mut Endpoint| matches!(endpoint.device, EndpointKind::Interface | EndpointKind::Passt);
    for turn in steps.iter().filter_map(|step| step.turn.as_ref()) {
        if let Some(endpoint) = domain.endpoints.iter_mut().filter(counted).nth(turn.interface) {
            endpoint.path = Some(turn.path.clone());
            endpoint.mode = SocketMode::of(turn.to);
        }
    }
}
