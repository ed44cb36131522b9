// SPDX-License-Identifier: Apache-2.0
//! What a unit is without what this program adds to it.

use std::path::Path;

use anyhow::Result;

use super::UnitFact;
use crate::base::paths::{DROP_IN, PACKAGED_UNITS};
use crate::base::root::{Kind, Root};
use crate::edit::unit::UnitText;

/// What fragment and drop-ins of a unit declare together, ours left out.
pub fn declared(root: &Root, unit: &UnitFact) -> Result<UnitText> {
    let foreign = |path: &&Path| path.file_name().is_none_or(|name| name != DROP_IN);
    let drop_ins = unit.drop_ins.iter().map(|path| path.as_path()).filter(foreign);
    // A masked unit leads to /dev/null; what it is comes back as its package has it.
    let packaged = PACKAGED_UNITS.map(|directory| Path::new(directory).join(&unit.name));
    let mut fragment = unit.fragment.as_deref();
    if unit.load_state == "masked" {
        fragment = None;
        for path in &packaged {
            let is_file = root.find(path)?.is_some_and(|found| found.kind() == Kind::File);
            fragment = fragment.or(Some(path.as_path()).filter(|_| is_file));
        }
    }
    let mut texts = Vec::new();
    for path in fragment.into_iter().chain(drop_ins) {
        if let Some(text) = root.read_text(path)? {
            texts.push(UnitText::parse(&text));
        }
    }
    Ok(UnitText::merge(texts))
}
