// SPDX-License-Identifier: Apache-2.0
//! `check`: the verdict.

use anyhow::Result;
use serde::Serialize;

use super::Outcome;
use crate::cli::OutputArgs;
use crate::report::{self, Style};
use crate::rules::{Finding, Level};
use crate::survey::{Options, Survey};
use crate::systemd;

#[derive(Serialize)]
struct Output {
    version: u32,
    verdict: &'static str,
    findings: Vec<Finding>,
}

pub fn run(args: &OutputArgs) -> Result<Outcome> {
    let root = super::open_root(&args.root, false)?;
    let manager = systemd::connect(&root)?;
    let survey = Survey::take(&root, manager.as_ref(), Options::default())?;
    let findings = survey.findings();
    let worst = findings.iter().map(|finding| finding.level).max();
    let (verdict, outcome) = match worst {
        None => ("agreed", Outcome::Fine),
        Some(Level::Advice) => ("agreed, with advice", Outcome::Advice),
        Some(Level::Broken) => ("broken", Outcome::Waiting),
    };
    if args.json {
        report::json(&Output { version: 1, verdict, findings })?;
        return Ok(outcome);
    }
    for finding in &findings {
        report::out(&finding_text(finding));
    }
    let style = match outcome {
        Outcome::Fine => Style::Good,
        Outcome::Advice => Style::Advice,
        Outcome::Waiting => Style::Bad,
    };
    report::out(&format!("{}\n", report::colour(style, verdict)));
    Ok(outcome)
}

/// A finding in three lines: what, why, and the command that mends it.
pub fn finding_text(finding: &Finding) -> String {
    let style = match finding.level {
        Level::Advice => Style::Advice,
        Level::Broken => Style::Bad,
    };
    let head = report::colour(style, finding.id);
    let clean = report::clean;
    format!(
        "{head}: {}: {}\n    {}\n    mend: {}\n",
        clean(&finding.subject),
        clean(&finding.seen),
        report::colour(Style::Dim, finding.cause),
        clean(&finding.mend)
    )
}
