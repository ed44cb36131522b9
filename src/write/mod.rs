// SPDX-License-Identifier: Apache-2.0
//! The primitives that write. Each acts on what was found, by descriptor, and resolves no path again: at most one name in
//! one directory that is held open. Each says in its error what it did to which path, and by which system call.

mod attributes;
mod entries;
mod owner;
mod replace;

pub use entries::{create_directory, remove_empty_directory, remove_file, replace_link};
pub use owner::{regroup, set_owner_mode, set_special};
pub use replace::{FileMeta, remove_temporary, replace_file, temporary_name};

use std::fmt;
use std::path::{Path, PathBuf};

/// Something stands there that must not be written to: an attack, a mistake, or a node that changed under our hands. Not
/// an I/O error; found by `downcast_ref` in the error's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What was not touched.
    pub path: PathBuf,
    /// Why not.
    pub why: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, not touched", self.path.display(), self.why)
    }
}

impl std::error::Error for Refused {}

/// The error for something that is not touched.
pub fn refused(path: &Path, why: impl Into<String>) -> anyhow::Error {
    Refused { path: path.to_path_buf(), why: why.into() }.into()
}
