// SPDX-License-Identifier: Apache-2.0
//! Denials of SELinux and AppArmor, in all the forms in which they are shown: raw records of auditd, the kernel's and the
//! journal's lines, `ausearch -i`, records of user space (USER_AVC), setroubleshoot's prose.

use super::{Class, Event, apparmor, selinux};

/// The words between which setroubleshoot says who, what and on what.
const PROSE: &str = "SELinux is preventing ";

pub(super) fn recognise(text: &str) -> Option<Event> {
    if text.contains("avc:") && text.contains("denied") {
        record(text).map(|denial| selinux::explain(&denial))
    } else if text.contains("apparmor=\"DENIED\"") || text.contains("apparmor=\"ALLOWED\"") {
        apparmor::explain(text)
    } else if let Some((_, prose)) = text.split_once(PROSE) {
        self::prose(prose).map(|denial| selinux::explain(&denial))
    } else {
        None
    }
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

impl Denial {
    pub(super) fn may(&self, permissions: &[&str]) -> bool {
        permissions.is_empty() || self.permissions.iter().any(|own| permissions.contains(&own.as_str()))
    }
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

/// The value of ` key=`: in quotes, bare, or (of names with blanks and the like) in hexadecimal, as the audit system writes.
pub(super) fn field(text: &str, key: &str) -> Option<String> {
    let start = text.match_indices(key).map(|(at, _)| at).find(|at| {
        let before = text[..*at].chars().next_back();
        before.is_none_or(|letter| letter == ' ') && text[at + key.len()..].starts_with('=')
    })?;
    let value = &text[start + key.len() + 1..];
    if let Some(quoted) = value.strip_prefix('"') {
        return quoted.split_once('"').map(|(value, _)| value.to_string());
    }
    let encoded = matches!(key, "path" | "name" | "comm" | "profile");
    let word = value.split([' ', '\t']).next().filter(|word| !word.is_empty())?;
    Some(match unhex(word).filter(|_| encoded) {
        Some(name) => name,
        // `ausearch -i` writes names with blanks as they are.
        None if encoded && value.starts_with('/') => interpreted(value).to_string(),
        None => word.trim_end_matches('\'').to_string(),
    })
}

/// A name goes on until the next ` key=`.
fn interpreted(value: &str) -> &str {
    let is_key = |rest: &str| {
        let word = rest.split([' ', '\t']).next().unwrap_or_default();
        word.split_once('=')
            .is_some_and(|(key, _)| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
    };
    let end = value.match_indices(' ').map(|(at, _)| at).take(64).find(|at| is_key(&value[at + 1..]));
    value[..end.unwrap_or(value.len())].trim_end()
}

fn unhex(word: &str) -> Option<String> {
    let digits = word.as_bytes();
    if digits.len() < 4 || !digits.len().is_multiple_of(2) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    Some(String::from_utf8_lossy(&bytes?).into_owned())
}

/// The ids of all denials that are told apart.
pub fn audit_ids() -> impl Iterator<Item = &'static str> {
    selinux::ids().chain(apparmor::ids())
}

/// A denial of nothing yet. Of the processes at the other end it ends the connection; what QEMU is denied does not.
pub(super) fn denied(id: &'static str, class: Class) -> Event {
    let ends =
        ["-ovs-", "-migration-", "-back-end", "-container", "-switch"].iter().any(|part| id.contains(part));
    Event { ends_connection: class == Class::SecurityModule && ends, ..Event::new(id, class) }
}
