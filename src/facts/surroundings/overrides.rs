// SPDX-License-Identifier: Apache-2.0
//! Drop-ins that systemd reads after ours: where they set what ours sets, theirs is in force.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use crate::base::root::Root;
use crate::edit::shell::EnvFile;
use crate::edit::unit::UnitText;
use crate::systemd::UnitFact;

/// A drop-in of someone else that counts after ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LaterDropIn {
    /// The unit.
    pub unit: String,
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub text: UnitText,
    /// Variables in the files that it names by `EnvironmentFile=`, and the file of each.
    pub variables: Vec<(String, PathBuf)>,
}

/// `ours` are our drop-ins, each with its unit.
pub(super) fn read(root: &Root, ours: &[(&str, &Path)], units: &[UnitFact]) -> Result<Vec<LaterDropIn>> {
    let mut found = Vec::new();
    for (name, ours) in ours {
        let Some(unit) = units.iter().find(|unit| unit.name == *name) else { continue };
        let later = unit.drop_ins.iter().skip_while(|path| path != ours).skip(1);
        for path in later {
            // What is no text, or a link that is not to be followed, is systemd's matter.
            let Ok(Some(text)) = root.read_text(path) else { continue };
            let text = UnitText::parse(&text);
            let variables = variables(root, &text);
            found.push(LaterDropIn { unit: unit.name.clone(), path: path.clone(), text, variables });
        }
    }
    Ok(found)
}

fn variables(root: &Root, text: &UnitText) -> Vec<(String, PathBuf)> {
    let files = text.list("Service", "EnvironmentFile").into_iter();
    let files = files.map(|file| Path::new(file.trim_start_matches('-'))).filter(|path| path.is_absolute());
    let read = |path: &Path| {
        let content = root.read_text(path).ok().flatten().unwrap_or_default();
        let names = EnvFile::parse(&content);
        names.iter().map(|(name, _)| (name.to_string(), path.to_path_buf())).collect::<Vec<_>>()
    };
    files.flat_map(read).collect()
}
