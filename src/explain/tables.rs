// SPDX-License-Identifier: Apache-2.0
//! Every message that is known: texts in `tables/`, by what they are about. In each the more special come before the more
//! general. They are text, and read when `explain` runs, for each word of a table in Rust is one that the dynamic linker
//! has to relocate at every start of the hook.

use std::sync::LazyLock;

use anyhow::{Context as _, Result};

use super::Signature;

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
const LISTED: &str = include_str!("tables/listed.txt");

/// Every message that is known. Audit records are read apart.
pub fn signatures() -> &'static [Signature] {
    static KNOWN: LazyLock<Vec<Signature>> = LazyLock::new(|| TABLES.into_iter().flat_map(sound).collect());
    &KNOWN
}

/// Lines of listings and settings that are a failure by themselves.
pub(super) fn listed() -> &'static [Signature] {
    static KNOWN: LazyLock<Vec<Signature>> = LazyLock::new(|| sound(LISTED));
    &KNOWN
}

/// The program has only tables that the test below has read.
fn sound(table: &'static str) -> Vec<Signature> {
    read(table).unwrap_or_default()
}

/// An entry begins with `[ID] CLASS`; a line `KEY: VALUE` belongs to the entry above it. What is neither is an error.
fn read(table: &'static str) -> Result<Vec<Signature>> {
    let mut known = Vec::<Signature>::new();
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix('[') {
            Some(head) => Signature::begin(head).map(|entry| known.push(entry)),
            None => known.last_mut().context("of no entry").and_then(|entry| entry.take(line)),
        }
        .with_context(|| format!("'{line}'"))?;
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_read() {
        for table in TABLES.into_iter().chain([LISTED]) {
            assert!(!read(table).unwrap().is_empty());
        }
        for table in [
            "fix: x",
            "[a] setting\n fix: x",
            "[a] no-class",
            "[a]",
            "[a] setting\nfixes: x",
            "[a] setting\nfix: ",
            "[a] setting\nfix: x ",
            "[a] setting\nfix: x\nfix: y",
            "[a] setting\nby: qemu, nobody",
            "[a] setting\nof: nothing",
            "[a] setting\nasks: qemu",
            "[a] setting\neffect: perhaps",
        ] {
            assert!(read(table).is_err(), "{table}");
        }
    }
}
