// SPDX-License-Identifier: Apache-2.0
//! A value that counts, and where it is from.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use serde::Serialize;

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Built in.
    Default,
    /// A file and the line in it, counted from 1.
    File(PathBuf, usize),
    /// A dataplane's driver read it there.
    Looked(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::Looked(place) => f.write_str(place),
        }
    }
}

/// A value that counts, as text, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effective {
    /// The text of the value.
    pub value: String,
    /// Who set it.
    pub origin: Origin,
    /// What was found on the node where that decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

/// Checks one value; the error says where it was set and what was expected.
pub(super) fn checked<T>(
    name: &str,
    found: &Effective,
    check: impl Fn(&str) -> Result<T, String>,
) -> Result<T> {
    check(&found.value)
        .map_err(|expected| anyhow!("{}: {name} = {}: expected {expected}", found.origin, found.value))
}
