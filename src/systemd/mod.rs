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

use anyhow::{Context, Result, bail};

use crate::base::root::Root;
pub use declared::declared;
pub use fact::UnitFact;

/// One question to systemd takes no longer.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Restarting or reloading a service, or reading all units again, takes no longer.
const JOB_LIMIT: Duration = Duration::from_secs(330);

/// Who knows the units.
pub trait Units: fmt::Debug {
    /// What is known of a unit; `None` when there is none of that name. A name without suffix is an error.
    fn unit(&self, name: &str) -> Result<Option<UnitFact>>;
}

/// What can be done to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Its daemon reads its configuration again; nothing is restarted.
    Reload,
    /// It is restarted, or started if it does not run, and is waited for until it is up.
    Restart,
    /// It is started and waited for until it is up, as long as this: OVS's units allow themselves 300 s (`TimeoutSec=`).
    Start(Duration),
    /// It is stopped and waited for until it is down, as long as this.
    Stop(Duration),
    /// Earlier failures are forgotten, so that they do not count against its start limit. Fails where nothing is known of
    /// the unit.
    Forgive,
    /// All its processes get SIGKILL.
    Kill,
}

/// Who can also act on them.
pub trait ServiceManager: Units {
    /// Makes systemd read the unit files again.
    fn reload(&self) -> Result<()>;
    /// Does this to a unit. An error says why it is not done.
    fn act(&self, act: Act, name: &str) -> Result<()>;
}

/// The best way to systemd: for an image the unit files; on the live node D-Bus, or `systemctl` where D-Bus does not
/// answer. An error on a live node that does not run it.
pub fn connect(root: &Root) -> Result<Box<dyn ServiceManager + '_>> {
    if root.report().is_some() {
        return Ok(Box::new(report::Told(root)));
    }
    if !root.is_live() {
        return Ok(Box::new(image::Image(root)));
    }
    // What sd_booted(3) looks at.
    if root.find(Path::new("/run/systemd/system"))?.is_none() {
        bail!("this node was not booted with systemd (/run/systemd/system is missing)");
    }
    #[cfg(feature = "dbus")]
    match dbus::Bus::system() {
        Ok(bus) => return Ok(Box::new(bus)),
        Err(error) => tracing::debug!("{error:#}, asking systemctl instead"),
    }
    let systemctl = systemctl::Systemctl;
    systemctl.unit("-.mount").context("asking systemd")?;
    Ok(Box::new(systemctl))
}
