// SPDX-License-Identifier: Apache-2.0
//! Every message and denial that is known: texts in `tables/`, by what they are about. In each the more special come before
//! the more general. They are text, and read when `explain` runs, for each word of a table in Rust is one that the dynamic
//! linker has to relocate at every start of the hook.

use std::sync::LazyLock;

use anyhow::Result;

use super::Signature;
use super::denial::Rule;
use super::format::{Entry, read};

/// The tables by what they are about, in the order in which a line is compared with them.
const TABLES: [&str; 17] = [
    include_str!("tables/hotplug.txt"),
    include_str!("tables/migration.txt"),
    include_str!("tables/refused.txt"),
    include_str!("tables/sockets.txt"),
    include_str!("tables/memory.txt"),
    include_str!("tables/devices.txt"),
    include_str!("tables/vhost.txt"),
    include_str!("tables/pools.txt"),
    include_str!("tables/eal.txt"),
    include_str!("tables/switch.txt"),
    include_str!("tables/state.txt"),
    include_str!("tables/virtiofsd.txt"),
    include_str!("tables/back_ends.txt"),
    include_str!("tables/crashes.txt"),
    include_str!("tables/unrelated.txt"),
    include_str!("tables/libvirt.txt"),
    include_str!("tables/platforms.txt"),
];

/// Every message that is known. Denials are known apart.
pub static SIGNATURES: LazyLock<Vec<Signature>> = LazyLock::new(|| sound(&TABLES));
/// Lines of listings and settings that are a failure by themselves.
pub(super) static LISTED: LazyLock<Vec<Signature>> =
    LazyLock::new(|| sound(&[include_str!("tables/listed.txt")]));
pub(super) static SELINUX: LazyLock<Vec<Rule>> =
    LazyLock::new(|| sound(&[include_str!("tables/selinux.txt")]));
pub(super) static APPARMOR: LazyLock<Vec<Rule>> =
    LazyLock::new(|| sound(&[include_str!("tables/apparmor.txt")]));

/// What is read here is part of the program: a mistake in it ends the tests, and no run.
fn sound<T: Entry + Clone>(tables: &[&'static str]) -> Vec<T> {
    let entries = tables.iter().map(|table| read(table)).collect::<Result<Vec<Vec<T>>>>();
    debug_assert!(entries.is_ok(), "{:?}", entries.err());
    entries.unwrap_or_default().concat()
}

/// The ids of all denials that are told apart.
pub fn denial_ids() -> impl Iterator<Item = &'static str> {
    SELINUX.iter().chain(APPARMOR.iter()).map(|rule| rule.known.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_read() {
        assert!(!SIGNATURES.is_empty() && !LISTED.is_empty() && !SELINUX.is_empty() && !APPARMOR.is_empty());
    }

    #[test]
    fn a_mistake_in_a_table_is_an_error() {
        for line in [
            "fix",
            "fix: ",
            "fix: x ",
            "fix: $NO_NAME",
            "fixes: x",
            "decide: x\ndecide: y",
            "by: qemu, nobody",
            "of: nothing",
            "asks: qemu",
            "asks: qemu anything",
            "effect: perhaps",
            "who: nobody",
            "[b]",
            "[b] no-class",
            "$A = x\n$A = x",
        ] {
            let table: &'static str = format!("[a] setting\nfix: x\n{line}").leak();
            assert!(read::<Rule>(table).is_err(), "{table}");
        }
        assert!(read::<Signature>("fix: x").is_err(), "of no entry");
    }
}
