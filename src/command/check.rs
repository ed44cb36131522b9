// SPDX-License-Identifier: Apache-2.0
//! `check`: the verdict.

use anyhow::Result;
use serde::Serialize;

use super::{Outcome, blocked};
use crate::cli::CheckArgs;
use crate::report::{self, Style, endpoints, prometheus};
use crate::rules::endpoints::{Judged, Row};
use crate::rules::{Finding, Level};
use crate::survey::{Options, Survey};
use crate::systemd;

#[derive(Serialize)]
struct Output<'a> {
    version: u32,
    verdict: &'static str,
    endpoints: &'a [Row],
    findings: &'a [Finding],
}

pub fn run(args: &CheckArgs) -> Result<Outcome> {
    if !args.prometheus {
        return tell(&look(args)?, args.output.json);
    }
    // Whoever watches the metrics is to see that there was no verdict, instead of the last one for ever.
    let judged = look(args);
    let text = prometheus::text(judged.as_ref().ok());
    report::out(&text);
    Ok(verdict(&judged?.findings).1)
}

fn look(args: &CheckArgs) -> Result<Judged> {
    let root = super::open_root(&args.output.root, false)?;
    let manager = systemd::connect(&root)?;
    match Survey::take(&root, manager.as_ref(), Options::default()) {
        Ok(survey) => survey.judged(&root),
        Err(error) => Ok(Judged::of(vec![blocked::finding(error)?])),
    }
}

fn verdict(findings: &[Finding]) -> (&'static str, Outcome) {
    match findings.iter().map(|finding| finding.level).max() {
        None => ("agreed", Outcome::Fine),
        Some(Level::Advice) => ("agreed, with advice", Outcome::Advice),
        Some(Level::Broken) => ("broken", Outcome::Waiting),
    }
}

fn tell(judged: &Judged, json: bool) -> Result<Outcome> {
    let Judged { rows, findings, .. } = judged;
    let (verdict, outcome) = verdict(findings);
    if json {
        report::json(&Output { version: 1, verdict, endpoints: rows, findings })?;
        return Ok(outcome);
    }
    if !rows.is_empty() {
        report::out(&endpoints::text(rows));
    }
    for finding in findings {
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
    // A name with a newline in it shall not look like another finding.
    let clean = report::one_line;
    format!(
        "{head}: {}: {}\n    {}\n    mend: {}\n",
        clean(&finding.subject),
        clean(&finding.seen),
        report::colour(Style::Dim, finding.cause),
        clean(&finding.mend)
    )
}
