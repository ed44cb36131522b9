// SPDX-License-Identifier: Apache-2.0
//! `config`: the values that count.

use anyhow::{Context, Result};

use super::Outcome;
use crate::base::root::Root;
use crate::cli::OutputArgs;
use crate::config::{Config, Effective, Raw, SECTIONS};
use crate::dataplane::ovs::modes::Modes;
use crate::journal::Journal;
use crate::report;
use crate::survey;

pub fn run(args: &OutputArgs) -> Result<Outcome> {
    let root = Root::open(&std::path::absolute(&args.root)?)?;
    let mut raw = Raw::read(&root, None)?;
    let config = Config::from_raw(&raw)?;
    if config.looks {
        raw.note("modes", found(&root, &config));
    }
    if args.json {
        report::plain_json(&raw)?;
        return Ok(Outcome::Fine);
    }
    let row = |(name, effective): (&str, &Effective)| {
        let found = effective.found.as_ref().map(|found| format!("; {found}")).unwrap_or_default();
        [format!("{name} ="), effective.value.clone(), format!("# {}{found}", effective.origin)]
    };
    let sections = SECTIONS.iter().map(|section| {
        let rows: Vec<[String; 3]> = raw.of(section).map(row).collect();
        format!("[{}]\n{}", section.name, report::clean(&report::table(&rows)))
    });
    let declared = raw.dataplanes().map(|found| {
        let rows: Vec<[String; 3]> = found.iter().map(row).collect();
        format!("[dataplane {}]\n{}", found.name(), report::clean(&report::table(&rows)))
    });
    report::out(&sections.chain(declared).collect::<Vec<_>>().join("\n"));
    Ok(Outcome::Fine)
}

/// What `look` finds now. Every user may read the configuration, but only root what `look` needs.
fn found(root: &Root, config: &Config) -> String {
    let look = || {
        let journal = Journal::read(root)?;
        if !root.is_live() {
            return survey::modes(root, config, &journal, None);
        }
        super::survey(root)?.modes.context("modes is listed")
    };
    let modes: Result<Modes> = look();
    modes.map_or_else(
        |_| "what look finds is shown to root, on a running node".to_string(),
        |modes| modes.text(),
    )
}
