// SPDX-License-Identifier: Apache-2.0
//! `config`: the values that count.

use anyhow::Result;

use super::Outcome;
use crate::cli::OutputArgs;
use crate::config::{Config, Effective, Raw, SECTIONS};
use crate::report;
use crate::root::Root;

pub fn run(args: &OutputArgs) -> Result<Outcome> {
    let raw = Raw::read(&Root::open(&args.root)?)?;
    Config::from_raw(&raw)?;
    if args.json {
        report::json(&raw)?;
        return Ok(Outcome::Fine);
    }
    let row = |(name, effective): (&str, &Effective)| {
        [format!("{name} ="), effective.value.clone(), format!("# {}", effective.origin)]
    };
    let sections = SECTIONS.iter().map(|section| {
        let rows: Vec<[String; 3]> = raw.of(section).map(row).collect();
        format!("[{}]\n{}", section.name, report::clean(&report::table(&rows)))
    });
    report::out(&sections.collect::<Vec<_>>().join("\n"));
    Ok(Outcome::Fine)
}
