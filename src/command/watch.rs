// SPDX-License-Identifier: Apache-2.0
//! `watch`: the service, and `--once`, which does its work once.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::plan::Plan;
use super::{Outcome, apply, boot, check};
use crate::accord::Agreed;
use crate::base::journald::{DRIFT_FIXED, Priority, log};
use crate::base::lock::{Busy, Lock};
use crate::base::root::Root;
use crate::base::text::log_line;
use crate::cli::WatchArgs;
use crate::config::Drift;
use crate::items::{Change, preflight};
use crate::node::live::Live;
use crate::report;
use crate::rules::Finding;
use crate::rules::endpoints::Judged;
use crate::sockets::grant::{self, Giving};
use crate::survey::{Options, Survey};
use crate::systemd;
use crate::watch;

/// How long `--settle` waits.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Default, Serialize)]
struct Output<'a> {
    verdict: &'static str,
    findings: &'a [Finding],
    /// Targets of the accord that another program changed, and that were restored.
    fixed: Vec<String>,
    /// Another vhost-accord changed the node meanwhile: what was seen may be incomplete, so no finding is reported.
    busy: bool,
}

pub fn run(args: &WatchArgs) -> Result<Outcome> {
    if args.settle {
        return watch::settle(PATIENCE).map(|()| Outcome::Fine);
    }
    let root = super::open_root("/".as_ref(), true)?;
    if boot::is_stock(&root)? {
        report::complain("vhost-accord: apply was never run on this node: nothing to watch");
        return Ok(Outcome::Fine);
    }
    if args.once {
        return once(&root, args);
    }
    watch::run(&root).map(|()| Outcome::Fine)
}

fn once(root: &Root, args: &WatchArgs) -> Result<Outcome> {
    let mut output = Output::default();
    match seen(root, args, &mut output) {
        Err(error) if args.json && error.is::<Busy>() => {
            report::json(&Output { verdict: "unknown", busy: true, ..output })?;
            Ok(Outcome::Advice)
        }
        judged => tell(&judged?, output, args.json),
    }
}

fn seen(root: &Root, args: &WatchArgs, output: &mut Output<'_>) -> Result<Judged> {
    let (mut judged, survey) = look(root)?;
    if let Some(found) = &survey {
        give(root, found.live.as_ref())?;
        if found.config.watch.drift == Drift::Fix && due(root, found, &args.leave)?.next().is_some() {
            output.fixed = fix(root, &args.leave)?;
            judged = look(root)?.0;
        }
    }
    Ok(judged)
}

/// As `check` does.
///
/// # Errors
/// [`Busy`]: another run changed the node during the look.
fn look(root: &Root) -> Result<(Judged, Option<Survey>)> {
    let before = Lock::last(root)?;
    let looked = check::look(root)?;
    if Lock::last(root)? != before {
        return Err(Busy::default().into());
    }
    Ok(looked)
}

/// Sockets that are not granted yet.
fn give(root: &Root, live: Option<&Live>) -> Result<()> {
    let (Some(agreed), Some(live)) = (Agreed::trusted(root), live) else { return Ok(()) };
    grant::make_all(root, &grant::plan(&Giving::agreed(&agreed), &live.sockets)).map(drop)
}

/// What an `apply` made and something else changed.
fn due<'a>(
    root: &Root,
    survey: &'a Survey,
    leave: &'a [String],
) -> Result<impl Iterator<Item = Change> + 'a> {
    let directories = Agreed::trusted(root).map(|agreed| agreed.directories).unwrap_or_default();
    // An apply whose restart is pending or was killed is not complete.
    let goes_on = survey.journal.restarting;
    let ours = move |change: &Change| {
        !goes_on
            && boot::is_agreed(change, &survey.journal, &directories)
            && !leave.contains(&change.target().0)
    };
    Ok(survey.changes().into_iter().filter(ours))
}

/// Restores it with the journal, as `apply` does, so that `revert` still restores the state before the first `apply`. Returns the
/// targets.
fn fix(root: &Root, leave: &[String]) -> Result<Vec<String>> {
    let _lock = Lock::take_to_fix(root)?;
    // Look again: another run may have made what was seen before.
    if boot::is_stock(root)? {
        return Ok(Vec::new());
    }
    let manager = systemd::connect(root)?;
    let mut survey = Survey::take(root, manager.as_ref(), Options::default())?;
    let changes: Vec<Change> = due(root, &survey, leave)?.collect();
    let mut fixed = Vec::new();
    for change in changes {
        let target = change.target().0;
        let plan = Plan { changes: vec![change], outdated: Vec::new(), grants: Vec::new() };
        let made = preflight::check(root, &plan.changes)
            .and_then(|()| apply::execute(root, &mut survey, &plan))
            .with_context(|| format!("fixing {target}"));
        if let Err(error) = made {
            tracing::warn!("{}", log_line(&format!("{error:#}")));
            continue;
        }
        let line = format!("{target}: something else had changed it; fixed");
        log(Priority::Notice, &line, &[("VA_TARGET", &target), ("MESSAGE_ID", DRIFT_FIXED)]);
        if plan.changes.iter().any(apply::concerns_systemd) {
            manager.reload()?;
        }
        fixed.push(target);
    }
    if !fixed.is_empty() {
        apply::catch_up(root, manager.as_ref(), Survey::take(root, manager.as_ref(), Options::default())?)?;
    }
    Ok(fixed)
}

fn tell(judged: &Judged, output: Output<'_>, json: bool) -> Result<Outcome> {
    let (verdict, outcome) = check::verdict(&judged.findings);
    if !json {
        let fixed: String = output.fixed.iter().map(|target| format!("fixed: {target}\n")).collect();
        report::out(&report::clean(&fixed));
        return check::tell(judged, None, &[], false);
    }
    report::json(&Output { verdict, findings: &judged.findings, ..output })?;
    Ok(outcome)
}
