// SPDX-License-Identifier: Apache-2.0
//! The units of a node by its report: `systemctl show` of those that were loaded, and the names of all unit files.

use anyhow::{Context, Result, bail};

use super::systemctl::read_shown;
use super::{Act, ServiceManager, UnitFact, Units};
use crate::base::root::Root;

/// The report at a root.
#[derive(Debug)]
pub struct Told<'a>(pub &'a Root);

impl Told<'_> {
    /// What was shown of a unit, by its name or another of its names; the one with exact times first.
    fn shown(&self, name: &str) -> Option<String> {
        let report = self.0.report()?;
        let exact = report.outputs("systemctl show --timestamp=us");
        let mut outputs = exact.into_iter().chain(report.outputs("systemctl show"));
        let is_meant = |block: &&str| {
            let names = block
                .lines()
                .filter_map(|line| line.strip_prefix("Id=").or_else(|| line.strip_prefix("Names=")));
            names.into_iter().any(|names| names.split(' ').any(|other| other == name))
        };
        outputs.find_map(|text| text.split("\n\n").find(is_meant).map(str::to_string))
    }

    /// Whether there is a file of that name; `None` where the report has no list of them.
    fn has_file(&self, name: &str) -> Option<bool> {
        let report = self.0.report()?;
        let list = report.outputs("systemctl list-unit-files").into_iter().next()?;
        Some(list.lines().any(|line| line.split_whitespace().next() == Some(name)))
    }
}

impl Units for Told<'_> {
    fn unit(&self, name: &str) -> Result<Option<UnitFact>> {
        let Some(block) = self.shown(name) else {
            return match (self.has_file(name), self.0.report()) {
                (Some(false), _) | (_, None) => Ok(None),
                (_, Some(report)) => Err(report.lacks(&format!("'systemctl show {name}'"))),
            };
        };
        read_shown(self.0, &block).with_context(|| format!("reading the unit {name}"))
    }
}

impl ServiceManager for Told<'_> {
    fn reload(&self) -> Result<()> {
        bail!("nothing is done to a report")
    }

    fn act(&self, _act: Act, name: &str) -> Result<()> {
        bail!("{name}: nothing is done to a report")
    }
}
