// SPDX-License-Identifier: Apache-2.0
//! The units of an unbooted image, from their files (systemd.unit(5), "Unit File Load Path").

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::fact::UnitFact;
use super::{Act, ServiceManager, Units, words};
use crate::base::root::{Handle, Kind, Root};
use crate::edit::unit::UnitText;

/// Highest precedence first. What lies in `/run` is gone before an image boots. On a merged `/usr`, the last is the one
/// before it again, under another name.
const UNIT_PATH: [&str; 4] = [
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
const MAX_ALIASES: usize = 8;

/// The unbooted image at a root.
#[derive(Debug)]
pub struct Image<'a>(pub &'a Root);

/// Where a unit's name led.
enum Fragment {
    /// To a file: its real name, and where it lies.
    File { name: String, file: Handle },
    /// To `/dev/null` or an empty file.
    Masked { name: String, path: PathBuf },
}

impl Image<'_> {
    /// The unit file of that name, through aliases.
    fn fragment(&self, name: &str) -> Result<Option<Fragment>> {
        let mut name = name.to_string();
        for _ in 0..MAX_ALIASES {
            let Some((dir, entry)) = self.entry(&name)? else { return Ok(None) };
            let path = Path::new(dir).join(&name);
            if entry.kind() != Kind::Symlink {
                let is_empty = entry.kind() == Kind::File && entry.read()?.is_empty();
                let fragment = if is_empty {
                    Fragment::Masked { name, path }
                } else {
                    Fragment::File { name, file: entry }
                };
                return Ok(Some(fragment));
            }
            let target = entry.target()?;
            if target == Path::new("/dev/null") {
                return Ok(Some(Fragment::Masked { name, path }));
            }
            // A link to a unit of another name is an alias; to one of the same name, a unit kept elsewhere.
            let alias =
                target.file_name().and_then(OsStr::to_str).context("an alias without a name")?.to_string();
            if alias == name || self.entry(&alias)?.is_none() {
                let file = self.0.find(&path)?;
                return Ok(file.map(|file| Fragment::File { name: alias, file }));
            }
            name = alias;
        }
        bail!("{name}: too many aliases")
    }

    fn entry(&self, name: &str) -> Result<Option<(&'static str, Handle)>> {
        for dir in UNIT_PATH {
            if let Some(entry) = self.0.find_nofollow(&Path::new(dir).join(name))? {
                return Ok(Some((dir, entry)));
            }
        }
        Ok(None)
    }

    /// The drop-ins of a unit in the order they apply: by file name, whatever directory they are in. Of two with the same
    /// name the one in the more special directory counts, of two alike the one of higher precedence.
    fn drop_ins(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let directories = names.iter().flat_map(|name| drop_in_directories(name));
        let directories =
            directories.flat_map(|directory| UNIT_PATH.map(|base| Path::new(base).join(&directory)));
        let mut paths = Vec::new();
        for path in self.0.in_force(directories, "conf")?.into_values() {
            if !self.is_masked(&path)? {
                paths.push(path);
            }
        }
        Ok(paths)
    }

    fn is_masked(&self, path: &Path) -> Result<bool> {
        match self.0.find_nofollow(path)? {
            Some(entry) if entry.kind() == Kind::Symlink => Ok(entry.target()? == Path::new("/dev/null")),
            Some(_) | None => Ok(false),
        }
    }

    /// As `systemctl is-enabled` has it: a link in some `*.wants` or `*.requires` of the administrator's directory.
    fn is_enabled(&self, name: &str) -> Result<bool> {
        let base = Path::new(UNIT_PATH[0]);
        for dir in self.0.list(base)? {
            let dir = Path::new(&dir);
            if !matches!(dir.extension().and_then(OsStr::to_str), Some("wants" | "requires")) {
                continue;
            }
            if self.0.find_nofollow(&base.join(dir).join(name))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn state(&self, name: &str, unit: &UnitText) -> Result<&'static str> {
        let install = ["WantedBy", "RequiredBy", "Also", "Alias", "UpheldBy"];
        Ok(if self.is_enabled(name)? {
            "enabled"
        } else if install.iter().any(|key| !unit.values("Install", key).is_empty()) {
            "disabled"
        } else {
            "static"
        })
    }
}

impl Units for Image<'_> {
    fn unit(&self, name: &str) -> Result<Option<UnitFact>> {
        let context = || format!("reading the unit {name} of the image");
        if name.contains('/') || !name.contains('.') {
            bail!("'{name}' is not the name of a unit");
        }
        let fragment = self.fragment(name).with_context(context)?;
        match fragment {
            None => Ok(None),
            Some(Fragment::Masked { name, path }) => Ok(Some(UnitFact {
                load_state: "masked".to_string(),
                unit_file_state: "masked".to_string(),
                fragment: Some(path),
                ..described(&name, &UnitText::default())?
            })),
            Some(Fragment::File { name: real, file }) => {
                let names = if real == name { vec![name] } else { vec![real.as_str(), name] };
                let drop_ins = self.drop_ins(&names).with_context(context)?;
                let text = String::from_utf8_lossy(&file.read().with_context(context)?).into_owned();
                let mut parts = vec![UnitText::parse(&text)];
                for path in &drop_ins {
                    let text = self.0.read(path).with_context(context)?.unwrap_or_default();
                    parts.push(UnitText::parse(&String::from_utf8_lossy(&text)));
                }
                let unit = UnitText::merge(parts);
                let unit_file_state = self.state(&real, &unit).with_context(context)?.to_string();
                let fragment = Some(file.path().to_path_buf());
                Ok(Some(UnitFact { unit_file_state, fragment, drop_ins, ..described(&real, &unit)? }))
            }
        }
    }
}

impl ServiceManager for Image<'_> {
    /// Nothing to do: nothing has read the files yet.
    fn reload(&self) -> Result<()> {
        Ok(())
    }

    fn act(&self, _act: Act, name: &str) -> Result<()> {
        bail!("{name}: nothing runs in an image")
    }
}

/// For `a-b.service`: `a-b.service.d`, `a-.service.d`, `service.d`.
fn drop_in_directories(name: &str) -> Vec<String> {
    let Some((stem, kind)) = name.rsplit_once('.') else { return Vec::new() };
    let mut directories = vec![format!("{name}.d")];
    let dashes = stem.char_indices().rev().filter(|(_, c)| *c == '-').map(|(at, _)| at);
    let prefixes = dashes.filter(|at| at + 1 < stem.len()).map(|at| format!("{}.{kind}.d", &stem[..=at]));
    directories.extend(prefixes);
    directories.push(format!("{kind}.d"));
    directories
}

/// What the merged text says; what it takes files to know is left empty.
fn described(name: &str, unit: &UnitText) -> Result<UnitFact> {
    let section = match name.rsplit_once('.') {
        Some((_, "mount")) => "Mount",
        Some((_, "socket")) => "Socket",
        _ => "Service",
    };
    let value = |key: &str| unit.last(section, key).unwrap_or_default().to_string();
    let words = |key: &str| unit.list(section, key).into_iter().flat_map(words::split).collect::<Vec<_>>();
    let exec = |key: &str| unit.list(section, key).into_iter().flat_map(words::commands).collect();
    let octal = |key: &str| Ok(u32::from_str_radix(&value(key), 8).ok());
    Ok(UnitFact {
        name: name.to_string(),
        load_state: "loaded".to_string(),
        active_state: "inactive".to_string(),
        environment: merged_environment(words("Environment")),
        environment_files: unit.list(section, "EnvironmentFile").into_iter().map(environment_file).collect(),
        runtime_directory_preserve: as_no_yes_restart(&value("RuntimeDirectoryPreserve")),
        default_dependencies: unit.last("Unit", "DefaultDependencies").is_none_or(|text| !is_false(text)),
        ..UnitFact::of(value, words, octal, exec)?
    })
}

/// systemd's spellings of no (`parse_boolean`).
fn is_false(text: &str) -> bool {
    ["0", "no", "n", "false", "f", "off"].iter().any(|no| text.eq_ignore_ascii_case(no))
}

fn as_no_yes_restart(text: &str) -> String {
    match text {
        "restart" => "restart",
        _ if text.is_empty() || is_false(text) => "no",
        _ => "yes",
    }
    .to_string()
}

fn environment_file(text: &str) -> (PathBuf, bool) {
    let (path, optional) = text.strip_prefix('-').map_or((text, false), |path| (path, true));
    (PathBuf::from(path), optional)
}

/// Of several assignments to a variable the last counts, at the place of the first.
fn merged_environment(assignments: Vec<String>) -> Vec<String> {
    let name = |assignment: &str| assignment.split('=').next().unwrap_or_default().to_string();
    let mut merged: Vec<String> = Vec::new();
    for assignment in assignments {
        match merged.iter_mut().find(|earlier| name(earlier) == name(&assignment)) {
            Some(earlier) => *earlier = assignment,
            None => merged.push(assignment),
        }
    }
    merged
}
