// SPDX-License-Identifier: Apache-2.0
//! `revert --dry-run`: what `revert` would restore.

use anyhow::Result;
use serde::Serialize;

use super::Outcome;
use super::plan::{Step, steps_text};
use super::restart::touched_services;
use crate::base::root::Root;
use crate::fixes;
use crate::journal::Journal;
use crate::report;
use crate::survey::{Options, Survey};
use crate::systemd::ServiceManager;

#[derive(Debug, Serialize)]
struct Output {
    steps: Vec<Step>,
    /// Units that run with the previous state only after a restart.
    waiting: Vec<String>,
}

/// Lists the last change first, in the order of `revert`. Exit code 2 if there is any, as with `plan`.
pub fn run(root: &Root, manager: &dyn ServiceManager, json: bool) -> Result<Outcome> {
    let journal = Journal::read(root)?;
    let entries = journal.entries.iter().rev();
    let steps: Vec<Step> =
        entries.map(|entry| Step::undoing(entry, "its previous state is restored")).collect();
    let survey = Survey::take(root, manager, Options::default()).ok();
    let waiting = survey.map(|survey| touched_services(&survey, &journal)).unwrap_or_default();
    let outcome = if steps.is_empty() { Outcome::Fine } else { Outcome::Waiting };
    let output = Output { steps, waiting };
    report::tell(json, &output, || match output.steps.len() {
        0 => "Nothing to revert.\n".to_string(),
        count => format!(
            "{}\n{}; run '{}' to restore them.\n",
            steps_text(&output.steps),
            report::count(count, "change"),
            fixes::own("revert", root)
        ),
    })?;
    Ok(outcome)
}
