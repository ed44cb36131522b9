// SPDX-License-Identifier: Apache-2.0
//! What is about no VM in particular: the switch's daemon, its database, and what could not be read.

use super::{Judged, Trouble, running};
use crate::dataplane::ovs::control::{self, Control};
use crate::dataplane::ovs::vswitchd::Vswitchd;
use crate::facts::Known;
use crate::hook::Subject;
use crate::node::endpoints::Endpoints;
use crate::rules::Case;

/// What is about no VM in particular.
pub fn general(judged: &mut Judged, case: &Case<'_>, endpoints: &Endpoints) {
    if let (Known::Unknown(why), true) = (&endpoints.switch, case.accord.dataplane.is_some()) {
        let running = endpoints.vswitchd != Vswitchd::NotRunning;
        let asked = endpoints.machines.iter().any(|machine| machine.start.asks_switch);
        if running && asked {
            let fix = "ovs-vsctl --timeout=5 show".to_string();
            let subject = "Open vSwitch".to_string();
            judged.add(Trouble { id: "switch-unknown", subject, seen: why.clone(), fix });
        }
    }
    if let Some(trouble) = hung(case, endpoints) {
        judged.add(trouble);
    }
    for waiting in &endpoints.waiting {
        judged.add(running::waits(endpoints, waiting));
    }
    for file in &endpoints.unread {
        let subject = file.path.display().to_string();
        let fix = format!("xmllint --noout {}", crate::base::shell::path(&file.path));
        judged.add(Trouble { id: "domain-unreadable", subject, seen: file.error.clone(), fix });
    }
}

/// What no VM can be judged without; the rule of that id names it, once for the node.
pub fn absent(id: &'static str, subject: &str) -> Trouble {
    Trouble { id, subject: subject.to_string(), seen: String::new(), fix: String::new() }
}

/// It runs and answers nobody.
pub fn hung(node: &Case<'_>, endpoints: &Endpoints) -> Option<Trouble> {
    let (Control::Silent(state), Some(process)) = (&endpoints.control, endpoints.vswitchd.process()) else {
        return None;
    };
    let subject = format!("ovs-vswitchd (pid {})", process.pid);
    let (seen, fix) = match (control::is_stopped(*state), state) {
        (true, _) => ("is stopped by a signal (state T)".to_string(), format!("kill -CONT {}", process.pid)),
        (false, state) => {
            let state = state.map(|state| format!(" (state {state})")).unwrap_or_default();
            let seen = format!("does not answer on its control socket{state}");
            let unit = &node.accord.dataplane.as_ref()?.switch_unit;
            (seen, format!("systemctl restart {}", crate::base::shell::quote(unit)))
        }
    };
    Some(Trouble { id: "dataplane-hung", subject, seen, fix })
}

pub fn not_running(node: &Case<'_>, subject: &Subject) -> Trouble {
    if node.profile.dataplane.is_none() {
        return absent("no-dataplane", "openvswitch");
    }
    let unit = subject.agreed.as_ref().and_then(|agreed| agreed.dataplane.as_ref());
    let unit = unit.map_or("openvswitch-switch", |dataplane| dataplane.unit.as_str());
    let fix = format!("systemctl start {}", crate::base::shell::quote(unit));
    let (subject, seen) = ("ovs-vswitchd".to_string(), "is not running".to_string());
    Trouble { id: "dataplane-not-running", subject, seen, fix }
}
