// SPDX-License-Identifier: Apache-2.0
//! systemd: what a unit really does, and starting and stopping it. Over D-Bus, through `systemctl`, or, for an unbooted
//! image, from the unit files; of a report, from what it has of both.

#[cfg(feature = "dbus")]
pub mod dbus;
mod declared;
mod fact;
pub mod image;
mod live;
pub mod report;
pub mod systemctl;
mod words;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::base::root::Root;
pub use declared::declared;
pub use fact::UnitFact;

/// One question to systemd takes no longer.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Restarting or reloading a service, or reading all units again, takes no longer.
const JOB_LIMIT: Duration = Duration::from_secs(330);

/// This node does not run systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSystemd;

impl fmt::Display for NoSystemd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this node was not booted with systemd (/run/systemd/system is missing)")
    }
}

impl std::error::Error for NoSystemd {}

/// Who knows the units.
pub trait Units: fmt::Debug {
    /// What is known of a unit; `None` when there is none of that name. A name without suffix is an error.
    fn unit(&self, name: &str) -> Result<Option<UnitFact>>;
}

/// Who can also act on them.
pub trait ServiceManager: Units {
    /// Makes systemd read the unit files again.
    fn reload(&self) -> Result<()>;
    /// Tells a unit's daemon to read its configuration again; nothing is restarted.
    fn reload_unit(&self, name: &str) -> Result<()>;
    /// Restarts a unit, or starts it if it does not run, and waits until it is up. An error says why it is not.
    fn restart(&self, name: &str) -> Result<()>;
    /// Starts a unit and waits until it is up, as long as `limit`: OVS's units allow themselves 300 s (`TimeoutSec=`).
    fn start(&self, name: &str, limit: Duration) -> Result<()>;
    /// Stops a unit and waits until it is down, as long as `limit`.
    fn stop(&self, name: &str, limit: Duration) -> Result<()>;
    /// Forgets earlier failures of a unit, so that they do not count against its start limit.
    fn forgive(&self, name: &str);
    /// Sends SIGKILL to all processes of a unit.
    fn kill(&self, name: &str) -> Result<()>;
}

/// The best way to systemd: for an image the unit files; on the live node D-Bus, or `systemctl` where D-Bus does not
/// answer. A [`NoSystemd`] error on a live node that does not run it.
pub fn connect(root: &Root) -> Result<Box<dyn ServiceManager + '_>> {
    if root.report().is_some() {
        return Ok(Box::new(report::Told::new(root)));
    }
    if !root.is_live() {
        return Ok(Box::new(image::Image::new(root)));
    }
    // What sd_booted(3) looks at.
    if root.find(Path::new("/run/systemd/system"))?.is_none() {
        return Err(NoSystemd.into());
    }
    #[cfg(feature = "dbus")]
    match dbus::Bus::system() {
        Ok(bus) => return Ok(Box::new(bus)),
        Err(error) => tracing::debug!("{error:#}, asking systemctl instead"),
    }
    let systemctl = systemctl::Systemctl::new();
    systemctl.unit("-.mount").context("asking systemd")?;
    Ok(Box::new(systemctl))
}
