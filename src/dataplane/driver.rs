// SPDX-License-Identifier: Apache-2.0
//! What a driver is: it finds what a section `[dataplane NAME]` leaves out in the dataplane's own configuration, and asks the
//! dataplane for its ports, if that is possible. All else is the same for every section.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::base::root::Root;
use crate::config::{Declaration, Declared, MadeBy};
use crate::systemd::UnitFact;

/// A kind of dataplane.
#[derive(Debug)]
pub struct Driver {
    /// As the key `driver` names it.
    pub name: &'static str,
    /// The unit that its packages have.
    pub unit: Option<&'static str>,
    /// Fills what the section leaves out.
    pub look: fn(&Root, &UnitFact, &mut Declaration) -> Result<(), Looking>,
    /// The umask that its unit gets if it creates the sockets: only for a program that closes its control sockets itself, whatever
    /// the umask.
    pub umask: Option<u32>,
    /// Asks for its ports; none where it cannot be asked.
    pub ports: Option<Asking>,
}

/// Asks a dataplane that runs, within [`LIMIT`].
pub type Asking = fn(&Root, &Declared) -> Result<Vec<Port>>;

/// What a dataplane may take to answer, and how much it may say.
pub const LIMIT: Duration = Duration::from_secs(2);
/// Some hundred bytes for a port.
pub const MOST: usize = 4 << 20;

/// Why a section is ignored.
#[derive(Debug)]
pub enum Looking {
    /// What is wrong with it: a finding's id, what was seen, and the fix.
    Problem(&'static str, String, String),
    /// Something could not be read.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Looking {
    fn from(error: anyhow::Error) -> Looking {
        Looking::Failed(error)
    }
}

/// What is searched for is missing or ambiguous: the section must set it.
pub fn unclear(what: String) -> Looking {
    Looking::Problem(
        "dataplane-section-unclear",
        what,
        "edit the section; vhost-accord.conf(5) has its keys".to_string(),
    )
}

/// The value of an option of the unit's program, as `-r VALUE` or `--name=VALUE`. With a specifier of systemd's in it, it is
/// none: only systemd knows it whole.
pub fn option<'a>(unit: &'a UnitFact, names: &[&str]) -> Option<&'a str> {
    let words = unit.exec_start.first()?;
    let value = |(number, word): (usize, &'a String)| {
        let (name, value) =
            word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
        names.contains(&name).then(|| value.or_else(|| words.get(number + 1).map(String::as_str)))?
    };
    words.iter().enumerate().find_map(value).filter(|value| !value.contains('%'))
}

/// A vhost-user socket, as the dataplane itself reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Its name there.
    pub name: String,
    /// The socket.
    pub path: PathBuf,
    /// Who creates it.
    pub made_by: MadeBy,
    /// Whether a VM is connected.
    pub connected: bool,
    /// Why it could not connect or listen the last time.
    pub error: Option<String>,
}
