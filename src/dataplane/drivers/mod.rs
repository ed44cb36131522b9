// SPDX-License-Identifier: Apache-2.0
//! The drivers there are, one file each, and what can be asked of all.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::driver::{Driver, Port};
use crate::base::root::Root;
use crate::config::Declared;
use crate::facts::Known;

macro_rules! drivers {
    ($($module:ident,)+) => {
        $(mod $module;)+

        const DRIVERS: &[&Driver] = &[$(&$module::DRIVER),+];
    };
}

// A new one is a file in this folder with its `DRIVER`, and a line here. `make fmt` formats these files, too.
drivers! {
    declared,
    ovs,
    spdk,
    virtiofs,
    vpp,
}

/// The driver of this name.
pub fn find(name: &str) -> Result<&'static Driver, String> {
    let names = || DRIVERS.iter().map(|driver| driver.name).collect::<Vec<_>>().join(", ");
    let found = DRIVERS.iter().copied().find(|driver| driver.name == name);
    found.ok_or_else(|| format!("one of {} (the node's own Open vSwitch needs no section)", names()))
}

/// Drivers whose program has a unit of its own, by name and unit.
pub fn packaged() -> impl Iterator<Item = (&'static str, &'static str)> {
    DRIVERS.iter().filter_map(|driver| Some((driver.name, driver.unit?)))
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
    /// Asks, within [`LIMIT`](super::driver::LIMIT). One that does not run is not asked, and a report has no answers.
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
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::config::{Config, Raw};
    use crate::dataplane::declared;
    use crate::facts::accounts::Accounts;
    use crate::systemd::image::Image;

    /// What a section of this driver comes to by the command of its unit.
    pub fn of_unit(driver: &Driver, section: &str, command: &str) -> Result<Declared, String> {
        looked(driver, section, &[("/etc/systemd/system/a.service", &format!("ExecStart={command}"))])
    }

    /// The same on a node with these files.
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
        let (mut found, mut problems) =
            declared::look(&root, &Image(&root), &accounts, &config).map_err(|error| format!("{error:#}"))?;
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
