// SPDX-License-Identifier: Apache-2.0
//! Reading and merging the files.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use configparser::ini::{Ini, IniDefault};
use serde::Serialize;

use super::dataplane::Declaration;
use super::effective::{Effective, Origin, checked};
use super::keys::{DATAPLANE, Key, SECTIONS, Section, keys};
use crate::base::paths;
use crate::base::root::Root;
use crate::base::text::distance;

/// A drop-in that the administrator may add: it counts as if it was in its place already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    /// The file's name.
    pub name: OsString,
    /// What is in it.
    pub text: String,
}

/// All keys with the values that count, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Raw {
    #[serde(flatten)]
    values: BTreeMap<&'static str, Effective>,
    /// The sections of dataplanes by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    dataplanes: BTreeMap<String, Declaration>,
}

impl Raw {
    /// The built-in defaults alone.
    pub fn defaults() -> Raw {
        let default =
            |value: &str| Effective { value: value.to_string(), origin: Origin::Default, found: None };
        let values = keys().map(|key| (key.name, default(key.default))).collect();
        Raw { values, dataplanes: BTreeMap::new() }
    }

    /// Reads every layer beneath `root`, and what may be added to them.
    pub fn read(root: &Root, proposed: Option<&Proposed>) -> Result<Raw> {
        let mut raw = Raw::defaults();
        for (path, proposed) in layer_files(root, proposed)? {
            match proposed {
                Some(proposed) => raw.overlay(&path, &proposed.text)?,
                None => root.read_text(&path)?.map_or(Ok(()), |text| raw.overlay(&path, &text))?,
            }
        }
        Ok(raw)
    }

    /// Lets the file `path` with the content `text` override what was set before.
    pub fn overlay(&mut self, path: &Path, text: &str) -> Result<()> {
        let mut ini = Ini::new_from_defaults(syntax());
        let sections = ini.read(text.to_string()).map_err(|why| anyhow!("{}: {why}", path.display()))?;
        for (section, values) in &sections {
            let lines = SectionLines::new(text, section);
            let place = |line: usize| format!("{}:{line}", path.display());
            if let Some(name) = section.strip_prefix("dataplane ") {
                let origin = |line: usize| Origin::File(path.to_path_buf(), line);
                self.declare(name.trim(), values, &lines, origin)?;
                continue;
            }
            let Some(known) = SECTIONS.iter().find(|known| known.name == section) else {
                bail!(
                    "{}: unknown section [{section}]; the sections are {}",
                    place(lines.start),
                    all_sections()
                );
            };
            for (name, value) in values {
                let line = lines.line_of(name);
                expect_in(known, name).map_err(|why| anyhow!("{}: {why}", place(line)))?;
                self.set(name, value.as_deref(), Origin::File(path.to_path_buf(), line))?;
            }
        }
        Ok(())
    }

    /// Adds the values of a dataplane's section.
    fn declare(
        &mut self,
        name: &str,
        values: &HashMap<String, Option<String>>,
        lines: &SectionLines<'_>,
        origin: impl Fn(usize) -> Origin,
    ) -> Result<()> {
        let found = self.dataplanes.entry(name.to_string());
        let found = found.or_insert(Declaration::new(name, origin(lines.start))?);
        for (key, value) in values {
            let origin = origin(lines.line_of(key));
            let Some(known) = DATAPLANE.keys.iter().find(|known| known.name == key) else {
                bail!("{origin}: unknown key '{key}'; did you mean '{}'?", nearest(DATAPLANE.keys, key));
            };
            found.values.insert(known.name, effective(known, value.as_deref(), origin)?);
        }
        Ok(())
    }

    /// The sections of dataplanes.
    pub fn dataplanes(&self) -> impl Iterator<Item = &Declaration> {
        self.dataplanes.values()
    }

    fn set(&mut self, name: &str, value: Option<&str>, origin: Origin) -> Result<()> {
        let key = keys().find(|key| key.name == name).with_context(|| format!("no key '{name}'"))?;
        self.values.insert(key.name, effective(key, value, origin)?);
        Ok(())
    }

    /// The values of one section.
    pub fn of<'a>(&'a self, section: &Section) -> impl Iterator<Item = (&'static str, &'a Effective)> {
        section.keys.iter().filter_map(|key| Some((key.name, self.values.get(key.name)?)))
    }

    /// Adds what was found on the node.
    pub fn note(&mut self, name: &str, found: String) {
        if let Some(effective) = self.values.get_mut(name) {
            effective.found = Some(found);
        }
    }

    /// Where a value was set.
    pub(super) fn origin(&self, name: &str) -> Origin {
        self.values.get(name).map_or(Origin::Default, |effective| effective.origin.clone())
    }

    /// Checks one value; the error says where it was set and what was expected.
    pub(super) fn parse<T>(&self, name: &str, check: impl Fn(&str) -> Result<T, String>) -> Result<T> {
        checked(name, self.values.get(name).with_context(|| format!("no key '{name}'"))?, check)
    }
}

fn effective(key: &Key, value: Option<&str>, origin: Origin) -> Result<Effective> {
    let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) else {
        bail!("{origin}: {} has no value; expected {}", key.name, key.meaning);
    };
    Ok(Effective { value: value.to_string(), origin, found: None })
}

/// `=` is the only delimiter: `user:group` is a value.
fn syntax() -> IniDefault {
    let mut syntax = IniDefault::default();
    syntax.case_sensitive = true;
    syntax.delimiters = vec!['='];
    syntax.comment_symbols = vec![';', '#'];
    syntax
}

type Layer<'a> = (PathBuf, Option<&'a Proposed>);

fn layer_files<'a>(root: &Root, proposed: Option<&'a Proposed>) -> Result<Vec<Layer<'a>>> {
    let mut drop_ins: BTreeMap<OsString, Layer<'a>> = BTreeMap::new();
    let mut files = Vec::new();
    for place in [paths::VENDOR_CONFIG, paths::ADMIN_CONFIG] {
        let main = Path::new(place).join(paths::CONFIG_NAME);
        let directory = main.with_extension("conf.d");
        files.push((main, None));
        let found = root.in_force([&directory], "conf")?;
        drop_ins.extend(found.into_iter().map(|(name, path)| (name, (path, None))));
        if let Some(proposed) = proposed {
            drop_ins.insert(proposed.name.clone(), (directory.join(&proposed.name), Some(proposed)));
        }
    }
    files.extend(drop_ins.into_values());
    Ok(files)
}

/// Where a section begins and its lines: `configparser` does not tell.
struct SectionLines<'a> {
    start: usize,
    lines: Vec<(usize, &'a str)>,
}

impl<'a> SectionLines<'a> {
    fn new(text: &'a str, section: &str) -> SectionLines<'a> {
        let header = format!("[{section}]");
        let mut found = SectionLines { start: 1, lines: Vec::new() };
        let mut inside = section == "default";
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.starts_with('[') {
                inside = line == header;
                found.start = if inside { number } else { found.start };
            } else if inside {
                found.lines.push((number, line));
            }
        }
        found
    }

    /// The last line that sets `name`: the one that counts.
    fn line_of(&self, name: &str) -> usize {
        let sets = |line: &str| line.split('=').next().is_some_and(|left| left.trim() == name);
        self.lines.iter().rev().find(|(_, line)| sets(line)).map_or(self.start, |(number, _)| *number)
    }
}

/// The key is one of this section.
fn expect_in(section: &Section, name: &str) -> Result<(), String> {
    let has = |section: &Section| section.keys.iter().any(|key| key.name == name);
    match SECTIONS.iter().find(|section| has(section)) {
        Some(right) if right.name == section.name => Ok(()),
        Some(right) => Err(format!("'{name}' belongs below [{}], not [{}]", right.name, section.name)),
        None => Err(format!("unknown key '{name}'; did you mean '{}'?", nearest(section.keys, name))),
    }
}

fn all_sections() -> String {
    let names = SECTIONS.map(|section| format!("[{}]", section.name)).join(", ");
    format!("{names} and [{}]", DATAPLANE.name)
}

fn nearest(keys: &[Key], name: &str) -> &'static str {
    keys.iter().map(|key| key.name).min_by_key(|key| distance(name, key)).unwrap_or("modes")
}
