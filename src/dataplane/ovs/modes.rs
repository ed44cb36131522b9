// SPDX-License-Identifier: Apache-2.0
//! `modes = look`: finds on the node which port types must work.

use std::path::Path;

use serde::Serialize;

use crate::base::paths::same_path;
use crate::config::PortType;
use crate::dataplane::ovs::sockets::{Switch, is_switch_place};
use crate::facts::Known;
use crate::facts::domains::is_network_card;
use crate::facts::domains::{Domain, SocketMode};

/// What was found, and why it counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Modes {
    /// The port types that must work.
    pub types: Vec<PortType>,
    /// What decided about `dpdkvhostuser`.
    pub reason: String,
}

impl Modes {
    /// Looks. `incoming` is the type that VMs are turned to which come to this node; `before` tells that an earlier `apply`
    /// made `dpdkvhostuser` ports work. `broken` is the first VM's file that could not be read.
    pub fn look<'a>(
        switch: &Known<Switch>,
        vms: impl IntoIterator<Item = &'a Domain>,
        broken: Option<&Path>,
        incoming: Option<PortType>,
        before: bool,
    ) -> Modes {
        let coming = incoming.filter(|kind| *kind == PortType::Dpdkvhostuser);
        let found = coming
            .map(|kind| format!("incoming = {kind}"))
            .or_else(|| port(switch.known()?))
            .or_else(|| vms.into_iter().find_map(|vm| client(vm, switch.known())));
        let unknown = match (switch, broken) {
            (Known::Unknown(why), _) => Some(format!("OVSDB: {why}")),
            (_, Some(file)) => Some(format!("{} cannot be read", file.display())),
            (Known::Known(_), None) => None,
        };
        match (found, unknown) {
            (Some(reason), _) => Modes::both(reason),
            // Nothing is undone because of what is unknown now.
            (None, Some(why)) if before => Modes::both(format!("as in the last apply; {why}")),
            (None, Some(why)) => Modes::one(format!("no known VM connects to a dpdkvhostuser port; {why}")),
            (None, None) => {
                Modes::one("OVS has no dpdkvhostuser port, and no VM connects to one".to_string())
            }
        }
    }

    /// As one line.
    pub fn text(&self) -> String {
        let types: Vec<&str> = self.types.iter().map(|kind| kind.as_str()).collect();
        format!("{}: {}", types.join(" "), self.reason)
    }

    fn both(reason: String) -> Modes {
        Modes { types: PortType::ALL.to_vec(), reason }
    }

    fn one(reason: String) -> Modes {
        Modes { types: vec![PortType::Dpdkvhostuserclient], reason }
    }
}

fn port(switch: &Switch) -> Option<String> {
    let port = switch.ports.iter().find(|port| port.kind == PortType::Dpdkvhostuser)?;
    Some(format!("OVS has the dpdkvhostuser port {}", port.name))
}

/// A card whose socket the switch is to make. A card that meets a port of the other type is that port's mistake or its own.
fn client(vm: &Domain, switch: Option<&Switch>) -> Option<String> {
    let is_ports_own = |path: &Path| {
        let ports = switch.map(|switch| switch.ports.as_slice()).unwrap_or_default();
        ports.iter().any(|port| port.server_path.as_deref().is_some_and(|own| same_path(own, path)))
    };
    let cards = vm.endpoints.iter().filter(|endpoint| is_network_card(endpoint));
    let mut paths =
        cards.filter(|card| card.mode == SocketMode::Client).filter_map(|card| card.path.as_deref());
    let path = paths.find(|path| is_switch_place(path) && !is_ports_own(path))?;
    Some(format!("VM {} connects to {}", vm.name, path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::ovs::ovsdb::{SwitchConfig, VhostPort};
    use crate::facts::domains::parse_domain;

    fn vm(mode: &str, path: &str) -> Domain {
        let card = format!(
            "<interface type='vhostuser'><source type='unix' path='{path}' mode='{mode}'/></interface>"
        );
        parse_domain(&format!("<domain><name>vm</name><devices>{card}</devices></domain>")).unwrap()
    }

    fn switch(ports: &[(&str, PortType, Option<&str>)]) -> Known<Switch> {
        let port = |(name, kind, path): &(&str, PortType, Option<&str>)| VhostPort {
            ofport: None,
            ..VhostPort::plain(name, *kind, path.map(Into::into))
        };
        let config = SwitchConfig::default();
        Known::Known(Switch { config, ports: ports.iter().map(port).collect() })
    }

    fn silent() -> Known<Switch> {
        Known::Unknown("no answer".to_string())
    }

    fn look(switch: &Known<Switch>, vms: &[Domain], before: bool) -> String {
        Modes::look(switch, vms, None, None, before).text()
    }

    #[test]
    fn a_port_or_a_vm_is_a_reason() {
        let old = switch(&[("vhu0", PortType::Dpdkvhostuser, None)]);
        assert_eq!(
            look(&old, &[], false),
            "dpdkvhostuserclient dpdkvhostuser: OVS has the dpdkvhostuser port vhu0"
        );
        let both = "dpdkvhostuserclient dpdkvhostuser: VM vm connects to /run/openvswitch/vhu1";
        let client = vm("client", "/run/openvswitch/vhu1");
        for switch in [switch(&[]), silent()] {
            assert_eq!(look(&switch, std::slice::from_ref(&client), false), both);
        }
        // A port of the other type has that path: one of the two is a mistake, and no reason.
        let new = switch(&[("vhu1", PortType::Dpdkvhostuserclient, Some("/var/run/openvswitch/vhu1"))]);
        for vms in [
            vec![client],
            vec![vm("server", "/run/openvswitch/vhu1")],
            vec![vm("client", "/run/other/vhu1")],
            vec![vm("client", "/run/openvswitch/db.sock")],
        ] {
            assert!(look(&new, &vms, true).starts_with("dpdkvhostuserclient: OVS has no"), "{vms:?}");
        }
        let wanted = Modes::look(&new, &[], None, Some(PortType::Dpdkvhostuser), false);
        assert_eq!(wanted.reason, "incoming = dpdkvhostuser");
    }

    #[test]
    fn what_nobody_can_tell_changes_nothing() {
        assert!(
            look(&silent(), &[], true).starts_with("dpdkvhostuserclient dpdkvhostuser: as in the last apply")
        );
        assert!(look(&silent(), &[], false).starts_with("dpdkvhostuserclient: no known VM"));
        let unread =
            |before| Modes::look(&switch(&[]), &[], Some(Path::new("/x.xml")), None, before).types.len();
        assert_eq!((unread(true), unread(false)), (2, 1));
    }
}
