// SPDX-License-Identifier: Apache-2.0
//! `check --against`: can the VMs of another node migrate here?

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::{Outcome, check};
use crate::cli::CheckArgs;
use crate::fingerprint::{self, Fingerprint};
use crate::report;
use crate::rules::Finding;
use crate::rules::peer::{Compared, Newcomer};

#[derive(Serialize)]
struct Output<'a> {
    verdict: &'static str,
    /// The node that was compared with.
    against: Option<&'a str>,
    vms: &'a [Newcomer],
    findings: &'a [Finding],
}

pub fn run(args: &CheckArgs, file: &Path) -> Result<Outcome> {
    let root = super::open_root(&args.output.root, false)?;
    let text = super::read_bounded(file, fingerprint::MAX_FILE)?;
    let name = if file == Path::new("-") { "standard input".to_string() } else { file.display().to_string() };
    let there = fingerprint::parse(&text, &name)?;
    let survey = super::settled(&root).context("this node cannot be compared")?;
    let compared = survey.against(&root, &there)?;
    let (_, outcome) = check::verdict(&compared.findings);
    let verdict = match outcome {
        Outcome::Fine => "all VMs can migrate here",
        Outcome::Advice => "all VMs can migrate here, with advice",
        Outcome::Waiting => "would fail",
    };
    let Compared { vms, findings, .. } = &compared;
    let output = Output { verdict, against: there.host.as_deref(), vms, findings };
    report::tell(args.output.json, &output, || {
        report::clean(&table(&there, vms)) + &check::findings_text(findings, verdict, outcome)
    })?;
    Ok(outcome)
}

fn table(there: &Fingerprint, vms: &[Newcomer]) -> String {
    if vms.is_empty() {
        return format!("no VM with vhost-user endpoints runs on {}\n", report::one_line(&there.name()));
    }
    let header = ["VM", "ENDPOINTS", "STARTS HERE"].map(str::to_string);
    let row = |vm: &Newcomer| [report::one_line(&vm.name), vm.endpoints.to_string(), vm.starts_here.clone()];
    report::table(&std::iter::once(header).chain(vms.iter().map(row)).collect::<Vec<_>>())
}
