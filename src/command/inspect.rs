// SPDX-License-Identifier: Apache-2.0
//! `inspect`: what the hook would see in a domain XML.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::Outcome;
use crate::accord::Agreed;
use crate::base::root::{Root, told};
use crate::cli::InspectArgs;
use crate::dataplane;
use crate::dataplane::ovs::sockets::is_switch_place;
use crate::dataplane::ovs::vswitchd::VSWITCHD;
use crate::facts::domains::{
    self, Account, DacLabel, Domain, Endpoint, EndpointKind, LabelKind, MemoryBacking, parse_domain,
};
use crate::report::{self, one_line};

/// As the hook's own limit.
const MAX_XML: u64 = 64 << 20;

#[derive(Serialize)]
struct Listed {
    domains: Vec<One>,
}

#[derive(Serialize)]
struct One {
    domain: Domain,
    memory_is_shared: bool,
    /// Of each endpoint, by what `apply` wrote for the hook.
    dataplanes: Vec<Option<String>>,
}

impl One {
    fn of(domain: Domain, agreed: Option<&Agreed>) -> One {
        let name = |endpoint: &Endpoint| {
            let path = endpoint.path.as_deref()?;
            let section = agreed.and_then(|agreed| dataplane::section_of(agreed.sections(), path));
            let is_agreed = |agreed: &Agreed| agreed.is_socket_of_switch(path);
            let is_own = is_switch_place(path) || agreed.is_some_and(is_agreed);
            section.or(is_own.then_some(VSWITCHD)).map(str::to_string)
        };
        let dataplanes = domain.endpoints.iter().map(name).collect();
        One { memory_is_shared: domain.memory.is_shared(), dataplanes, domain }
    }
}

/// A file that `apply` did not write is ignored.
fn agreed(root: &Root) -> Option<Agreed> {
    told(Agreed::read(root)).ok().flatten().flatten()
}

pub fn run(args: &InspectArgs) -> Result<Outcome> {
    match (&args.sos, &args.file) {
        (Some(sos), name) => in_report(sos, name.as_deref(), args.json),
        (None, Some(file)) => in_file(file, args.json),
        (None, None) => bail!("name a domain XML"),
    }
}

fn in_file(file: &Path, json: bool) -> Result<Outcome> {
    let bytes = super::read_bounded(file, MAX_XML)?;
    let xml = String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8 text", file.display()))?;
    let domain = parse_domain(&xml).with_context(|| format!("inspecting {}", file.display()))?;
    let root = super::open_root(Path::new("/"), false)?;
    let one = One::of(domain, agreed(&root).as_ref());
    report::tell(json, &one, || text(&one))?;
    Ok(Outcome::Fine)
}

/// As they ran when the report was made, and as they were defined where they did not.
fn in_report(sos: &Path, name: Option<&Path>, json: bool) -> Result<Outcome> {
    let root = super::open_root_or_report(Some(sos), sos, false)?;
    let (running, defined) = (told(domains::running(&root))?, told(domains::persistent(&root))?);
    let mut found: Vec<Domain> = Vec::new();
    for domain in [running, defined].into_iter().flatten().flat_map(|found| found.domains) {
        if !found.iter().any(|other| other.name == domain.name) {
            found.push(domain);
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(name) = name {
        found.retain(|domain| Path::new(&domain.name) == name);
        if found.is_empty() {
            bail!("no VM {} in the report", report::clean(&name.display().to_string()));
        }
    }
    let agreed = agreed(&root);
    let domains = found.into_iter().map(|domain| One::of(domain, agreed.as_ref())).collect();
    let listed = Listed { domains };
    report::tell(json, &listed, || {
        let texts: Vec<String> = listed.domains.iter().map(text).collect();
        super::lacking_text(&super::lacking(&root)) + &texts.join("\n")
    })?;
    Ok(Outcome::Fine)
}

fn text(One { domain, dataplanes, .. }: &One) -> String {
    let header = ["DEVICE", "SOCKET", "QEMU", "RECONNECT", "TARGET", "DATAPLANE"].map(str::to_string);
    let rows = domain.endpoints.iter().zip(dataplanes).map(cells);
    let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
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

/// A name with a newline in it must not look like a line of ours.
fn cells(endpoint: (&Endpoint, &Option<String>)) -> [String; 6] {
    row(endpoint).map(|cell| one_line(&cell))
}

fn row((endpoint, dataplane): (&Endpoint, &Option<String>)) -> [String; 6] {
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
    let reconnect = endpoint.reconnect.map_or("no".to_string(), |seconds| format!("{seconds} s"));
    let target = endpoint.target.clone().map_or("-".to_string(), |name| format!("'{name}'"));
    let dataplane = dataplane.clone().unwrap_or_else(|| "-".to_string());
    [device.to_string(), path, endpoint.mode.as_str().to_string(), reconnect, target, dataplane]
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
