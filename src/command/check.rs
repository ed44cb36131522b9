// SPDX-License-Identifier: Apache-2.0
//! `check`: the verdict.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::Outcome;
use crate::accord::Obstacle;
use crate::base::counters;
use crate::base::root::{NotInReport, Root, told};
use crate::cli::CheckArgs;
use crate::fingerprint::Fingerprint;
use crate::fleet;
use crate::report::prometheus::{self, Measured};
use crate::report::{self, Style, endpoints, monitor};
use crate::rules::endpoints::{Judged, Row};
use crate::rules::{self, Evidence, Finding, Level};
use crate::survey::Survey;
use crate::write::{self, FileMeta};

#[derive(Serialize)]
struct Output<'a> {
    verdict: &'static str,
    endpoints: &'a [Row],
    findings: &'a [Finding],
    /// The input for `--against` on another node.
    fingerprint: Option<Fingerprint>,
    /// What a report does not have; nothing is known of it.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    unknown: &'a [String],
}

pub fn run(args: &CheckArgs) -> Result<Outcome> {
    if args.monitor {
        return Ok(tell_monitor(args));
    }
    if let Some(file) = &args.prometheus {
        return tell_prometheus(args, file.as_deref());
    }
    let root = super::open_root_or_report(args.sos.as_deref(), &args.output.root, false)?;
    let (judged, survey) = look(&root)?;
    let unknown = super::lacking(&root);
    let take = |survey: &Survey| survey.fingerprint(&root, &[]);
    // The fingerprint needs more than a verdict does, and programs that no report has.
    let fingerprint = survey.as_ref().filter(|_| args.output.json && args.sos.is_none());
    let fingerprint = fingerprint.map(take).transpose()?.flatten();
    let outcome = tell(&judged, fingerprint, &unknown, args.output.json);
    // The program ends here: nobody needs the memory of thousands of sockets back.
    std::mem::forget((judged, survey));
    outcome
}

/// Prints metrics. If there is no verdict they say so, so that nobody sees the last one for ever.
fn tell_prometheus(args: &CheckArgs, file: Option<&Path>) -> Result<Outcome> {
    let found = measured(args);
    // Nothing has run in an image.
    let is_node = args.output.root == Path::new("/");
    let counted = is_node.then(counters::read).unwrap_or_default();
    let text = prometheus::text(found.as_ref().ok(), &counted);
    match file {
        None => report::out(&text),
        Some(file) => replace(file, &text).with_context(|| format!("writing {}", file.display()))?,
    }
    let verdict = verdict(&found?.judged.findings).1;
    Ok(if file.is_some() { Outcome::Fine } else { verdict })
}

fn measured(args: &CheckArgs) -> Result<Measured> {
    let root = super::open_root(&args.output.root, false)?;
    let (judged, survey) = look(&root)?;
    // An error here does not change the verdict.
    let properties = survey.and_then(|survey| survey.properties(&root).ok().flatten());
    Ok(Measured { judged, accord: properties.as_ref().and_then(fleet::hash) })
}

/// Replaces the file in one step: node_exporter reads the old one or the new one, and no temporary one (not `.prom`).
fn replace(file: &Path, text: &str) -> Result<()> {
    let root = Root::open(Path::new("/"))?;
    let file = std::path::absolute(file)?;
    let (parent, name) = root.place(&file)?;
    write::replace_file(&parent, name, text.as_bytes(), &FileMeta::plain(0, 0, 0o644))
}

/// What a plugin ends with if it cannot tell, whatever the reason (Monitoring Plugins Development Guidelines).
const NOT_CHECKED: i32 = 3;

/// The same for a monitoring system, where a failed check is neither right nor wrong.
fn tell_monitor(args: &CheckArgs) -> Outcome {
    let judged = super::open_root(&args.output.root, false).and_then(|root| Ok(look(&root)?.0));
    report::out(&monitor::text(judged.as_ref()));
    match judged {
        Ok(judged) => verdict(&judged.findings).1,
        Err(_) => std::process::exit(NOT_CHECKED),
    }
}

/// The verdict, and the survey that it comes from; none if an obstacle prevents a survey.
pub fn look(root: &Root) -> Result<(Judged, Option<Survey>)> {
    match super::settled(root) {
        Ok(survey) => match told(survey.judged(root))? {
            Some(judged) => Ok((judged, Some(survey))),
            None => Ok((Judged::of(survey.findings()), Some(survey))),
        },
        // Without that nothing can be judged, and the verdict says so.
        Err(error) if error.is::<NotInReport>() => Ok((Judged::of(Vec::new()), None)),
        Err(error) => Ok((Judged::of(vec![in_the_way(error)?]), None)),
    }
}

/// An obstacle as a finding: for monitoring, the node is broken; the program did not fail.
fn in_the_way(error: anyhow::Error) -> Result<Finding> {
    let obstacle = error.downcast::<Obstacle>()?;
    let evidence = Evidence::fixed_by("configuration", &obstacle.what, &obstacle.fix);
    rules::finding(obstacle.id, evidence).ok_or_else(|| obstacle.into())
}

/// In words, and as an exit code.
pub fn verdict(findings: &[Finding]) -> (&'static str, Outcome) {
    match findings.iter().map(|finding| finding.level).max() {
        None => ("agreed", Outcome::Fine),
        Some(Level::Advice) => ("agreed, with advice", Outcome::Advice),
        Some(Level::Broken) => ("broken", Outcome::Waiting),
    }
}

/// An incomplete report can show that something is broken, but never that nothing is.
fn verdict_of(findings: &[Finding], unknown: &[String]) -> (&'static str, Outcome) {
    match verdict(findings) {
        (_, Outcome::Fine | Outcome::Advice) if !unknown.is_empty() => ("unknown", Outcome::Advice),
        known => known,
    }
}

pub fn tell(
    judged: &Judged,
    fingerprint: Option<Fingerprint>,
    unknown: &[String],
    json: bool,
) -> Result<Outcome> {
    let Judged { rows, findings, .. } = judged;
    let (verdict, outcome) = verdict_of(findings, unknown);
    report::tell(json, &Output { verdict, endpoints: rows, findings, fingerprint, unknown }, || {
        let rows = if rows.is_empty() { String::new() } else { endpoints::text(rows) };
        rows + &super::lacking_text(unknown) + &findings_text(findings, verdict, outcome)
    })?;
    Ok(outcome)
}

/// The findings, and the verdict on a line of its own.
pub fn findings_text(findings: &[Finding], verdict: &str, outcome: Outcome) -> String {
    let style = match outcome {
        Outcome::Fine => Style::Good,
        Outcome::Advice => Style::Advice,
        Outcome::Waiting => Style::Bad,
    };
    let text: String = findings.iter().map(finding_text).collect();
    text + &format!("{}\n", report::colour(style, verdict))
}

/// A finding in three lines: what, why, and the command that fixes it.
pub fn finding_text(finding: &Finding) -> String {
    let style = match finding.level {
        Level::Advice => Style::Advice,
        Level::Broken => Style::Bad,
    };
    let head = report::colour(style, finding.id);
    // A name with a newline in it must not look like another finding.
    let clean = report::one_line;
    format!(
        "{head}: {}: {}\n    {}\n    fix: {}\n",
        clean(&finding.subject),
        clean(&finding.seen),
        report::colour(Style::Dim, finding.cause),
        clean(&finding.fix)
    )
}
