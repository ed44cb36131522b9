// SPDX-License-Identifier: Apache-2.0
//! A conversion's part in the journal, as values: further ones of the same VM, and what others changed in between.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use proptest::prelude::*;
use vhost_accord::config::PortType::{self, Dpdkvhostuser, Dpdkvhostuserclient};
use vhost_accord::dataplane::ovs::ovsdb::PortState;
use vhost_accord::items::conversion::turned;
use vhost_accord::items::{Card, Change, Conversion, Held, Kind as _, Side, VmState};
use vhost_accord::journal::Journal;

fn side(port: &str, kind: PortType) -> Side {
    let directory = if kind == Dpdkvhostuser { "/run/openvswitch" } else { "/var/lib/vhost_sockets" };
    Side { kind, path: PathBuf::from(directory).join(port) }
}

fn state(port: &str, kind: PortType) -> PortState {
    let server_path = (kind == Dpdkvhostuserclient).then(|| side(port, kind).path);
    PortState { name: port.to_string(), kind, server_path }
}

/// A definition with these ports, and something that is no card.
fn definition(cards: &[(&str, PortType)], memory: u32) -> String {
    let card = |(port, kind): &(&str, PortType)| {
        let mode = if *kind == Dpdkvhostuser { "client" } else { "server" };
        let path = side(port, *kind).path.display().to_string();
        format!("<interface type='vhostuser'><source type='unix' path='{path}' mode='{mode}'/></interface>")
    };
    let cards: String = cards.iter().map(card).collect();
    format!("<domain><name>vm</name><memory>{memory}</memory><devices>{cards}</devices></domain>\n")
}

/// These ports of a VM whose definition is `now`, to `kind`.
fn change(now: &str, ports: &[&str], from: PortType, kind: PortType) -> Held<Conversion> {
    let card = |port: &&str| Card { port: port.to_string(), from: side(port, from), to: side(port, kind) };
    let cards: Vec<Card> = ports.iter().map(card).collect();
    let after = turned(now, cards.iter().map(|card| (&card.from, &card.to))).unwrap();
    let states = |kind| ports.iter().map(|port| state(port, kind)).collect();
    Held {
        item: Conversion {
            uuid: "1".to_string(),
            name: "vm".to_string(),
            definition: after,
            cards,
            ports: states(kind),
        },
        before: VmState { definition: Some(now.to_string()), ports: states(from) },
    }
}

fn parts(held: &Held<Conversion>) -> (&Conversion, &str, &[PortState]) {
    (&held.item, held.before.definition.as_deref().unwrap(), &held.before.ports)
}

#[test]
fn a_second_card_keeps_what_was_before_the_first() {
    let stock = definition(&[("a", Dpdkvhostuser), ("b", Dpdkvhostuser)], 1);
    let mut standing = change(&stock, &["a"], Dpdkvhostuser, Dpdkvhostuserclient);
    let after = parts(&standing).0.definition.clone();
    Conversion::supersede(&mut standing, &change(&after, &["b"], Dpdkvhostuser, Dpdkvhostuserclient));
    let (item, before, ports) = parts(&standing);
    assert_eq!(before, stock);
    assert_eq!(ports, [state("a", Dpdkvhostuser), state("b", Dpdkvhostuser)]);
    assert_eq!(item.ports, [state("a", Dpdkvhostuserclient), state("b", Dpdkvhostuserclient)]);
    assert_eq!(item.definition, definition(&[("a", Dpdkvhostuserclient), ("b", Dpdkvhostuserclient)], 1));
    assert_eq!(item.cards.len(), 2);
}

/// Someone gave the VM more memory between the two: going back must not take it away again.
#[test]
fn what_others_changed_in_between_stays() {
    let stock = definition(&[("a", Dpdkvhostuser), ("b", Dpdkvhostuser)], 1);
    let mut standing = change(&stock, &["a"], Dpdkvhostuser, Dpdkvhostuserclient);
    let edited = parts(&standing).0.definition.replace("<memory>1<", "<memory>2<");
    Conversion::supersede(&mut standing, &change(&edited, &["b"], Dpdkvhostuser, Dpdkvhostuserclient));
    assert_eq!(parts(&standing).1, definition(&[("a", Dpdkvhostuser), ("b", Dpdkvhostuser)], 2));
}

/// Killed before libvirt had the definition: what was there is there still.
#[test]
fn what_was_begun_twice_is_begun_once() {
    let stock = definition(&[("a", Dpdkvhostuser)], 1);
    let begun = change(&stock, &["a"], Dpdkvhostuser, Dpdkvhostuserclient);
    let mut standing = begun.clone();
    Conversion::supersede(&mut standing, &begun);
    assert_eq!(standing, begun);
}

#[test]
fn the_way_back_is_to_what_was_before_the_first() {
    let stock = definition(&[("a", Dpdkvhostuser)], 1);
    let mut standing = change(&stock, &["a"], Dpdkvhostuser, Dpdkvhostuserclient);
    let after = parts(&standing).0.definition.clone();
    Conversion::supersede(&mut standing, &change(&after, &["a"], Dpdkvhostuserclient, Dpdkvhostuser));
    let (item, before, ports) = parts(&standing);
    assert_eq!((item.definition.as_str(), before), (stock.as_str(), stock.as_str()));
    assert_eq!(item.ports, ports);
    assert_eq!(item.cards[0].from, item.cards[0].to);
}

#[test]
fn a_journal_with_a_conversion_is_read_again() {
    let stock = definition(&[("a", Dpdkvhostuser)], 1);
    let change = Change::from(change(&stock, &["a"], Dpdkvhostuser, Dpdkvhostuserclient));
    let text =
        serde_json::json!({"version": 2, "group": null, "entries": [{"change": change, "pending": change}]});
    let journal: Journal = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(journal.entries[0].change, change);
    assert_eq!(serde_json::to_value(&journal).unwrap(), text);
    assert_eq!(change.target().0, "ports of VM vm (1)");
}

proptest! {
    /// Any cards of any VM, turned and turned back: the same bytes, and nothing but the cards that were meant in between.
    #[test]
    fn turned_and_back_is_the_same(kinds in prop::collection::vec(any::<bool>(), 1..6), picked in any::<u8>()) {
        let kind = |client: bool| if client { Dpdkvhostuserclient } else { Dpdkvhostuser };
        let names: Vec<String> = (0..kinds.len()).map(|number| format!("p{number}")).collect();
        let cards: Vec<(&str, PortType)> =
            names.iter().zip(&kinds).map(|(name, client)| (name.as_str(), kind(*client))).collect();
        let stock = definition(&cards, 1);
        let is_picked = |number: usize| picked & (1 << number) != 0;
        let pairs: Vec<(Side, Side)> = cards.iter().enumerate().filter(|(number, _)| is_picked(*number))
            .map(|(_, (name, kind))| {
                let other = PortType::ALL.into_iter().find(|other| other != kind).unwrap();
                (side(name, *kind), side(name, other))
            })
            .collect();
        let there = turned(&stock, pairs.iter().map(|(from, to)| (from, to))).unwrap();
        let expected: Vec<(&str, PortType)> = cards.iter().enumerate().map(|(number, (name, kind))| {
            let other = PortType::ALL.into_iter().find(|other| other != kind).unwrap();
            (*name, if is_picked(number) { other } else { *kind })
        }).collect();
        prop_assert_eq!(&there, &definition(&expected, 1));
        let twice = turned(&there, pairs.iter().map(|(from, to)| (from, to))).unwrap();
        prop_assert_eq!(&twice, &there);
        prop_assert_eq!(turned(&there, pairs.iter().map(|(from, to)| (to, from))).unwrap(), stock);
    }
}
