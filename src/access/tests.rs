// SPDX-License-Identifier: Apache-2.0

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::base::root::Kind;

#[path = "../../tests/acl/mod.rs"]
mod acl;

fn permits(identity: &Identity, node: &Node, perm: Perm) -> bool {
    refusal(identity, node, perm).is_none()
}

fn node(path: &str, kind: Kind, (uid, gid): (u32, u32), mode: u32) -> Node {
    Node { path: PathBuf::from(path), kind, uid, gid, mode, acl: None, read_only: false }
}

fn with_acl(mut node: Node, entries: &[(Tag, u32)]) -> Node {
    let entries = entries.iter().map(|(tag, bits)| AclEntry { tag: *tag, perm: Perm::from_bits(*bits) });
    node.acl = Some(Acl::new(entries.collect()).unwrap());
    node
}

fn qemu() -> Identity {
    Identity::unprivileged(107, 107, vec![36])
}

/// `/run/openvswitch/vhu0` as the distribution leaves it.
fn stock() -> Vec<Node> {
    vec![
        node("/", Kind::Directory, (0, 0), 0o755),
        node("/run", Kind::Directory, (0, 0), 0o755),
        node("/run/openvswitch", Kind::Directory, (0, 0), 0o755),
        node("/run/openvswitch/vhu0", Kind::Socket, (0, 0), 0o755),
    ]
}

fn text(identity: &Identity, chain: &[Node], wish: Wish) -> String {
    may(identity, chain, wish).map_or_else(|denial| denial.to_string(), |()| "allowed".to_string())
}

#[test]
fn a_stock_socket_is_denied_with_its_reason() {
    assert_eq!(
        text(&qemu(), &stock(), Wish::Connect),
        "/run/openvswitch/vhu0 is 0:0 0755: neither owner nor in its group, and others may not write"
    );
    assert_eq!(text(&Identity::root(), &stock(), Wish::Connect), "allowed");
    assert_eq!(text(&qemu(), &stock(), Wish::Read), "allowed");
}

#[test]
fn names_come_from_the_caller() {
    struct Distribution;
    impl Names for Distribution {
        fn user(&self, uid: u32) -> String {
            if uid == 0 { "root".into() } else { format!("u{uid}") }
        }
        fn group(&self, gid: u32) -> String {
            if gid == 0 { "root".into() } else { format!("g{gid}") }
        }
    }
    let mut chain = stock();
    let denial = may(&qemu(), &chain, Wish::Connect).unwrap_err();
    assert!(denial.text(&Distribution).starts_with("/run/openvswitch/vhu0 is root:root 0755: "));
    let socket = with_acl(
        chain.pop().unwrap(),
        &[(Tag::Owner, 7), (Tag::User(107), 5), (Tag::OwningGroup, 5), (Tag::Mask, 7), (Tag::Other, 5)],
    );
    chain.push(socket);
    let denial = may(&qemu(), &chain, Wish::Connect).unwrap_err();
    assert!(denial.text(&Distribution).ends_with("the ACL entry user:u107:r-x does not grant write"));
}

#[test]
fn every_component_must_be_searchable() {
    let mut chain = stock();
    chain[1].mode = 0o750;
    let denial = may(&qemu(), &chain, Wish::Read).unwrap_err();
    assert_eq!((denial.component, denial.missing, &denial.why), (1, Perm::EXECUTE, &Why::Other));
    assert!(denial.to_string().ends_with("others may not search"), "{denial}");
}

#[test]
fn the_owner_class_is_final() {
    let mine = node("/f", Kind::File, (107, 36), 0o077);
    assert!(!permits(&qemu(), &mine, Perm::READ));
    let groups = node("/f", Kind::File, (0, 36), 0o707);
    assert!(!permits(&qemu(), &groups, Perm::READ));
    assert!(permits(&Identity::unprivileged(1, 1, vec![]), &groups, Perm::READ));
}

#[test]
fn group_entries_count_one_by_one_and_below_the_mask() {
    let entries = |mask| {
        [
            (Tag::Owner, 7),
            (Tag::OwningGroup, 4),
            (Tag::Group(36), 2),
            (Tag::Group(107), 1),
            (Tag::Mask, mask),
            (Tag::Other, 7),
        ]
    };
    let directory =
        |mask: u32| with_acl(node("/d", Kind::Directory, (0, 107), 0o707 | (mask << 3)), &entries(mask));
    for (perm, allowed) in [(Perm::READ, true), (Perm::WRITE, true), (Perm::WRITE | Perm::EXECUTE, false)] {
        assert_eq!(permits(&qemu(), &directory(7), perm), allowed, "{perm}");
    }
    assert!(!permits(&qemu(), &directory(4), Perm::WRITE), "masked");
    assert_eq!(
        text(&qemu(), &[directory(7)], Wish::Create),
        "/d is 0:107 0777: no ACL entry of its groups (group::r--, group:36:-w-, group:107:--x) grants write and search"
    );
    let only = with_acl(
        node("/s", Kind::Socket, (0, 0), 0o757),
        &[(Tag::Owner, 7), (Tag::User(107), 7), (Tag::OwningGroup, 0), (Tag::Mask, 5), (Tag::Other, 7)],
    );
    assert_eq!(
        text(&qemu(), &[only], Wish::Connect),
        "/s is 0:0 0757: the ACL mask r-x takes write from the entry user:107:rwx"
    );
}

#[test]
fn an_empty_mask_makes_the_named_others() {
    let entries =
        [(Tag::Owner, 7), (Tag::User(107), 0), (Tag::OwningGroup, 0), (Tag::Mask, 0), (Tag::Other, 7)];
    let socket = with_acl(node("/s", Kind::Socket, (0, 0), 0o707), &entries);
    assert!(
        permits(&qemu(), &socket, Perm::WRITE),
        "acl_permission_check looks at the ACL only if mode & S_IRWXG"
    );
}

#[test]
fn capabilities_override_the_whole_or_nothing() {
    let holding = |capability: u32| Identity { capabilities: 1 << capability, ..qemu() };
    let (file, directory) = (node("/f", Kind::File, (0, 0), 0o200), node("/d", Kind::Directory, (0, 0), 0));
    let reader = holding(CAP_DAC_READ_SEARCH);
    assert!(permits(&reader, &file, Perm::READ));
    assert!(!permits(&reader, &file, Perm::READ | Perm::WRITE));
    assert!(permits(&reader, &directory, Perm::READ | Perm::EXECUTE));
    assert!(!permits(&reader, &directory, Perm::WRITE | Perm::EXECUTE));
    let overrider = holding(CAP_DAC_OVERRIDE);
    assert!(permits(&overrider, &directory, Perm::WRITE | Perm::EXECUTE));
    assert!(permits(&overrider, &file, Perm::READ | Perm::WRITE));
    assert!(!permits(&overrider, &file, Perm::EXECUTE), "nobody may execute it");
    assert!(permits(&overrider, &node("/f", Kind::File, (0, 0), 0o001), Perm::EXECUTE));
    assert!(
        !permits(&Identity::unprivileged(0, 1, vec![]), &directory, Perm::READ),
        "uid 0 alone is the owner only"
    );
}

#[test]
fn read_only_stops_writing_but_not_connecting() {
    let mut chain = stock();
    for node in &mut chain {
        (node.mode, node.read_only) = (0o777, true);
    }
    assert_eq!(text(&qemu(), &chain, Wish::Connect), "allowed");
    assert_eq!(
        text(&Identity::root(), &chain, Wish::Remove),
        "/run/openvswitch is 0:0 0777: it is on a read-only mount"
    );
    chain.pop();
    assert!(may(&Identity::root(), &chain, Wish::Create).is_err());
    assert!(may(&Identity::root(), &chain, Wish::Search).is_ok());
}

#[test]
fn a_sticky_directory_protects_from_others() {
    let mut chain = stock();
    chain[2].mode = 0o1777;
    assert_eq!(
        text(&qemu(), &chain, Wish::Remove),
        "/run/openvswitch is 0:0 1777: it is sticky, so that only 0 and 0 may remove what is 0's"
    );
    assert!(may(&Identity { capabilities: 1 << CAP_FOWNER, ..qemu() }, &chain, Wish::Remove).is_ok());
    chain[3].uid = 107;
    assert!(may(&qemu(), &chain, Wish::Remove).is_ok());
    chain[3].uid = 0;
    chain[2].mode = 0o777;
    assert!(may(&qemu(), &chain, Wish::Remove).is_ok());
}

#[test]
fn what_cannot_be_asked_is_denied() {
    assert_eq!(text(&Identity::root(), &[], Wish::Read), "there is no such path");
    assert!(may(&Identity::root(), &stock()[..1], Wish::Remove).is_err());
}

#[test]
fn malformed_acls_are_errors() {
    let good = Acl::new(
        [Tag::Owner, Tag::User(107), Tag::OwningGroup, Tag::Mask, Tag::Other]
            .map(|tag| AclEntry { tag, perm: Perm::READ })
            .to_vec(),
    );
    let good = good.unwrap();
    assert_eq!(good.to_string(), "user::r--,user:107:r--,group::r--,mask::r--,other::r--");
    let bytes = acl::bytes(&good);
    assert_eq!(bytes[..12], [2, 0, 0, 0, 1, 0, 4, 0, 255, 255, 255, 255]);
    assert_eq!(Acl::parse(&bytes).unwrap(), good);
    assert!(Acl::parse(&bytes[..bytes.len() - 1]).is_err(), "cut off");
    assert!(Acl::parse(&bytes[..bytes.len() - 8]).is_err(), "no entry for others");
    assert!(Acl::parse(&[&[1], &bytes[1..]].concat()).is_err(), "version 1");
    assert!(Acl::parse(&[]).is_err());
    let unmasked = good.entries().iter().filter(|entry| entry.tag != Tag::Mask).copied().collect();
    assert!(Acl::new(unmasked).is_err(), "named entries without a mask");
    assert!(Acl::new(good.entries().iter().rev().copied().collect()).is_err(), "out of order");
}

proptest! {
    #[test]
    fn any_bytes_are_an_acl_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Acl::parse(&bytes);
    }

    #[test]
    fn an_acl_survives_writing(named in proptest::collection::vec((any::<bool>(), any::<u32>(), 0u32..8), 1..8)) {
        let entry = |tag, bits| AclEntry { tag, perm: Perm::from_bits(bits) };
        let all = |user| named.iter().filter(move |(is_user, ..)| *is_user == user);
        let mut entries = vec![entry(Tag::Owner, 7)];
        entries.extend(all(true).map(|(_, id, bits)| entry(Tag::User(*id), *bits)));
        entries.push(entry(Tag::OwningGroup, 5));
        entries.extend(all(false).map(|(_, id, bits)| entry(Tag::Group(*id), *bits)));
        entries.extend([entry(Tag::Mask, 6), entry(Tag::Other, 0)]);
        let acl = Acl::new(entries).unwrap();
        prop_assert_eq!(Acl::parse(&acl::bytes(&acl)).unwrap(), acl);
    }

    #[test]
    fn a_wider_wish_is_never_easier(mode in 0u32..0o1000, uid in 0u32..3, gid in 0u32..3, capabilities in 0u64..16, a in 0u32..8, b in 0u32..8) {
        let identity = Identity { uid: 1, gid: 1, groups: vec![2], capabilities };
        for kind in [Kind::File, Kind::Directory, Kind::Socket] {
            let node = node("/n", kind, (uid, gid), mode);
            if permits(&identity, &node, Perm::from_bits(a | b)) {
                prop_assert!(permits(&identity, &node, Perm::from_bits(a)));
            }
        }
    }
}

#[test]
fn an_acl_is_read_as_it_was_written() {
    let entry = |tag, bits| AclEntry { tag, perm: Perm::from_bits(bits) };
    let all = [
        entry(Tag::Owner, 7),
        entry(Tag::User(107), 6),
        entry(Tag::OwningGroup, 5),
        entry(Tag::Group(42477), 3),
        entry(Tag::Mask, 7),
        entry(Tag::Other, 0),
    ];
    let acl = Acl::new(all.to_vec()).unwrap();
    let text = serde_json::to_string(&acl).unwrap();
    assert_eq!(serde_json::from_str::<Acl>(&text).unwrap(), acl);
    for wrong in [&text.replace("107", "x"), &text.replace("rw-", "rwxx"), "[\"user::rwx\"]", "[\"\"]"] {
        assert!(serde_json::from_str::<Acl>(wrong).is_err(), "{wrong}");
    }
}
