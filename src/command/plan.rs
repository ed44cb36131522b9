// SPDX-License-Identifier: Apache-2.0
//! `plan`: what `apply` would change.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::Outcome;
use super::propose::{self, Proposal};
use crate::access::owner_text;
use crate::accord::{Obstacle, is_left_to};
use crate::base::paths;
use crate::base::root::Root;
use crate::cli::PlanCommandArgs;
use crate::config::Proposed;
use crate::dataplane::declared::Problem;
use crate::dataplane::ovs::modes::Modes;
use crate::fixes;
use crate::items::{Change, Item};
use crate::journal::Entry;
use crate::profile::QemuConf;
use crate::report::{self, Style};
use crate::rules::Finding;
use crate::sockets::grant::{self, Giving, Grant};
use crate::survey::{Options, Survey};
use crate::systemd;

/// All that an `apply` would do.
#[derive(Debug)]
pub struct Plan {
    /// What does not hold.
    pub changes: Vec<Change>,
    /// What is no longer asked for.
    pub outdated: Vec<Entry>,
    /// Grants on existing sockets.
    pub grants: Vec<Grant>,
}

impl Plan {
    /// Makes the plan of a survey. An [`Obstacle`] if a change could break the node.
    pub fn of(survey: &Survey) -> Result<Plan> {
        let changes = survey.changes();
        if let Some(QemuConf::Invalid(why)) = survey.profile.hypervisor.as_ref().map(|found| &found.conf)
            && survey.config.managed.has("qemu-conf")
        {
            let fix = "correct the line first; libvirt does not start with this file".to_string();
            return Err(Obstacle { id: "qemu-conf-invalid", what: why.clone(), fix }.into());
        }
        let sockets = survey.live.as_ref().map(|live| live.sockets.as_slice()).unwrap_or_default();
        let mut grants = grant::plan(&Giving::of(&survey.accord), sockets);
        grants.extend_from_slice(&survey.grants);
        Ok(Plan { changes, outdated: survey.outdated(), grants })
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.outdated.is_empty() && self.grants.is_empty()
    }

    pub fn steps(&self, survey: &Survey) -> Vec<Step> {
        let names = &survey.accounts;
        let change = |change: &Change| Step::new(change.target().0, change.show(names));
        let outdated =
            |entry: &Entry| Step::undoing(entry, "no longer configured: its previous state is restored");
        let grant = |grant: &Grant| {
            let path = report::one_line(&grant.path.display().to_string());
            let before = owner_text(names, grant.uid, grant.gid_before, grant.mode_before);
            let after = owner_text(names, grant.uid, grant.gid, grant.mode);
            Step::new(path.clone(), format!("- {path}  {before}\n+ {path}  {after}\n"))
        };
        let changes = self.changes.iter().map(change);
        changes.chain(self.outdated.iter().map(outdated)).chain(self.grants.iter().map(grant)).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub target: String,
    pub diff: String,
}

impl Step {
    fn new(target: impl Into<String>, diff: String) -> Step {
        Step { target: target.into(), diff }
    }

    pub fn undoing(entry: &Entry, why: &str) -> Step {
        let target = entry.change.target();
        let diff = format!("- {target}  ({why})\n");
        Step::new(target.0, diff)
    }
}

/// What they change.
pub fn steps_text(steps: &[Step]) -> String {
    steps.iter().map(|step| coloured(&report::clean(&step.diff))).collect()
}

/// Added and removed lines in their colours.
pub fn coloured(diff: &str) -> String {
    let line = |line: &str| match line.chars().next() {
        Some('+') => report::colour(Style::Good, line),
        Some('-') => report::colour(Style::Bad, line),
        _ => line.to_string(),
    };
    diff.lines().map(|text| format!("{}\n", line(text))).collect()
}

#[derive(Serialize)]
struct Output<'a> {
    /// What `modes = look` found.
    #[serde(skip_serializing_if = "Option::is_none")]
    modes: Option<&'a Modes>,
    steps: Vec<Step>,
    waiting: Vec<Finding>,
    /// Sections that the configuration could have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    proposed: Vec<Proposal>,
    /// Sections of dataplanes that are ignored.
    #[serde(skip_serializing_if = "<[Problem]>::is_empty")]
    sections: &'a [Problem],
    /// What the first boot of a node from this image has to do: target, and the file that says it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    first_boot: Vec<Left>,
    /// What the report lacks, and is therefore unknown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown: Vec<String>,
}

pub fn run(args: &PlanCommandArgs) -> Result<Outcome> {
    let PlanCommandArgs { plan: args, with, sos } = args;
    let root = super::open_root_or_report(sos.as_deref(), &args.output.root, false)?;
    let manager = systemd::connect(&root)?;
    let proposed = with.as_deref().map(proposed).transpose()?;
    let options = Options { renumber: args.renumber, proposed, ..Options::default() };
    let survey = Survey::take(&root, manager.as_ref(), options)?;
    let plan = Plan::of(&survey)?;
    let waiting: Vec<Finding> =
        survey.findings().into_iter().filter(|finding| finding.restart.is_some()).collect();
    let output = Output {
        modes: survey.modes.as_ref(),
        steps: plan.steps(&survey),
        waiting,
        proposed: propose::proposals(&root, manager.as_ref(), &survey)?,
        sections: &survey.profile.problems,
        first_boot: first_boot(&root, &survey)?,
        unknown: super::lacking(&root),
    };
    report::tell(args.output.json, &output, || text(&output, &root, &survey))?;
    Ok(match (plan.is_empty(), output.unknown.is_empty()) {
        (true, true) => Outcome::Fine,
        (true, false) => Outcome::Advice,
        (false, _) => Outcome::Waiting,
    })
}

fn text(output: &Output<'_>, root: &Root, survey: &Survey) -> String {
    let coloured = |style, line: &str| report::colour(style, &format!("{}\n", report::one_line(line)));
    let mut text = super::lacking_text(&output.unknown);
    if let Some(modes) = output.modes {
        text.push_str(&coloured(Style::Dim, &format!("modes = look: {}", modes.text())));
    }
    for problem in output.sections {
        let Problem { section, fix, .. } = problem;
        let line = format!("[dataplane {section}] {}; fix: {fix}", problem.text());
        text.push_str(&coloured(Style::Bad, &line));
    }
    match output.steps.len() {
        0 => {
            let known = if output.unknown.is_empty() { "" } else { " in what is known" };
            text.push_str(&format!("Nothing to change{known}.\n"));
            text.push_str(&super::blast::waiting_text(survey, &output.waiting));
        }
        count => {
            let count = report::count(count, "change");
            text.push_str(&steps_text(&output.steps));
            text.push_str(&format!("\n{count}; run '{}' to make them.\n", fixes::own("apply", root)));
        }
    }
    text.extend(output.proposed.iter().map(|proposal| format!("\n{}", proposal.text())));
    let left = |Left { target, by }: &Left| {
        format!("{}\n", report::one_line(&format!("left to the first boot: {target} ({by})")))
    };
    text.extend(output.first_boot.iter().map(left));
    text
}

#[derive(Serialize)]
struct Left {
    target: String,
    by: &'static str,
}

/// What an ostree image leaves to the first boot, because the node keeps its own account files and `/var`.
fn first_boot(root: &Root, survey: &Survey) -> Result<Vec<Left>> {
    if root.runs() || root.find_nofollow(Path::new(paths::OSTREE))?.is_none() {
        return Ok(Vec::new());
    }
    let left = |item: &Item| Some(Left { target: item.target().0, by: is_left_to(item)? });
    Ok(survey.accord.items.iter().filter_map(left).collect())
}

/// The largest drop-in that is read.
const LARGEST: u64 = 1 << 20;

fn proposed(file: &Path) -> Result<Proposed> {
    let name = file.file_name().filter(|_| file.extension().is_some_and(|extension| extension == "conf"));
    let name = name.with_context(|| format!("{}: a drop-in's name ends with .conf", file.display()))?;
    let text = String::from_utf8(super::read_bounded(file, LARGEST)?);
    let text = text.with_context(|| format!("{} is not UTF-8", file.display()))?;
    Ok(Proposed { name: name.to_os_string(), text })
}
