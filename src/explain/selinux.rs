// SPDX-License-Identifier: Apache-2.0
//! What a denial of SELinux means: the pair of types says what it is.

use super::Event;
use super::audit::field;
use super::denial::{Denied, Who};
use super::object::{self, Thing};
use super::tables;

/// How it is confirmed.
const DECIDE: &str = "ausearch -m avc,user_avc -ts recent | audit2why; for what is hidden: semodule -DB, once more, semodule -B";
const SOURCE: &str =
    "SELinux policy (selinux-policy virt.te, openvswitch.te, container.te; openstack-selinux os-ovs.te)";
/// The words between which setroubleshoot says who, what and on what.
const PROSE: &str = "SELinux is preventing ";

pub(super) fn recognise(text: &str) -> Option<Event> {
    let denial = match text.contains("avc:") && text.contains("denied") {
        true => record(text),
        false => text.split_once(PROSE).and_then(|(_, said)| prose(said)),
    };
    explain(&denial?)
}

/// What SELinux denied, or would have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Denial {
    pub comm: String,
    pub permissions: Vec<String>,
    /// Types, without user, role and level; empty where the record does not say them.
    pub source: String,
    pub target: String,
    pub class: String,
    /// The path or the last name of it.
    pub object: Option<String>,
    pub device: String,
    /// Source and target have different categories.
    pub other_categories: bool,
    /// Nothing was blocked.
    pub permissive: bool,
}

fn record(text: &str) -> Option<Denial> {
    // `ausearch` and the journal can have the other records of the same event in the line.
    let text = &text[text.find("avc:")?..];
    let text = text.split_once(" type=").map_or(text, |(own, _)| own);
    let permissions = text.split_once('{')?.1.split_once('}')?.0;
    let context = |key: &str| field(text, key).unwrap_or_default();
    let kind = |context: &str| context.split(':').nth(2).unwrap_or_default().to_string();
    let level = |context: &str| context.splitn(4, ':').nth(3).unwrap_or_default().to_string();
    let (source, target) = (context("scontext"), context("tcontext"));
    let categories = |context: &str| level(context).split_once(':').map(|(_, own)| own.to_string());
    Some(Denial {
        comm: field(text, "comm").unwrap_or_default(),
        permissions: permissions.split_whitespace().map(str::to_string).collect(),
        class: context("tclass"),
        object: field(text, "path").or_else(|| field(text, "name")),
        device: context("dev"),
        other_categories: categories(&target).is_some_and(|other| Some(other) != categories(&source)),
        permissive: field(text, "permissive").as_deref() == Some("1"),
        source: kind(&source),
        target: kind(&target),
    })
}

/// `/usr/bin/x from read, write access on the file name.`
fn prose(text: &str) -> Option<Denial> {
    let (program, rest) = text.split_once(" from ")?;
    let (permissions, rest) = rest.split_once(" access")?;
    let object = rest.split_once(" on the ").map_or("", |(_, object)| object);
    let (class, name) = object.split_once(' ').unwrap_or((object, ""));
    let name = name.split([' ', '\t', '#']).next().unwrap_or_default().trim_end_matches(['.', '\'', '"']);
    let word = |word: &str| word.trim_matches(['.', ',', '"', '\'']).to_string();
    Some(Denial {
        comm: word(program.rsplit('/').next().unwrap_or(program)),
        permissions: permissions
            .split([',', ' ', '\''])
            .filter(|own| !own.is_empty())
            .map(str::to_string)
            .collect(),
        class: if class == "directory" { "dir".to_string() } else { word(class) },
        object: Some(word(name)).filter(|name| !name.is_empty()),
        ..Denial::default()
    })
}

fn who(denial: &Denial) -> Who {
    let comm = denial.comm.as_str();
    let begins = |words: &[&str]| words.iter().any(|word| comm.starts_with(word));
    let source = denial.source.as_str();
    if begins(&["swtpm"]) || source.starts_with("swtpm") {
        return Who::Tpm;
    }
    if begins(&["qemu-ga", "qemu-img"]) || source.contains("qemu_ga") {
        return Who::Anyone;
    }
    if begins(&["virtiofsd", "vhost-device", "spdk", "passt"]) {
        return Who::BackEnd;
    }
    match source {
        _ if source.starts_with("svirt") || source == "qemu_t" => Who::Qemu,
        "openvswitch_t" => Who::Switch,
        _ if begins(&["ovs-appctl", "ovs-vsctl", "ovs-ofctl", "ovn-"]) => Who::SwitchTool,
        _ if source.starts_with("virt") || begins(&["virt", "libvirt", "rpc-virt", "rpc-libvirt"]) => {
            Who::Libvirt
        }
        _ if begins(&["qemu", "CPU "]) => Who::Qemu,
        _ if begins(&["ovs-vswitchd", "ovsdb-server", "vhost", "pmd-c", "dpdk-", "vhost-events"]) => {
            Who::Switch
        }
        "vpp_t" => Who::Switch,
        _ if source.starts_with("container") || source == "spc_t" => Who::Container,
        _ => Who::Anyone,
    }
}

fn explain(denial: &Denial) -> Option<Event> {
    let who = who(denial);
    let permissions = denial.permissions.join(" ");
    let or_unknown = |text: &str| if text.is_empty() { "(not said)".to_string() } else { text.to_string() };
    let (source, target) = (or_unknown(&denial.source), or_unknown(&denial.target));
    let (path, class) = (denial.object.as_deref().unwrap_or_default(), denial.class.as_str());
    let asked = denial.permissions.iter().map(String::as_str).collect();
    let denied = Denied { kind: &target, class, path, asked };
    let rule = tables::SELINUX.iter().find(|rule| rule.applies(who, &denied))?;
    let event = rule.event(denial.permissive);
    let mut cause = String::new();
    if denial.permissive {
        cause.push_str("permissive=1: this was only logged, so it is not what failed then; in enforcing mode it would be blocked: ");
    }
    let comm = or_unknown(&denial.comm);
    cause.push_str(&format!("{} (by {comm}", event.causes.concat()));
    cause.push_str(&match !event.fix.starts_with("nothing") && !denial.source.is_empty() {
        true => format!("; the rule that is missing: allow {source} {target}:{class} {{ {permissions} }};)"),
        false => format!(": {permissions} on a {class})"),
    });
    let thing = object::of_socket(path);
    let is_socket = matches!(class, "sock_file" | "unix_stream_socket");
    if who == Who::Qemu && is_socket && !thing.is_vhost_user() && thing != Thing::Socket {
        cause.push_str(&format!("; by its path it is {}", thing.name()));
    }
    if denial.other_categories && who == Who::Qemu && event.id == "selinux-qemu-file" {
        cause.push_str("; its categories are another VM's, too");
    }
    let key = format!("{source} {target} {class} {permissions} {comm} {}", denial.permissive);
    let (subject, causes) = (denial.object.clone(), vec![cause]);
    Some(Event { subject, key, causes, decide: DECIDE, source: SOURCE, ..event })
}
