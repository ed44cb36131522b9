// SPDX-License-Identifier: Apache-2.0
//! A fact that may have stayed unknown.

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// A fact, or why it could not be read. For callers that must go on without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Known<T> {
    /// It was read.
    Known(T),
    /// It could not be read: why, in one line.
    Unknown(String),
}

impl<T> Known<T> {
    /// The fact, if it was read.
    pub fn known(&self) -> Option<&T> {
        match self {
            Known::Known(fact) => Some(fact),
            Known::Unknown(_) => None,
        }
    }

    /// Why it could not be read.
    pub fn why(&self) -> Option<&String> {
        match self {
            Known::Known(_) => None,
            Known::Unknown(why) => Some(why),
        }
    }

    /// Something of the fact.
    pub fn map<U>(&self, of: impl FnOnce(&T) -> U) -> Known<U> {
        match self {
            Known::Known(fact) => Known::Known(of(fact)),
            Known::Unknown(why) => Known::Unknown(why.clone()),
        }
    }
}

impl<T> From<Result<T>> for Known<T> {
    fn from(result: Result<T>) -> Self {
        match result {
            Ok(fact) => Known::Known(fact),
            Err(error) => Known::Unknown(format!("{error:#}")),
        }
    }
}
