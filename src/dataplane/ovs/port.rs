// SPDX-License-Identifier: Apache-2.0
//! A port's type and the path of its socket in OVSDB: the only code that writes there. One transaction compares and sets,
//! so that nobody's change in between is lost; other options, and all else of the port, stay.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::base::root::Root;
use crate::config::PortType;
use crate::dataplane::ovs::database;
use crate::dataplane::ovs::ovsdb::{Ovsdb, VhostPort};

pub use crate::dataplane::ovs::ovsdb::PortState;

const SWITCH: &str = "Open_vSwitch";
const INTERFACE: &str = "Interface";
const SERVER_PATH: &str = "vhost-server-path";
/// Between two looks at what ovs-vswitchd made of it.
const PAUSE: Duration = Duration::from_millis(5);

/// Converts a port from one type to the other, and waits until ovs-vswitchd has done so. A port that has the type already is not
/// changed. If ovs-vswitchd cannot create it, it is restored.
///
/// # Errors
/// OVSDB cannot be asked, the port is not as `from` says, or ovs-vswitchd did not apply it before `deadline`. The port is then as
/// it was, unless the error says that it could not be restored.
pub fn turn(root: &Root, from: &PortState, to: &PortState, deadline: Instant) -> Result<()> {
    let mut ovsdb = connect(root, deadline)?;
    let Some(sequence) = set(&mut ovsdb, from, to)? else { return Ok(()) };
    let Err(error) = settle(&mut ovsdb, to, sequence, deadline) else { return Ok(()) };
    // The first conversation may have no time left.
    match connect(root, Instant::now() + PATIENCE).and_then(|mut ovsdb| set(&mut ovsdb, to, from)) {
        Ok(_) => Err(error),
        Err(also) => Err(error.context(format!("port {} could not be restored: {also:#}", from.name))),
    }
}

/// Time to restore a port: OVSDB answered a moment ago.
const PATIENCE: Duration = Duration::from_millis(500);

/// Restores a converted port, without waiting for ovs-vswitchd. `false`: it was restored already.
///
/// # Errors
/// OVSDB cannot be asked, or the port is neither as it was made nor as it was before.
pub fn put_back(root: &Root, before: &PortState, made: &PortState, limit: Duration) -> Result<bool> {
    let mut ovsdb = connect(root, Instant::now() + limit)?;
    Ok(set(&mut ovsdb, made, before)?.is_some())
}

fn connect(root: &Root, deadline: Instant) -> Result<Ovsdb> {
    let limit = deadline.saturating_duration_since(Instant::now());
    database::connect(root, limit)
}

/// Writes it. Returns `None` if nothing changes, else the number of the configuration that ovs-vswitchd must reach.
fn set(ovsdb: &mut Ovsdb, from: &PortState, to: &PortState) -> Result<Option<i64>> {
    let name = &from.name;
    let found = ovsdb.port_named(name).with_context(|| format!("asking for port {name}"))?;
    let (port, options) = found.with_context(|| format!("port {name} does not exist"))?;
    if port.state() == *to {
        return Ok(None);
    }
    if port.state() != *from {
        bail!("port {name} is now {}, not {} as before", describe(&port.state()), describe(from));
    }
    let results = ovsdb.transact(&operations(&port, &options, to)?);
    let results = results.with_context(|| format!("changing port {name} to {}", describe(to)))?;
    let row = results.last().and_then(|result| result["rows"].get(0));
    row.and_then(|row| row["next_cfg"].as_i64()).map(Some).context("OVSDB's reply has no next_cfg")
}

/// In one transaction: whoever changed type or options since they were read makes all of it fail. `next_cfg` tells
/// ovs-vswitchd's answer from an older one, as for ovs-vsctl (ovs-vswitchd.conf.db(5)).
fn operations(port: &VhostPort, options: &Value, to: &PortState) -> Result<Vec<Value>> {
    let this = json!([["_uuid", "==", ["uuid", port.uuid]]]);
    let read = json!([{"type": port.kind.as_str(), "options": options}]);
    let mut mutations = vec![json!(["options", "delete", ["set", [SERVER_PATH]]])];
    if let Some(path) = &to.server_path {
        let path = path.to_str().with_context(|| format!("{} is not UTF-8 text", path.display()))?;
        mutations.push(json!(["options", "insert", ["map", [[SERVER_PATH, path]]]]));
    }
    Ok(vec![
        json!({"op": "wait", "timeout": 0, "table": INTERFACE, "where": this, "columns": ["type", "options"],
            "until": "==", "rows": read}),
        json!({"op": "update", "table": INTERFACE, "where": this, "row": {"type": to.kind.as_str()}}),
        json!({"op": "mutate", "table": INTERFACE, "where": this, "mutations": mutations}),
        json!({"op": "mutate", "table": SWITCH, "where": [], "mutations": [["next_cfg", "+=", 1]]}),
        json!({"op": "select", "table": SWITCH, "where": [], "columns": ["next_cfg"]}),
    ])
}

/// Waits until ovs-vswitchd has this configuration, and asks how it went.
fn settle(ovsdb: &mut Ovsdb, to: &PortState, sequence: i64, deadline: Instant) -> Result<()> {
    let question = json!({"op": "select", "table": SWITCH, "where": [], "columns": ["cur_cfg"]});
    loop {
        let late = || format!("ovs-vswitchd did not change port {} to {} in time", to.name, describe(to));
        let results = ovsdb.transact(std::slice::from_ref(&question)).with_context(late)?;
        let current = results.first().and_then(|result| result["rows"][0]["cur_cfg"].as_i64());
        if current.is_some_and(|current| current >= sequence) {
            break;
        }
        if Instant::now() + PAUSE >= deadline {
            bail!(late());
        }
        std::thread::sleep(PAUSE);
    }
    let made = ovsdb.port_named(&to.name)?.map(|(port, _)| port);
    let made = made.with_context(|| format!("port {} no longer exists", to.name))?;
    match (&made.error, made.ofport) {
        (Some(error), _) => bail!("ovs-vswitchd cannot change port {} to {}: {error}", to.name, describe(to)),
        (None, Some(-1)) => bail!("port {} has no OpenFlow number as a {}", to.name, describe(to)),
        (None, _) => Ok(()),
    }
}

/// In words.
pub fn describe(state: &PortState) -> String {
    match (&state.kind, &state.server_path) {
        (PortType::Dpdkvhostuserclient, Some(path)) => format!("dpdkvhostuserclient at {}", path.display()),
        (kind, _) => kind.to_string(),
    }
}
