// SPDX-License-Identifier: Apache-2.0
//! `check` where no accord can be made: what is in the way is the finding. For monitoring a broken node is one that is
//! broken, not a program that failed.

use anyhow::Result;

use crate::accord::Obstacle;
use crate::rules::{self, Evidence, Finding};

/// The obstacle as a finding; any other error stays one.
pub fn finding(error: anyhow::Error) -> Result<Finding> {
    let obstacle = error.downcast::<Obstacle>()?;
    let evidence = Evidence::fixed_by("configuration", &obstacle.what, &obstacle.fix);
    rules::finding(obstacle.id, evidence).ok_or_else(|| obstacle.into())
}
