// SPDX-License-Identifier: Apache-2.0

use std::collections::BTreeMap;
use std::path::Path;

use super::ground::{Ground, InUse};
use super::inventory::{Both, Machine};
use super::row::{Row, Verdict};
use super::{inventory, tell};
use crate::config::PortType;
use crate::convert::Terms;
use crate::dataplane::ovs::ovsdb::{SwitchConfig, VhostPort};
use crate::dataplane::ovs::sockets::Switch;
use crate::facts::Known;
use crate::facts::domains::{Domain, parse_domain};

const SOCKETS: &str = "/var/lib/vhost_sockets";

fn domain(name: &str, cards: &[(&str, &str, &str)]) -> Domain {
    let card = |(mac, mode, path): &(&str, &str, &str)| {
        format!(
            "<interface type='vhostuser'><mac address='52:54:00:00:00:{mac}'/>\
             <source type='unix' path='{path}' mode='{mode}'/></interface>"
        )
    };
    let cards: String = cards.iter().map(card).collect();
    let text = format!(
        "<domain><name>{name}</name><uuid>{name}-uuid</uuid><memory unit='MiB'>48</memory>\
         <devices>{cards}</devices></domain>"
    );
    parse_domain(&text).unwrap()
}

fn port(name: &str, kind: PortType, nova: bool) -> VhostPort {
    let server_path = (kind == PortType::Dpdkvhostuserclient).then(|| Path::new(SOCKETS).join(name));
    VhostPort { vm_uuid: nova.then(|| "nova".to_string()), ..VhostPort::plain(name, kind, server_path) }
}

fn client(name: &str) -> VhostPort {
    port(name, PortType::Dpdkvhostuserclient, false)
}

fn server(name: &str) -> VhostPort {
    port(name, PortType::Dpdkvhostuser, false)
}

fn switch(ports: Vec<VhostPort>) -> Switch {
    let config = SwitchConfig {
        other_config: BTreeMap::from([("dpdk-init".to_string(), "true".to_string())]),
        dpdk_initialized: Some(true),
        ..SwitchConfig::default()
    };
    Switch { config, ports }
}

/// Definitions and what runs, a VM each.
fn take(ports: Vec<VhostPort>, all: &[(Option<&Domain>, Option<&Domain>)], to: PortType) -> Vec<Machine> {
    take_with(ports, all, to, &|_, _, _| Known::Known(None))
}

fn take_with(
    ports: Vec<VhostPort>,
    all: &[(Option<&Domain>, Option<&Domain>)],
    to: PortType,
    in_use: &InUse<'_>,
) -> Vec<Machine> {
    let switch = switch(ports);
    let terms = Terms { wanted: to, socket_directory: Some(Path::new(SOCKETS)) };
    let all: Vec<Both<'_>> =
        all.iter().map(|(definition, running)| Both { definition: *definition, running: *running }).collect();
    inventory::of(Ground::new(terms, &switch, in_use), &all, &|name| name == "saved")
}

const TO_CLIENT: PortType = PortType::Dpdkvhostuserclient;

/// One VM with one card: what it takes.
fn one(ports: Vec<VhostPort>, definition: Option<&Domain>, running: Option<&Domain>) -> Row {
    let mut machines = take(ports, &[(definition, running)], TO_CLIENT);
    assert_eq!(machines.len(), 1);
    machines.remove(0).rows.remove(0)
}

fn old(name: &str) -> Domain {
    domain(name, &[("01", "client", "/var/run/openvswitch/vhu1")])
}

fn new(name: &str) -> Domain {
    domain(name, &[("01", "server", "/var/lib/vhost_sockets/vhu1")])
}

#[test]
fn what_it_takes_is_told() {
    let (before, after) = (old("vm"), new("vm"));
    let verdict = |ports, definition, running| one(ports, definition, running).verdict;
    assert_eq!(verdict(vec![server("vhu1")], Some(&before), None), Verdict::Ready);
    assert_eq!(verdict(vec![server("vhu1")], Some(&before), Some(&before)), Verdict::Pause);
    assert_eq!(verdict(vec![client("vhu1")], Some(&before), None), Verdict::Ready);
    // It came by a live migration: it runs so already.
    assert_eq!(verdict(vec![client("vhu1")], Some(&before), Some(&after)), Verdict::DefinitionOnly);
    assert_eq!(verdict(vec![client("vhu1")], Some(&after), Some(&after)), Verdict::Done);
    assert_eq!(verdict(vec![client("vhu1")], Some(&after), None), Verdict::Done);
    // Killed between definition and port.
    assert_eq!(verdict(vec![server("vhu1")], Some(&after), None), Verdict::Ready);
    assert_eq!(verdict(vec![server("vhu1")], Some(&after), Some(&before)), Verdict::Pause);
    assert_eq!(one(vec![server("vhu1")], Some(&old("saved")), None).state, "saved");
}

#[test]
fn the_turn_names_both_ends() {
    let before = old("vm");
    let row = one(vec![server("vhu1")], Some(&before), None);
    let (card, wanted) = row.turn.unwrap();
    assert_eq!(card.port, "vhu1");
    assert_eq!(card.to.path, Path::new("/var/lib/vhost_sockets/vhu1"));
    assert_eq!(wanted, Some(client("vhu1").state()));
    // The port is so already: only the definition.
    assert_eq!(one(vec![client("vhu1")], Some(&before), None).turn.unwrap().1, None);
}

#[test]
fn the_way_back_is_the_same_way() {
    let after = new("vm");
    let machines = take(vec![client("vhu1")], &[(Some(&after), None)], PortType::Dpdkvhostuser);
    let (card, wanted) = machines[0].rows[0].turn.clone().unwrap();
    assert_eq!(card.to.path, Path::new("/run/openvswitch/vhu1"));
    assert_eq!(wanted, Some(server("vhu1").state()));
}

#[test]
fn what_is_in_the_way_is_named() {
    let before = old("vm");
    let blocked = |row: Row, why: &str| {
        assert_eq!(row.verdict, Verdict::Blocked, "{why}");
        assert!(row.turn.is_none());
        let said = row.blocked.unwrap();
        assert!(said.contains(why), "{said}");
        row.steps
    };
    let steps = blocked(one(vec![], Some(&before), None), "OVS has no port vhu1");
    assert!(steps[0].contains("type=dpdkvhostuserclient options:vhost-server-path"), "{steps:?}");
    let nova = port("vhu1", PortType::Dpdkvhostuser, true);
    let steps = blocked(one(vec![nova], Some(&before), None), "port vhu1 is managed by nova");
    assert!(steps[0].contains("bind its port again"), "{steps:?}");
    // Whatever nova's definition has: nova makes it anew.
    let nova = port("vhu1", PortType::Dpdkvhostuserclient, true);
    blocked(one(vec![nova], Some(&before), None), "port vhu1 is managed by nova");
    blocked(one(vec![server("vhu1")], None, Some(&before)), "in no definition");
    let twice = domain(
        "vm",
        &[("01", "client", "/run/openvswitch/vhu1"), ("02", "client", "/var/run/openvswitch/vhu1")],
    );
    blocked(one(vec![server("vhu1")], Some(&twice), None), "two cards of this VM use port vhu1");
    let elsewhere = domain("vm", &[("01", "client", "/tmp/vhu1")]);
    blocked(one(vec![server("vhu1")], Some(&elsewhere), None), "/tmp/vhu1 is neither in");
}

#[test]
fn a_port_of_two_vms_is_turned_under_neither() {
    let (one, clone, other) =
        (old("one"), old("clone"), domain("z", &[("03", "client", "/run/openvswitch/vhu2")]));
    let all = [(Some(&one), None), (Some(&clone), None), (Some(&other), None)];
    let machines = take(vec![server("vhu1"), server("vhu2")], &all, TO_CLIENT);
    let verdicts: Vec<_> =
        machines.iter().map(|machine| (machine.name.as_str(), machine.verdict())).collect();
    assert_eq!(verdicts, [("clone", Verdict::Blocked), ("one", Verdict::Blocked), ("z", Verdict::Ready)]);
    assert!(machines[0].blocked().unwrap().contains("VM one as well"), "{:?}", machines[0].blocked());
    assert!(machines[1].rows[0].steps[0].contains("virsh edit clone"), "{:?}", machines[1].rows[0].steps);
    // What runs on it counts as what is defined for it.
    let moved = domain("one", &[("01", "client", "/run/openvswitch/vhu2")]);
    let all = [(Some(&moved), Some(&one)), (Some(&clone), None)];
    let machines = take(vec![server("vhu1"), server("vhu2")], &all, TO_CLIENT);
    assert_eq!(machines[0].verdict(), Verdict::Blocked);
}

/// Another program at the port of a VM that is off would be cut off.
#[test]
fn a_port_that_someone_has_is_not_turned() {
    let before = old("vm");
    let busy: &InUse<'_> = &|_, _, _| Known::Known(Some("a process".to_string()));
    let off = take_with(vec![server("vhu1")], &[(Some(&before), None)], TO_CLIENT, busy);
    assert!(off[0].blocked().unwrap().contains("in use by a process"), "{:?}", off[0].blocked());
    // Of a VM that runs it is the VM itself.
    let on = take_with(vec![server("vhu1")], &[(Some(&before), Some(&before))], TO_CLIENT, busy);
    assert_eq!(on[0].verdict(), Verdict::Pause);
    let silent: &InUse<'_> = &|_, _, _| Known::Unknown("no answer".to_string());
    let unknown = take_with(vec![server("vhu1")], &[(Some(&before), None)], TO_CLIENT, silent);
    assert!(unknown[0].blocked().unwrap().contains("no answer"), "{:?}", unknown[0].blocked());
}

#[test]
fn cards_are_matched_by_their_address_and_all_are_listed() {
    let definition = domain(
        "vm",
        &[("01", "client", "/run/openvswitch/vhu1"), ("02", "server", "/var/lib/vhost_sockets/vhu2")],
    );
    // In another order, and one more that was plugged in.
    let running = domain(
        "vm",
        &[
            ("02", "server", "/var/lib/vhost_sockets/vhu2"),
            ("01", "client", "/run/openvswitch/vhu1"),
            ("03", "client", "/run/openvswitch/vhu3"),
        ],
    );
    let ports = vec![server("vhu1"), client("vhu2"), server("vhu3")];
    let machines = take(ports, &[(Some(&definition), Some(&running))], TO_CLIENT);
    let verdicts: Vec<_> = machines[0].rows.iter().map(|row| row.verdict).collect();
    assert_eq!(verdicts, [Verdict::Pause, Verdict::Done, Verdict::Blocked]);
    let running = |row: &Row| row.running.as_ref().unwrap().path.clone();
    let at: Vec<_> = machines[0].rows.iter().map(running).collect();
    assert_eq!(at[0], Path::new("/run/openvswitch/vhu1"));
    assert_eq!(at[1], Path::new("/var/lib/vhost_sockets/vhu2"));
    assert_eq!(machines[0].verdict(), Verdict::Pause);
}

#[test]
fn what_a_vm_is_called_drives_no_terminal() {
    let evil = domain("v\u{202e}m'; reboot", &[("01", "client", "/run/openvswitch/vhu1")]);
    let row = one(vec![server("vhu1")], Some(&evil), None);
    let text = tell::text(&row);
    assert!(!text.contains('\u{202e}'), "{text}");
    let shell = row.steps[0].rsplit_once(' ').unwrap().1;
    assert!(row.steps[0].contains("\"$(printf '") && !shell.contains(';'), "{:?}", row.steps);
}
