// SPDX-License-Identifier: Apache-2.0
//! `probe`: tests the node for real.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::Serialize;

use super::Outcome;
use crate::accord::Agreed;
use crate::base::root::Root;
use crate::config::PortType;
use crate::dataplane::ovs::vswitchd::VSWITCHD;
use crate::facts::hugepages::pool;
use crate::facts::mounts;
use crate::probe::{Failed, Huge, Report, Signals, Trial, plan, sweep};
use crate::report::{self, Style};
use crate::rules::{Finding, Level};
use crate::survey::Survey;

#[derive(Debug, Serialize)]
struct Tried {
    port_type: PortType,
    /// What the dataplane is called.
    name: &'static str,
    dataplane: String,
    qemu: String,
    #[serde(flatten)]
    report: Report,
}

#[derive(Debug, Serialize)]
struct Output {
    verdict: &'static str,
    trials: Vec<Tried>,
    /// What `check` has found broken at the same time.
    check: Vec<Finding>,
}

pub fn run(json: bool) -> Result<Outcome> {
    let root = super::open_root(Path::new("/"), true)?;
    // Before the first thread is started, so that all threads inherit it.
    let signals = Signals::hold()?;
    let survey = super::settled(&root)?;
    let trials = plan::trials(&survey, agreed_group(&root)?, huge(&root, &survey)?.as_ref());
    if trials.is_empty() {
        bail!("nothing to test: no dataplane or no libvirt is installed; run 'vhost-accord check'");
    }
    sweep(&root, &places(&trials))?;
    let mut tried = Vec::new();
    for trial in &trials {
        let one = try_one(trial, &survey, &signals)?;
        if !json {
            report::out(&text(&one));
        }
        tried.push(one);
    }
    let mut check = survey.judged(&root)?.findings;
    check.retain(|finding| finding.level == Level::Broken);
    finish(json, tried, check)
}

fn try_one(trial: &Trial, survey: &Survey, signals: &Signals) -> Result<Tried> {
    let names = &survey.accounts;
    let report = crate::probe::run(Path::new("/proc/self/exe"), trial, names, signals)?;
    let (dataplane, qemu) = (trial.dataplane.text(names), trial.qemu.text(names));
    Ok(Tried { port_type: trial.kind, name: VSWITCHD, dataplane, qemu, report })
}

/// What the hook reads. A file that `apply` did not write is ignored.
fn agreed_group(root: &Root) -> Result<Option<u32>> {
    Ok(Agreed::read(root)?.and_then(|agreed| agreed.qemu?.grant_gid))
}

fn huge(root: &Root, survey: &Survey) -> Result<Option<Huge>> {
    let default = mounts::read_default_page_size(root)?;
    let Some(mount) = plan::hugepages(survey, &survey.surroundings.hugetlb, default) else { return Ok(None) };
    let free = pool(root, mount.page_size, &[])?.is_some_and(|pool| pool.available > 0);
    Ok(Some(Huge { mount: mount.path, page_size: mount.page_size, free }))
}

/// Every directory in which a trial creates something.
fn places(trials: &[Trial]) -> Vec<PathBuf> {
    let memory = |trial: &Trial| trial.huge.as_ref().map(|huge| huge.mount.join("libvirt/qemu"));
    trials.iter().flat_map(|trial| [Some(trial.directory.clone()), memory(trial)]).flatten().collect()
}

fn text(tried: &Tried) -> String {
    let kind = match tried.port_type {
        PortType::Dpdkvhostuserclient => "dpdkvhostuserclient: QEMU creates the socket, {} connects",
        PortType::Dpdkvhostuser => "dpdkvhostuser: {} creates the socket, QEMU connects",
    };
    let mut text = format!("{}\n", kind.replace("{}", tried.name));
    for done in &tried.report.done {
        text.push_str(&format!("  {:<12}{}\n", done.step.name(), report::one_line(&done.what)));
    }
    if let Some(failed) = &tried.report.failed {
        let step = report::colour(Style::Bad, &format!("{:<12}", failed.step.name()));
        text.push_str(&format!("  {step}{}\n", failure(failed)));
    }
    text
}

/// Who, what, where.
fn failure(failed: &Failed) -> String {
    let errno = failed.errno.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
    let more = |word: &str, text: String| format!("\n              {word} {}", report::one_line(&text));
    let path = failed.path.as_ref().map(|path| more("at", path.display().to_string()));
    let component = failed.component.clone().map(|text| more("because", text));
    format!(
        "{errno}{} ({}): {}{}{}",
        failed.side.name(),
        report::one_line(&failed.who),
        report::one_line(&failed.error),
        path.unwrap_or_default(),
        component.unwrap_or_default()
    )
}

/// The verdict. What works now may fail later, so what `check` found is printed here as well.
fn verdict(trials: &[Tried], check: &[Finding]) -> (&'static str, Style, Outcome) {
    if trials.iter().any(|tried| tried.report.failed.is_some()) {
        ("broken", Style::Bad, Outcome::Waiting)
    } else if !check.is_empty() {
        ("works now, but check says broken", Style::Bad, Outcome::Waiting)
    } else if trials.iter().any(|tried| tried.report.ordinary_pages) {
        ("works, without huge pages", Style::Advice, Outcome::Advice)
    } else {
        ("works", Style::Good, Outcome::Fine)
    }
}

fn finish(json: bool, trials: Vec<Tried>, check: Vec<Finding>) -> Result<Outcome> {
    let (verdict, style, outcome) = verdict(&trials, &check);
    if json {
        report::json(&Output { verdict, trials, check })?;
        return Ok(outcome);
    }
    report::out(&format!("{}\n", report::colour(style, verdict)));
    if !check.is_empty() {
        let mut ids: Vec<_> = check.iter().map(|finding| finding.id).collect();
        ids.dedup();
        report::out(&format!("vhost-accord check: {}\n", ids.join(", ")));
    } else if outcome == Outcome::Waiting {
        report::out("'vhost-accord check' finds nothing wrong: one of the two has a bug, please report it\n");
    }
    Ok(outcome)
}
