// SPDX-License-Identifier: Apache-2.0
//! What libvirt says itself, by its own tool: virsh(1). Its answer has what its files have not: defaults filled in, and
//! the form in which a definition can be given back. Only commands ask; a hook that did would wait for itself.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::base::program;

/// Where every distribution has it.
pub const PROGRAM: &str = "/usr/bin/virsh";
/// libvirt answers in milliseconds, unless a hook of this very VM hangs.
const LIMIT: Duration = Duration::from_secs(15);
/// The system's QEMU driver, whatever the environment prefers.
pub const VIRSH: [&str; 3] = ["--quiet", "--connect", "qemu:///system"];

/// A domain as libvirt has it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// `shut off`, `running`, `paused`...
    pub state: String,
    /// It has a definition that outlives its process.
    pub persistent: bool,
    /// Its memory is in a file, and its next start goes on from there.
    pub saved: bool,
}

impl Info {
    /// It has no process.
    pub fn is_off(&self) -> bool {
        matches!(self.state.as_str(), "shut off" | "crashed")
    }
}

/// Asks virsh. `domain` is a UUID: a name could be taken for a number or an option.
fn ask(arguments: &[&str]) -> Result<String> {
    program::run(Path::new(PROGRAM), &[&VIRSH, arguments].concat(), LIMIT)
}

/// The state of the domain with this UUID.
pub fn info(uuid: &str) -> Result<Info> {
    parse_info(&ask(&["dominfo", uuid])?)
}

/// Something of the domain is under way that takes time: it is being saved, migrated, dumped.
pub fn is_busy(uuid: &str) -> Result<bool> {
    let Ok(said) = ask(&["domjobinfo", uuid]) else { return Ok(false) };
    let kind = said.lines().find_map(|line| line.strip_prefix("Job type:"));
    Ok(kind.is_some_and(|kind| kind.trim() != "None"))
}

/// The persistent definition, with what only root may see; none where there is no such domain.
pub fn definition(uuid: &str) -> Result<Option<String>> {
    match ask(&["dumpxml", "--inactive", "--security-info", uuid]) {
        // tools/virsh-util.c, `virshCommandOptDomainInternal`.
        Err(error) if format!("{error:#}").contains("failed to get domain") => Ok(None),
        found => found.map(Some),
    }
}

/// The XML in the file that the next start goes on from.
pub fn saved(uuid: &str) -> Result<String> {
    ask(&["managedsave-dumpxml", "--security-info", uuid])
}

/// The output of `virsh dominfo` in the C locale (tools/virsh-domain-monitor.c, `cmdDominfo`).
pub fn parse_info(text: &str) -> Result<Info> {
    let value = |key: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
    };
    let said = |key: &str| match value(key).with_context(|| format!("virsh dominfo without '{key}'"))? {
        "yes" => Ok(true),
        "no" => Ok(false),
        other => bail!("virsh dominfo: {key} is '{}'", other.escape_debug()),
    };
    let state = value("State").context("virsh dominfo without 'State'")?.to_string();
    Ok(Info { state, persistent: said("Persistent")?, saved: said("Managed save")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "Id:             -\nName:           vmc\nUUID:           f4e3\nOS Type:        hvm\n\
        State:          shut off\nPersistent:     yes\nAutostart:      disable\nManaged save:   no\n\
        Security label: +64055:+42477\n";

    #[test]
    fn a_domain_is_read() {
        let info = parse_info(SAID).unwrap();
        assert_eq!(info, Info { state: "shut off".to_string(), persistent: true, saved: false });
        assert!(info.is_off());
        assert!(!parse_info(&SAID.replace("shut off", "paused")).unwrap().is_off());
        for bad in ["", "State: running\n", &SAID.replace("save:   no", "save:   unknown")] {
            assert!(parse_info(bad).is_err(), "{bad}");
        }
    }
}
