// SPDX-License-Identifier: Apache-2.0
//! `inspect`: what the hook would see in a domain XML.

use anyhow::{Context, Result};
use serde::Serialize;

use super::Outcome;
use crate::cli::InspectArgs;
use crate::facts::domains::{
    Account, DacLabel, Domain, Endpoint, EndpointKind, LabelKind, MemoryBacking, SocketMode, parse_domain,
};
use crate::report::{self, one_line};

/// As the hook's own limit.
const MAX_XML: u64 = 64 << 20;

#[derive(Serialize)]
struct Output {
    version: u32,
    domain: Domain,
    memory_is_shared: bool,
}

pub fn run(args: &InspectArgs) -> Result<Outcome> {
    let bytes = super::read_bounded(&args.file, MAX_XML)?;
    let xml =
        String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8 text", args.file.display()))?;
    let domain = parse_domain(&xml).with_context(|| format!("inspecting {}", args.file.display()))?;
    if args.json {
        let memory_is_shared = domain.memory.is_shared();
        report::json(&Output { version: 1, domain, memory_is_shared })?;
    } else {
        report::out(&text(&domain));
    }
    Ok(Outcome::Fine)
}

fn text(domain: &Domain) -> String {
    let header = ["DEVICE", "SOCKET", "QEMU", "RECONNECT", "TARGET"].map(str::to_string);
    let rows: Vec<_> = std::iter::once(header).chain(domain.endpoints.iter().map(cells)).collect();
    let endpoints = match domain.endpoints.is_empty() {
        true => "no vhost-user endpoints\n".to_string(),
        false => report::table(&rows),
    };
    format!(
        "{}\n{endpoints}memory: {}\nidentity: {}\n",
        one_line(&domain.name),
        one_line(&memory(&domain.memory)),
        one_line(&label(domain.dac.as_ref()))
    )
}

/// A name with a newline in it shall not look like a line of ours.
fn cells(endpoint: &Endpoint) -> [String; 5] {
    row(endpoint).map(|cell| one_line(&cell))
}

fn row(endpoint: &Endpoint) -> [String; 5] {
    let device = match endpoint.device {
        EndpointKind::Interface => "interface",
        EndpointKind::Passt => "passt",
        EndpointKind::Disk => "disk",
        EndpointKind::Filesystem => "filesystem",
        EndpointKind::Video => "video",
        EndpointKind::CommandLine => "command line",
    };
    let path =
        endpoint.path.as_ref().map_or("(libvirt's own)".to_string(), |path| path.display().to_string());
    let mode = match endpoint.mode {
        SocketMode::Server => "server",
        SocketMode::Client => "client",
    };
    let reconnect = endpoint.reconnect.map_or("no".to_string(), |seconds| format!("{seconds} s"));
    let target = endpoint.target.clone().map_or("-".to_string(), |name| format!("'{name}'"));
    [device.to_string(), path, mode.to_string(), reconnect, target]
}

fn memory(memory: &MemoryBacking) -> String {
    let shared = if memory.is_shared() { "shared" } else { "private" };
    let pages: Vec<String> = memory.pages.iter().map(|page| format!("{} KiB", page.size >> 10)).collect();
    let backing = match (memory.hugepages, pages.is_empty()) {
        (true, true) => "huge pages of the default size".to_string(),
        (true, false) => format!("huge pages of {}", pages.join(", ")),
        (false, _) => memory.source.clone().unwrap_or_else(|| "ordinary pages".to_string()),
    };
    let nodes = memory.host_nodes.as_ref().map_or(String::new(), |nodes| format!(", NUMA nodes {nodes}"));
    format!("{} MiB, {shared}, {backing}{nodes}, {} cells", memory.size >> 20, memory.cells.len())
}

fn label(label: Option<&DacLabel>) -> String {
    let Some(label) = label else { return "as qemu.conf says".to_string() };
    let account = |account: &Account| match account {
        Account::Id(number) => format!("+{number}"),
        Account::Name(name) => name.clone(),
    };
    let kind = match label.kind {
        LabelKind::Static => "static",
        LabelKind::Dynamic => "dynamic",
        LabelKind::None => "none",
    };
    match &label.owner {
        Some((user, group)) => format!("{}:{} ({kind})", account(user), account(group)),
        None => format!("as qemu.conf says ({kind})"),
    }
}
