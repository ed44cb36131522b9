// SPDX-License-Identifier: Apache-2.0
//! `config`: the values that count.

use anyhow::Result;

use super::Outcome;
use crate::cli::OutputArgs;
use crate::config::{Config, Raw};
use crate::report;
use crate::root::Root;

pub fn run(args: &OutputArgs) -> Result<Outcome> {
    let raw = Raw::read(&Root::open(&args.root)?)?;
    Config::from_raw(&raw)?;
    if args.json {
        report::json(&raw)?;
        return Ok(Outcome::Fine);
    }
    let row = |(name, effective): (&str, &crate::config::Effective)| {
        [format!("{name} ="), effective.value.clone(), format!("# {}", effective.origin)]
    };
    let rows: Vec<[String; 3]> = raw.iter().map(row).collect();
    report::out(&format!("[accord]\n{}", report::clean(&report::table(&rows))));
    Ok(Outcome::Fine)
}
