// SPDX-License-Identifier: Apache-2.0
//! `check` where no accord can be made: what is in the way is the finding. For monitoring a broken node is one that is
//! broken, not a program that failed.

use anyhow::Result;

use crate::accord::Obstacle;
use crate::catalogue;
use crate::rules::{Finding, Level};

/// The obstacle as a finding; any other error stays one.
pub fn finding(error: anyhow::Error) -> Result<Finding> {
    let obstacle = error.downcast::<Obstacle>()?;
    let cause = "plan and apply stop here; fix this first, then run check again for other findings";
    Ok(Finding {
        id: obstacle.id,
        level: Level::Broken,
        subject: "configuration".to_string(),
        seen: obstacle.what,
        cause: catalogue::find(obstacle.id).map_or(cause, |entry| entry.cause),
        fix: obstacle.fix,
        restart: None,
    })
}
