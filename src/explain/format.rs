// SPDX-License-Identifier: Apache-2.0
//! The form of the tables in `tables/`. An entry begins with `[ID] CLASS`; a line `KEY: VALUE` belongs to the entry above it.
//! `$NAME = VALUE` names what several entries say as `KEY: $NAME`. What is none of this is an error.

use std::collections::HashMap;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde::de::IntoDeserializer as _;
use serde::de::value::Error;

use super::Class;

/// What a table is of.
pub(super) trait Entry: Sized {
    fn new(id: &'static str, class: Class) -> Self;
    /// Takes a line; an error if it has no such key, or the value is none for it.
    fn take(&mut self, key: &str, value: &'static str) -> Result<()>;
}

pub(super) fn read<T: Entry>(table: &'static str) -> Result<Vec<T>> {
    let (mut entries, mut names) = (Vec::<T>::new(), HashMap::new());
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        read_line(line, &mut entries, &mut names).with_context(|| format!("'{line}'"))?;
    }
    Ok(entries)
}

fn read_line<T: Entry>(
    line: &'static str,
    entries: &mut Vec<T>,
    names: &mut HashMap<&str, &'static str>,
) -> Result<()> {
    if let Some((id, class)) = line.strip_prefix('[').and_then(|head| head.split_once("] ")) {
        entries.push(T::new(id, word(class)?));
    } else if let Some((name, value)) = line.strip_prefix('$').and_then(|line| line.split_once(" = ")) {
        ensure!(names.insert(name, value).is_none(), "named before");
    } else {
        let (key, value) = line.split_once(": ").context("not 'KEY: VALUE'")?;
        let named = |name| names.get(name).copied().context("of no such name");
        let value = value.strip_prefix('$').map_or(Ok(value), named)?;
        ensure!(!value.is_empty() && value == value.trim(), "a value neither begins nor ends with a blank");
        entries.last_mut().context("of no entry")?.take(key, value)?;
    }
    Ok(())
}

/// A value of an enumeration, by its name in JSON.
pub(super) fn word<T: Deserialize<'static>>(word: &'static str) -> Result<T> {
    let read: Result<T, Error> = T::deserialize(word.into_deserializer());
    Ok(read?)
}

pub(super) fn words<T: Deserialize<'static>>(list: &'static str) -> Result<Vec<T>> {
    list.split(", ").map(word).collect()
}

/// For a key that an entry has once.
pub(super) fn once(field: &mut &'static str, value: &'static str) -> Result<()> {
    ensure!(field.is_empty(), "a second one");
    *field = value;
    Ok(())
}
