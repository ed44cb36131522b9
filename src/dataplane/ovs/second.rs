// SPDX-License-Identifier: Apache-2.0
//! A second Open vSwitch on the node, as a container or another instance is: `[dataplane NAME]` with `driver = ovs`. Its database,
//! its run directory and its unit are its own; the sockets of its ports are given as those of every section.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::ovsdb::{Join, OVSDB_LIMIT, Ovsdb, SwitchConfig};
use super::paths;
use super::sockets::{Switch, kept};
use super::vswitchd::VSWITCHD;
use crate::base::root::Root;
use crate::config::{Declaration, Declared, Sockets};
use crate::dataplane::Guarded;
use crate::dataplane::driver::{Driver, Looking, option, unclear};
use crate::facts::Known;
use crate::systemd::UnitFact;

/// Database and user by the arguments of its ovs-vswitchd. Ports are not the driver's to tell: they are asked as the node's
/// own are, with all that OVSDB knows of them ([`Second`]).
pub const DRIVER: Driver = Driver { name: "ovs", unit: None, look, umask: None, ports: None };

/// Of a container the arguments are those of its manager, and its paths not the node's: there `control` says it.
fn look(_root: &Root, unit: &UnitFact, section: &mut Declaration) -> Result<(), Looking> {
    let place = format!("ExecStart of {}", unit.name);
    let found = database(unit);
    match found {
        Some(path) => section.fill("control", path, &place),
        None if section.get("control").is_none_or(|control| control == "none") => {
            let what = "set control, its database's socket first: {} has no unix:/PATH";
            return Err(unclear(what.replace("{}", &place)));
        }
        None => {}
    }
    if let Some(user) = option(unit, &["--user"]).filter(|_| found.is_some()) {
        let (user, group) = user.split_once(':').map_or((user, None), |(user, group)| (user, Some(group)));
        section.fill("user", user, &place);
        if let Some(group) = group {
            section.fill("group", group, &place);
        }
    }
    match section.get("sockets") {
        Some(_) => Ok(()),
        None => Err(unclear(
            "set sockets: DIRECTORY/PATTERN of its dpdkvhostuser ports; or, with made-by = qemu, the directory of its \
             dpdkvhostuserclient ports"
                .to_string(),
        )),
    }
}

/// By the arguments of its ovs-vswitchd (ovs-vswitchd(8)): `ovs-vswitchd [DATABASE]`.
fn database(unit: &UnitFact) -> Option<&str> {
    let words = unit.exec_start.first()?;
    let program = words.first().and_then(|program| Path::new(program).file_name());
    let paths = words.iter().filter_map(|word| word.strip_prefix("unix:"));
    let mut paths = paths.filter(|path| path.starts_with('/') && !path.contains('%'));
    paths.next().filter(|_| program.is_some_and(|name| name == VSWITCHD))
}

/// Where a unit's switch has the sockets of its `dpdkvhostuser` ports, by the same.
pub fn run_directory(unit: &UnitFact) -> Option<&Path> {
    Path::new(database(unit)?).parent()
}

/// One, by its section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Second {
    /// The section.
    pub name: String,
    /// The service that runs it.
    pub unit: String,
    /// The socket of its database.
    pub database: PathBuf,
    /// Where its ports have their sockets.
    pub sockets: Sockets,
}

impl Second {
    /// The section's, if it is of this driver: the first of `control` is the database's socket.
    pub fn of(declared: &Declared) -> Option<Second> {
        let database = declared.control.first().filter(|_| declared.driver == DRIVER.name)?.clone();
        let (name, unit, sockets) = (declared.name.clone(), declared.unit.clone(), declared.sockets.clone());
        Some(Second { name, unit, database, sockets })
    }

    /// As lines call it.
    pub fn text(&self) -> String {
        format!("[dataplane {}]", self.name)
    }

    /// Connects to its database; `limit` is for the whole conversation.
    pub fn connect(&self, root: &Root, limit: Duration) -> Result<Ovsdb> {
        if let Some(report) = root.report() {
            return Err(report.lacks("an answer of a second OVSDB"));
        }
        Ovsdb::connect(root, &self.database, limit)
    }

    /// What it knows of the sockets at these paths.
    pub fn ask(&self, root: &Root, paths: &[&Path], limit: Duration) -> Result<Join> {
        let join = self.connect(root, limit)?.ask(paths)?.answer()?;
        Ok(Join { config: self.placed(join.config), ..join })
    }

    /// Its settings, with where its run directory is: OVSDB does not say it.
    fn placed(&self, config: SwitchConfig) -> SwitchConfig {
        SwitchConfig { run: Some(self.run().to_path_buf()), ..config }
    }

    /// What it keeps for itself: as the switch that is asked, in its own run directory.
    pub fn guarded(&self, root: &Root) -> Result<Vec<Guarded>> {
        kept(root, self.run())
    }

    /// OVS has its database's socket there (`ovs_rundir()`, lib/dirs.c.in).
    fn run(&self) -> &Path {
        self.database.parent().unwrap_or(Path::new(paths::RUN))
    }
}

/// One with all its ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// Which.
    pub second: Second,
    /// Its unit runs, and so its database was asked.
    pub runs: bool,
    /// What its database says.
    pub switch: Known<Switch>,
}

impl Looked {
    /// Asks those of these sections; one that does not run is not asked. `runs` says it of a unit.
    pub fn all<'a>(
        root: &Root,
        sections: impl Iterator<Item = &'a Declared>,
        runs: impl Fn(&str) -> Result<bool>,
    ) -> Result<Vec<Looked>> {
        // A section for each type of port is usual.
        let mut asked = HashMap::new();
        let look = |second: Second| {
            let runs = runs(&second.unit)?;
            let ask = || match runs {
                true => Known::from(ask(root, &second)),
                false => Known::Unknown(format!("{} does not run", second.unit)),
            };
            let switch = asked.entry(second.database.clone()).or_insert_with(ask).clone();
            Ok(Looked { second, runs, switch })
        };
        sections.filter_map(Second::of).map(look).collect()
    }
}

fn ask(root: &Root, second: &Second) -> Result<Switch> {
    let mut ovsdb = second.connect(root, OVSDB_LIMIT)?;
    Ok(Switch { config: second.placed(ovsdb.switch()?), ports: ovsdb.ports()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MadeBy;
    use crate::dataplane::drivers::tests::of_unit;

    #[test]
    fn database_and_user_are_those_of_its_unit() {
        let unit = "/usr/sbin/ovs-vswitchd --user 42:43 unix:/run/ovs2/db.sock --pidfile=/run/ovs2/a.pid";
        let found = of_unit(&DRIVER, "sockets = /run/ovs2/vh*\n", unit).unwrap();
        assert_eq!((found.user.as_deref(), found.group.as_deref()), (Some("42"), Some("43")));
        let second = Second::of(&found).unwrap();
        assert_eq!(second.run(), Path::new("/run/ovs2"));
        assert_eq!(second.database, Path::new("/run/ovs2/db.sock"));
        let client = "made-by = qemu\nsockets = /run/ovs2-vms\n";
        assert_eq!(of_unit(&DRIVER, client, unit).unwrap().made_by, MadeBy::Qemu);
        // QEMU would reach the database.
        let error = of_unit(&DRIVER, "sockets = /run/ovs2/*\n", unit).unwrap_err();
        assert!(error.contains("control: expected paths that sockets does not have"), "{error}");
        assert!(of_unit(&DRIVER, "", unit).unwrap_err().starts_with("set sockets: "));
    }

    #[test]
    fn of_a_container_the_section_says_them() {
        let unit = "/usr/bin/podman run ovs ovs-vswitchd unix:/run/openvswitch/db.sock";
        let error = of_unit(&DRIVER, "sockets = /run/ovs2/vh*\n", unit).unwrap_err();
        let expected = "set control, its database's socket first: ExecStart of a.service";
        assert!(error.starts_with(expected), "{error}");
        let section = "sockets = /run/ovs2/vh*\ncontrol = /run/ovs2/db.sock\nuser = 42\n";
        let error = of_unit(&DRIVER, section, unit).unwrap_err();
        assert_eq!(error, "set group: no account has the number 42");
        let found = of_unit(&DRIVER, &format!("{section}group = 43\n"), unit).unwrap();
        assert_eq!(Second::of(&found).unwrap().database, Path::new("/run/ovs2/db.sock"));
    }
}
