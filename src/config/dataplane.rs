// SPDX-License-Identifier: Apache-2.0
//! `[dataplane NAME]`: a dataplane that nothing on the node tells of by itself.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::effective::{Effective, Origin, checked};
use super::keys::{DATAPLANE, REQUIRED};
use super::value;
use crate::base::paths::plain;

/// The values of one section of a dataplane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Declaration {
    pub(super) values: BTreeMap<&'static str, Effective>,
    #[serde(skip)]
    name: String,
    #[serde(skip)]
    section: Origin,
}

/// The driver of a section that says everything itself.
pub const DECLARED: &str = "declared";

impl Declaration {
    /// An empty one.
    pub(super) fn new(name: &str, section: Origin) -> Result<Declaration> {
        let in_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 32 || !name.chars().all(in_name) {
            bail!(
                "{section}: [dataplane {name}]: expected a name of lower-case letters, digits, '-' and '_', at most 32"
            );
        }
        Ok(Declaration { values: BTreeMap::new(), name: name.to_string(), section })
    }

    /// The section's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of a value; none where it is not set.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|effective| effective.value.as_str())
    }

    /// What was found for a key counts where the section does not set it.
    pub fn fill(&mut self, key: &'static str, value: &str, place: &str) {
        let origin = Origin::Looked(place.to_string());
        let found = Effective { value: value.to_string(), origin, found: None };
        self.values.entry(key).or_insert(found);
    }

    /// The values in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Effective)> {
        DATAPLANE.keys.iter().filter_map(|key| Some((key.name, self.values.get(key.name)?)))
    }

    /// Where a value was set; that of a default is the section.
    pub(super) fn origin(&self, name: &str) -> Origin {
        self.values.get(name).map_or(&self.section, |effective| &effective.origin).clone()
    }

    /// Checks one value, as [`Raw::parse`].
    pub(super) fn parse<T>(&self, name: &str, check: impl Fn(&str) -> Result<T, String>) -> Result<T> {
        let key = DATAPLANE.keys.iter().find(|key| key.name == name);
        let key = key.with_context(|| format!("no key '{name}'"))?;
        match self.values.get(name) {
            Some(effective) => checked(name, effective, check),
            None if key.default == REQUIRED => {
                bail!("{}: {name} is missing; expected {}", self.section, key.meaning)
            }
            None => check(key.default).map_err(|expected| anyhow!("{name}: expected {expected}")),
        }
    }
}

/// One such section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// What is looked for by itself: the name of a driver.
    pub driver: String,
    /// The unit that runs it.
    pub unit: String,
    /// The user it runs as; none: the unit's.
    pub user: Option<String>,
    /// The group it runs with; none: the unit's, or the user's.
    pub group: Option<String>,
    /// Where its vhost-user sockets are.
    pub sockets: Sockets,
    /// Who creates them.
    pub made_by: MadeBy,
    /// What of its own QEMU must not reach.
    pub control: Vec<PathBuf>,
}

/// Where sockets are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sockets {
    /// The directory.
    pub directory: PathBuf,
    /// Which names in it; none: all, and the directory is theirs alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

impl Sockets {
    /// Is this name in the directory a socket of theirs? A `*` stands for any characters.
    pub fn has(&self, name: &str) -> bool {
        let Some(pattern) = &self.pattern else { return true };
        let mut parts = pattern.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }

    /// Is it one of their paths?
    pub fn is_at(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        match self.pattern {
            None => path.starts_with(&self.directory),
            Some(_) => path.parent() == Some(&self.directory) && name.is_some_and(|name| self.has(name)),
        }
    }
}

/// Who creates the sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MadeBy {
    /// QEMU (libvirt `mode='server'`).
    Qemu,
    /// The dataplane.
    Dataplane,
}

const MADE_BY: [(&str, MadeBy); 2] = [("qemu", MadeBy::Qemu), ("dataplane", MadeBy::Dataplane)];

impl Declared {
    /// Checks what one section sets. What it leaves to its driver is not known yet.
    pub(super) fn check(found: &Declaration, socket_directory: &Path) -> Result<()> {
        let mut found = found.clone();
        if found.get("driver").is_some_and(|driver| driver != DECLARED) {
            found.fill("unit", "not-known-yet.service", "");
            found.fill("sockets", "/run/not-known-yet", "");
        }
        Declared::parse(&found, socket_directory).map(drop)
    }

    /// Checks a whole section. `socket_directory` is that of `[accord]`.
    pub fn parse(found: &Declaration, socket_directory: &Path) -> Result<Declared> {
        let name = found.name();
        let look = |text: &str| (text != "look").then(|| account(text)).transpose();
        let declared = Declared {
            name: name.to_string(),
            driver: found.parse("driver", driver)?,
            unit: found.parse("unit", unit)?,
            user: found.parse("user", look)?,
            group: found.parse("group", look)?,
            sockets: found.parse("sockets", sockets)?,
            made_by: found.parse("made-by", value::one_of(MADE_BY))?,
            control: found.parse("control", control)?,
        };
        let place = |key: &str| format!("{}: [dataplane {name}]", found.origin(key));
        let directory = &declared.sockets.directory;
        if directory.starts_with(socket_directory) || socket_directory.starts_with(directory) {
            let at = place("sockets");
            bail!("{at} sockets: expected another directory than socket-directory of [accord]");
        }
        if declared.made_by == MadeBy::Qemu && declared.sockets.pattern.is_some() {
            bail!("{} sockets: expected a directory, since QEMU creates the sockets", place("sockets"));
        }
        match declared.control.iter().find(|path| declared.sockets.is_at(path)) {
            Some(open) => Err(anyhow!(
                "{} control: expected paths that sockets does not have, not {}: QEMU reaches all of those",
                place("control"),
                open.display()
            )),
            None => Ok(declared),
        }
    }
}

/// Which ones there are is known where they are (`dataplane::DRIVERS`).
fn driver(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty() && text.len() <= 32 && text.chars().all(|c| c.is_ascii_lowercase());
    is_name.then(|| text.to_string()).ok_or_else(|| "the name of a driver, such as declared".into())
}

/// A container's accounts may have no name on the node.
fn account(text: &str) -> Result<String, String> {
    let is_number = text.parse::<u32>().is_ok_and(|id| id != u32::MAX);
    value::account_name(text).or_else(|expected| match is_number {
        true => Ok(text.to_string()),
        false => Err(format!("look, a number, or {expected}")),
    })
}

/// systemd.unit(5).
fn unit(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || [':', '_', '.', '@', '-'].contains(&c);
    match text.strip_suffix(".service") {
        Some(name) if !name.is_empty() && text.len() < 256 && text.chars().all(is_plain) => {
            Ok(text.to_string())
        }
        _ => Err("the name of a service, such as storage.service".into()),
    }
}

/// Directories of the system, which no dataplane has for itself.
const SHARED: [&str; 12] = [
    "/dev/hugepages",
    "/dev/shm",
    "/run/libvirt",
    "/run/lock",
    "/run/systemd",
    "/run/user",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/run",
    "/var/spool",
    "/var/tmp",
];

fn sockets(text: &str) -> Result<Sockets, String> {
    let path = plain(Path::new(text));
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let pattern = name.contains('*').then(|| name.to_string());
    let directory = if pattern.is_some() { path.parent().unwrap_or(&path) } else { &path };
    let directory = value::directory(directory.to_str().unwrap_or_default())?;
    let is_system = ["/etc", "/usr", "/proc", "/sys", "/boot"].iter().any(|top| directory.starts_with(top));
    let is_shared = pattern.is_none() && SHARED.iter().any(|shared| directory == Path::new(shared));
    if is_system || is_shared || directory.as_os_str().as_encoded_bytes().contains(&b'*') {
        return Err("a directory for these sockets alone, or DIRECTORY/PATTERN with '*'".into());
    }
    Ok(Sockets { directory, pattern })
}

fn control(text: &str) -> Result<Vec<PathBuf>, String> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let path = |word: &str| {
        let path = plain(Path::new(word));
        let clean = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        (path.is_absolute() && clean).then_some(path).ok_or("none, or absolute paths of sockets or files")
    };
    value::words(text).map(path).collect::<Result<_, _>>().map_err(str::to_string)
}
