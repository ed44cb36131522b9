// SPDX-License-Identifier: Apache-2.0
//! A fingerprint from another node: foreign input. It is bounded, and its numbers are such that nothing which counts with
//! them can overflow.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Fingerprint;
use crate::accord::Agreed;
use crate::dataplane::ovs::ovsdb::VhostPort;
use crate::dataplane::ovs::sockets::Switch;
use crate::facts::Known;
use crate::facts::domains::{Account, Domain};
use crate::facts::paths::PathFact;
use crate::node::endpoints::place::Place;

/// How large the file may be, in bytes.
pub const MAX_FILE: u64 = 16 << 20;
/// What no VM and no node has, in bytes or pages: 4 PiB.
const MOST: u64 = 1 << 52;
/// As many as a set of them can name.
const MOST_CELLS: usize = 4096;
/// Huge pages of any machine, in bytes.
const PAGE_SIZES: std::ops::RangeInclusive<u64> = 1 << 12..=1 << 40;
/// What is expected, and how to get it.
const EXPECTED: &str = "expected the output of 'vhost-accord check --json' on the other node";

/// Which of the two shapes it has, before either is taken.
#[derive(Deserialize)]
struct Shape {
    fingerprint: Option<IgnoredAny>,
    findings: Option<IgnoredAny>,
}

/// The output of `check --json`.
#[derive(Deserialize)]
struct Output {
    fingerprint: Fingerprint,
}

/// Reads the output of `check --json`, or its `fingerprint` alone. `name` is what an error calls it.
pub fn parse(text: &[u8], name: &str) -> Result<Fingerprint> {
    if text.iter().all(u8::is_ascii_whitespace) {
        bail!("{name} is empty: {EXPECTED}");
    }
    let wrong = || format!("{name} is not a fingerprint: {EXPECTED}");
    let shape: Shape = serde_json::from_slice(text).with_context(wrong)?;
    let found = match (shape.fingerprint, shape.findings) {
        (Some(_), _) => serde_json::from_slice::<Output>(text).with_context(wrong)?.fingerprint,
        (None, Some(_)) => bail!(
            "{name} has no fingerprint: it is from an unbooted image, a node with an obstacle (see its check), or an \
             older vhost-accord; {EXPECTED}"
        ),
        (None, None) => serde_json::from_slice(text).with_context(wrong)?,
    };
    check(&found).with_context(wrong)?;
    Ok(found)
}

fn check(found: &Fingerprint) -> Result<()> {
    let identities = [&found.qemu, &found.dataplane].into_iter().flatten();
    let accounts = identities.flat_map(|who| [&who.user, &who.group].into_iter().chain(&who.groups));
    accounts.chain([&found.group]).try_for_each(|account| plain(&account.name))?;
    found.modes.iter().chain(&found.host).chain([&found.program]).try_for_each(|word| plain(word))?;
    [Some(&found.socket_directory), found.server_directory.as_ref()]
        .into_iter()
        .flatten()
        .try_for_each(path)?;
    found.default_page_size.map_or(Ok(()), page_size)?;
    for pages in &found.pages {
        page_size(pages.size)?;
        amount("pages", pages.total.max(pages.available).max(pages.on_demand))?;
    }
    found.agreed.iter().try_for_each(agreed).context("what was agreed")?;
    place(&found.place).context("what is there")?;
    for vm in &found.vms {
        let domain = &vm.domain;
        let context = || format!("the VM '{}'", domain.name.escape_debug());
        memory(domain).and_then(|()| words(domain)).with_context(context)?;
    }
    Ok(())
}

fn agreed(agreed: &Agreed) -> Result<()> {
    agreed.dataplane.iter().try_for_each(|dataplane| plain(&dataplane.unit))?;
    path(&agreed.socket_directory)
}

/// All that comes into a line or a command.
fn place(place: &Place) -> Result<()> {
    if let Known::Known(Switch { config, ports }) = &place.switch {
        config.other_config.iter().flat_map(|(key, value)| [key, value]).try_for_each(|text| plain(text))?;
        for VhostPort { uuid, name, server_path, socket, .. } in ports {
            [uuid, name].into_iter().try_for_each(|text| plain(text))?;
            [server_path, socket].into_iter().flatten().try_for_each(path)?;
        }
    }
    place.others.iter().flat_map(|(name, kind)| [name, kind]).try_for_each(|text| plain(text))?;
    let users = place.in_use.known();
    users.into_iter().flatten().flat_map(|(port, user)| [port, user]).try_for_each(|text| plain(text))?;
    place.entries.keys().try_for_each(path)?;
    for directory in &place.directories {
        path(&directory.path)?;
        let chain = match &directory.fact {
            Known::Known(PathFact::Present { chain, .. }) => chain,
            Known::Known(PathFact::Missing { first, above }) => {
                path(first)?;
                above
            }
            Known::Unknown(_) => continue,
        };
        chain.iter().try_for_each(|node| path(&node.path))?;
    }
    Ok(())
}

fn memory(domain: &Domain) -> Result<()> {
    amount("memory", domain.memory.size)?;
    if domain.memory.cells.len() > MOST_CELLS {
        bail!("{} NUMA cells: at most {MOST_CELLS}", domain.memory.cells.len());
    }
    domain.memory.cells.iter().try_for_each(|cell| amount("memory of a cell", cell.size))?;
    domain.memory.pages.iter().try_for_each(|page| page_size(page.size))
}

/// No domain's XML can have a control character, but JSON can: in a command it would be none of the words it was.
fn words(domain: &Domain) -> Result<()> {
    plain(&domain.name)?;
    domain.uuid.as_deref().map_or(Ok(()), plain)?;
    domain.endpoints.iter().filter_map(|endpoint| endpoint.path.as_ref()).try_for_each(path)?;
    let accounts = domain.dac.iter().flat_map(|label| &label.owner).flat_map(|(user, group)| [user, group]);
    let names = accounts.filter_map(|account| match account {
        Account::Name(name) => Some(name),
        Account::Id(_) => None,
    });
    names.into_iter().try_for_each(|name| plain(name))
}

fn path(path: impl AsRef<Path>) -> Result<()> {
    plain(&path.as_ref().to_string_lossy())
}

fn plain(text: &str) -> Result<()> {
    if text.chars().any(char::is_control) {
        bail!("'{}' has control characters", text.escape_debug());
    }
    Ok(())
}

fn amount(what: &str, number: u64) -> Result<()> {
    if number > MOST {
        bail!("{what} of {number}: at most {MOST}");
    }
    Ok(())
}

fn page_size(size: u64) -> Result<()> {
    if !size.is_power_of_two() || !PAGE_SIZES.contains(&size) {
        bail!("{size} bytes are no page size");
    }
    Ok(())
}
