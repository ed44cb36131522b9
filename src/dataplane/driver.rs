// SPDX-License-Identifier: Apache-2.0
//! What a driver is: what a section `[dataplane NAME]` need not say, because it stands in the dataplane's own configuration,
//! and the dataplane's ports, where it can be asked for them. All else is the same for every section.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::ovs::second;
use super::{declared, spdk, virtiofs, vpp};
use crate::base::root::Root;
use crate::config::{Declaration, Declared, MadeBy};
use crate::facts::Known;
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
    /// The umask that its unit gets where it creates the sockets: only for a program that keeps what is its own closed by
    /// itself, whatever the umask.
    pub umask: Option<u32>,
    /// Asks for its ports; none where it cannot be asked.
    pub ports: Option<Asking>,
}

/// Asks a dataplane that runs, within [`LIMIT`].
type Asking = fn(&Root, &Declared) -> Result<Vec<Port>>;

/// All of them. A new one is a file, a `mod` line and a name here.
const DRIVERS: &[&Driver] =
    &[&declared::DRIVER, &second::DRIVER, &spdk::DRIVER, &virtiofs::DRIVER, &vpp::DRIVER];

/// What a dataplane may take to answer, and how much it may say.
pub const LIMIT: Duration = Duration::from_secs(2);
/// Some hundred bytes for a port.
pub const MOST: usize = 4 << 20;

/// The driver of this name.
pub fn find(name: &str) -> Result<&'static Driver, String> {
    let names = || DRIVERS.iter().map(|driver| driver.name).collect::<Vec<_>>().join(", ");
    let found = DRIVERS.iter().copied().find(|driver| driver.name == name);
    found.ok_or_else(|| format!("one of {} (the node's own Open vSwitch needs no section)", names()))
}

/// Why a section does not count.
#[derive(Debug)]
pub enum Looking {
    /// What is wrong with it: a finding's id, what was seen, and what to do.
    Problem(&'static str, String, String),
    /// Something could not be read.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Looking {
    fn from(error: anyhow::Error) -> Looking {
        Looking::Failed(error)
    }
}

/// What is looked for is not there or not clear: the section has to say it.
pub fn unclear(what: String) -> Looking {
    Looking::Problem(
        "dataplane-section-unclear",
        what,
        "edit the section; vhost-accord.conf(5) has its keys".to_string(),
    )
}

/// Drivers whose program has a unit of its own, by name and unit.
pub fn packaged() -> impl Iterator<Item = (&'static str, &'static str)> {
    DRIVERS.iter().filter_map(|driver| Some((driver.name, driver.unit?)))
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

/// A vhost-user socket as a dataplane itself tells of it.
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

/// The ports of a section's dataplane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ports {
    /// The section.
    pub section: String,
    /// What it said; none where it is not asked.
    pub ports: Option<Known<Vec<Port>>>,
}

impl Ports {
    /// Asks, within [`LIMIT`]. One that does not run is not asked, and a report has no answers.
    pub fn ask(root: &Root, declared: &Declared, runs: bool) -> Ports {
        let asks = find(&declared.driver).ok().and_then(|driver| driver.ports);
        let asks = asks.filter(|_| runs && root.report().is_none());
        Ports { section: declared.name.clone(), ports: asks.map(|ask| Known::from(ask(root, declared))) }
    }

    /// The port whose socket this is.
    pub fn at(&self, path: &Path) -> Option<&Port> {
        let ports = self.ports.as_ref().and_then(Known::known)?;
        ports.iter().find(|port| crate::base::paths::same_path(&port.path, path))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use tempfile::TempDir;

    use super::*;
    use crate::config::{Config, Raw};
    use crate::dataplane::declared;
    use crate::facts::accounts::Accounts;
    use crate::systemd::image::Image;

    /// What a section of this driver comes to on a node with these files.
    pub fn looked(driver: &Driver, section: &str, files: &[(&str, &str)]) -> Result<Declared, String> {
        let tree = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = tree.path().join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("etc/passwd", "root:x:0:0::/root:/bin/sh\n");
        write("etc/group", "root:x:0:\nvpp:x:990:\n");
        for (path, text) in files {
            let is_unit = path.ends_with(".service");
            write(path, &if is_unit { format!("[Service]\n{text}\n") } else { text.to_string() });
        }
        let root = Root::open(tree.path()).unwrap();
        let unit = if driver.unit.is_some() { "" } else { "unit = a.service\n" };
        let text = format!("[dataplane a]\ndriver = {}\n{unit}{section}", driver.name);
        let mut raw = Raw::defaults();
        raw.overlay(Path::new("/etc/a.conf"), &text).unwrap();
        let config = Config::from_raw(&raw).map_err(|error| error.to_string())?;
        let accounts = Accounts::read_files(&root).unwrap();
        let (mut found, mut problems) = declared::look(&root, &Image::new(&root), &accounts, &config)
            .map_err(|error| format!("{error:#}"))?;
        problems.pop().map_or_else(|| Ok(found.remove(0).declared), |problem| Err(problem.what))
    }

    /// A server for one connection.
    pub fn served(serve: impl FnOnce(&mut UnixStream) + Send + 'static) -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || serve(&mut listener.accept().unwrap().0));
        (directory, path)
    }
}
