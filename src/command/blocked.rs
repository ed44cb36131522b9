// SPDX-License-Identifier: Apache-2.0
//! `check` where no accord can be made: what is in the way is the finding. For monitoring a broken node is one that is
//! broken, not a program that failed.

use anyhow::Result;
use serde::Serialize;

use super::Outcome;
use super::check::finding_text;
use crate::accord::Obstacle;
use crate::catalogue;
use crate::cli::OutputArgs;
use crate::report::{self, Style};
use crate::rules::{Finding, Level};

#[derive(Serialize)]
struct Output {
    version: u32,
    verdict: &'static str,
    findings: Vec<Finding>,
}

/// Tells the obstacle as a finding; any other error stays one.
pub fn tell(args: &OutputArgs, error: anyhow::Error) -> Result<Outcome> {
    let obstacle = error.downcast::<Obstacle>()?;
    let cause = "plan and apply stop here; what else does not agree is found once this is out of the way";
    let finding = Finding {
        id: obstacle.id,
        level: Level::Broken,
        subject: "the accord".to_string(),
        seen: obstacle.what,
        cause: catalogue::find(obstacle.id).map_or(cause, |entry| entry.cause),
        mend: obstacle.mend,
        restart: None,
    };
    if args.json {
        report::json(&Output { version: 1, verdict: "broken", findings: vec![finding] })?;
    } else {
        report::out(&finding_text(&finding));
        report::out(&format!("{}\n", report::colour(Style::Bad, "broken")));
    }
    Ok(Outcome::Waiting)
}
