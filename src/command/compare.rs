// SPDX-License-Identifier: Apache-2.0
//! `compare`: any number of nodes at once.

use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;

use super::{Outcome, check};
use crate::cli::CompareArgs;
use crate::fingerprint;
use crate::fleet::{self, Compared, Member};
use crate::report;

/// Full nodes are usual: that a VM fits elsewhere is enough.
const FULL: [&str; 2] = ["hugepages-not-enough", "unknown"];

#[derive(Serialize)]
struct Output<'a> {
    verdict: &'static str,
    /// Files that are no fingerprints, in a line each.
    unreadable: &'a [String],
    #[serde(flatten)]
    compared: &'a Compared,
}

pub fn run(args: &CompareArgs) -> Result<Outcome> {
    let (mut members, mut unreadable) = (Vec::new(), Vec::new());
    for file in &args.files {
        match read(file) {
            Ok(member) => members.push(member),
            Err(error) => unreadable.push(format!("{error:#}")),
        }
    }
    unreadable.iter().for_each(|line| report::complain(&report::one_line(line)));
    if members.is_empty() {
        bail!("there is no node to compare: none of these files is a fingerprint");
    }
    let compared = fleet::compare(&members)?;
    let (verdict, outcome) = verdict(&compared, unreadable.is_empty());
    if let Some(file) = &args.html {
        report::replace(file, &report::page::page(&compared, verdict, &unreadable))?;
    }
    let output = Output { verdict, unreadable: &unreadable, compared: &compared };
    report::tell(args.json, &output, || {
        report::fleet::text(&compared) + &check::findings_text(&[], verdict, outcome)
    })?;
    Ok(outcome)
}

fn read(file: &Path) -> Result<Member> {
    let name = file.display().to_string();
    let text = super::read_bounded(file, fingerprint::MAX_FILE)?;
    Ok(Member { fingerprint: fingerprint::parse(&text, &name)?, file: name })
}

/// In words, and as an exit code.
fn verdict(compared: &Compared, all_read: bool) -> (&'static str, Outcome) {
    let kept_out = |cell: &fleet::Cell| cell.obstacles.iter().any(|obstacle| !FULL.contains(&obstacle.id));
    let stuck =
        |vm: &fleet::Vm| vm.targets == 0 && vm.obstacles.iter().any(|obstacle| obstacle.id != "unknown");
    if compared.matrix.iter().any(kept_out) || compared.vms.iter().any(stuck) {
        return ("would fail", Outcome::Waiting);
    }
    let advised = compared.matrix.iter().any(|cell| !cell.findings.is_empty());
    match advised || !all_read || compared.nodes.iter().any(|node| !node.differs.is_empty()) {
        true => ("all VMs can migrate, with advice", Outcome::Advice),
        false => ("all VMs can migrate between all nodes", Outcome::Fine),
    }
}
