// SPDX-License-Identifier: Apache-2.0
//! What OVSDB says of vhost-user ports from now on: `monitor_cond` since OVS 2.6, `monitor` (RFC 7047, section 4.1.5) before.
//! A port is told before ovs-vswitchd creates its socket. Nothing here blocks once it has begun.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use super::client::{DATABASE, MAX_RECEIVED, echo};
use super::ports::{TABLE, VhostPort, port};
use super::switch::settings;
use super::{Ovsdb, SwitchConfig};
use crate::config::PortType;

/// The columns by which a port is known, and those that say how it is.
const PORT_COLUMNS: [&str; 6] = ["name", "type", "options", "status", "ofport", "error"];
/// The table of the settings.
const SETTINGS: &str = "Open_vSwitch";
/// No switch has more vhost-user ports.
const MAX_ROWS: usize = 65_536;

/// Rows by their UUID.
type Rows = BTreeMap<String, Map<String, Value>>;

/// A session that the server tells all changes to.
#[derive(Debug)]
pub struct Monitor {
    stream: UnixStream,
    received: Vec<u8>,
    ports: Rows,
    settings: Rows,
    /// An echo of ours has no answer yet.
    asked: bool,
}

/// What a look at the session showed.
#[derive(Debug, Default)]
pub struct Changed {
    /// Ports that are new or have changed.
    pub ports: Vec<VhostPort>,
    /// Ports have gone, or the settings have changed.
    pub others: bool,
}

impl Changed {
    /// Nothing.
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty() && !self.others
    }
}

impl Monitor {
    /// Asks for all changes, over a connection that was made just now.
    ///
    /// # Errors
    /// The server does not know either method, or does not answer in time.
    pub fn begin(mut ovsdb: Ovsdb) -> Result<Monitor> {
        let of_type = PortType::ALL.map(|kind| json!(["type", "==", kind.as_str()]));
        let columns = |filter: Value| {
            let mut ports = json!({"columns": PORT_COLUMNS});
            if !filter.is_null() {
                ports["where"] = filter;
            }
            json!([DATABASE, "ports", {TABLE: [ports], SETTINGS: [{"columns": ["other_config"]}]}])
        };
        let initial = match ovsdb.exchange("monitor_cond", columns(json!(of_type))) {
            Ok(initial) => initial,
            Err(_) => {
                ovsdb.exchange("monitor", columns(Value::Null)).context("asking OVSDB for all changes")?
            }
        };
        let (stream, received) = ovsdb.into_stream();
        stream.set_nonblocking(true)?;
        let (ports, settings) = (Rows::new(), Rows::new());
        let mut monitor = Monitor { stream, received, ports, settings, asked: false };
        monitor.update(&initial, &mut Changed::default())?;
        Ok(monitor)
    }

    /// The settings and the ports, as told so far. A row that is none is left out: it is nobody's socket.
    ///
    /// # Errors
    /// There are no settings.
    pub fn switch(&self) -> Result<(SwitchConfig, Vec<VhostPort>)> {
        let rows: Vec<Value> = self.settings.values().cloned().map(Value::Object).collect();
        let ports = self.ports.iter().filter_map(|(uuid, row)| read(uuid, row)).collect();
        Ok((settings(&rows)?, ports))
    }

    /// Takes what has come.
    ///
    /// # Errors
    /// The session has ended, or says what is no JSON-RPC.
    pub fn read(&mut self) -> Result<Changed> {
        let mut changed = Changed::default();
        let mut buffer = [0; 16 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!("OVSDB closed the connection"),
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("reading from OVSDB"),
            }
            if self.received.len() > MAX_RECEIVED {
                bail!("OVSDB says more than {} MiB at once", MAX_RECEIVED >> 20);
            }
        }
        self.messages(&mut changed)?;
        Ok(changed)
    }

    /// To be called now and then: over a Unix socket the server never asks whether we live, so we ask it.
    ///
    /// # Errors
    /// The server did not answer since the last call.
    pub fn ask_for_life(&mut self) -> Result<()> {
        if self.asked {
            bail!("OVSDB does not answer");
        }
        self.asked = true;
        self.send(&json!({"id": "echo", "method": "echo", "params": []}))
    }

    fn messages(&mut self, changed: &mut Changed) -> Result<()> {
        let received = std::mem::take(&mut self.received);
        let mut stream = serde_json::Deserializer::from_slice(&received).into_iter::<Value>();
        let mut whole = 0;
        while let Some(message) = stream.next() {
            match message {
                Ok(message) => self.message(&message, changed)?,
                Err(error) if error.is_eof() => break,
                Err(error) => return Err(error).context("reading from OVSDB"),
            }
            whole = stream.byte_offset();
        }
        self.received = received[whole..].to_vec();
        Ok(())
    }

    fn message(&mut self, message: &Value, changed: &mut Changed) -> Result<()> {
        match message.get("method").and_then(Value::as_str) {
            Some("echo") => self.send(&echo(message)),
            Some("update2" | "update") => self.update(&message["params"][1], changed),
            Some("monitor_canceled") => bail!("OVSDB ended the monitor"),
            Some(_) => Ok(()),
            None => {
                self.asked &= message.get("id") != Some(&json!("echo"));
                Ok(())
            }
        }
    }

    fn update(&mut self, tables: &Value, changed: &mut Changed) -> Result<()> {
        let tables = tables.as_object().context("OVSDB's update is no object")?;
        for (table, rows) in tables {
            for (uuid, update) in rows.as_object().context("OVSDB's update has no rows")? {
                if table == TABLE {
                    merge(&mut self.ports, uuid, update, is_vhost)?;
                    match self.ports.get(uuid).and_then(|row| read(uuid, row)) {
                        Some(port) => changed.ports.push(port),
                        None => changed.others = true,
                    }
                } else {
                    merge(&mut self.settings, uuid, update, |_| true)?;
                    changed.others = true;
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, message: &Value) -> Result<()> {
        let bytes = serde_json::to_vec(message)?;
        self.stream.write_all(&bytes).context("writing to OVSDB")
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn read(uuid: &str, row: &Map<String, Value>) -> Option<VhostPort> {
    let mut row = row.clone();
    row.insert("_uuid".to_string(), json!(["uuid", uuid]));
    port(&Value::Object(row)).ok()
}

fn is_vhost(row: &Map<String, Value>) -> bool {
    PortType::ALL.iter().any(|kind| row.get("type").and_then(Value::as_str) == Some(kind.as_str()))
}

/// One row's update in either form (ovsdb-server(7), "Monitor Cond"): `initial`, `insert` and `new` have the row, without what
/// is default; `modify` has what differs.
fn merge(rows: &mut Rows, uuid: &str, update: &Value, wanted: fn(&Map<String, Value>) -> bool) -> Result<()> {
    let whole = ["initial", "insert", "new"].into_iter().find_map(|key| update.get(key)?.as_object());
    if let Some(row) = whole {
        if !wanted(row) {
            rows.remove(uuid);
        } else if rows.len() < MAX_ROWS || rows.contains_key(uuid) {
            rows.insert(uuid.to_string(), row.clone());
        } else {
            bail!("OVSDB has more than {MAX_ROWS} ports");
        }
        return Ok(());
    }
    let Some(differing) = update.get("modify").and_then(Value::as_object) else {
        rows.remove(uuid);
        return Ok(());
    };
    let row = rows.get_mut(uuid).context("OVSDB modifies a row that it did not tell of")?;
    for (column, value) in differing {
        let now = row.entry(column.clone()).or_insert(Value::Null);
        match value.get(0).and_then(Value::as_str) {
            Some("map") => modify_map(now, value),
            // Of a set, only that it differs; no such column is gone by.
            Some("set") => *now = Value::Null,
            _ => *now = value.clone(),
        }
    }
    Ok(())
}

/// Of a map: pairs that only one of both has, and new values of keys that both have.
fn modify_map(now: &mut Value, differing: &Value) {
    let pairs = |value: &Value| value[1].as_array().cloned().unwrap_or_default();
    let mut result = pairs(now);
    for pair in pairs(differing) {
        let same = result.contains(&pair);
        result.retain(|other| other[0] != pair[0]);
        if !same {
            result.push(pair);
        }
    }
    *now = json!(["map", result]);
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::dataplane::conversation::Bounded;

    const PORT: &str = "2f77b348-9768-4866-b761-89d5177ecda0";
    const OWN: &str = "2f77b348-9768-4866-b761-89d5177ecda1";

    /// A server that answers each request with the next line and then says the rest.
    fn session(answers: &'static [&'static str], rest: &'static str) -> (Result<Monitor>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut server = theirs.try_clone().unwrap();
        let serving = thread::spawn(move || {
            let mut requests =
                serde_json::Deserializer::from_reader(server.try_clone().unwrap()).into_iter::<Value>();
            for answer in answers {
                requests.next();
                server.write_all(answer.as_bytes()).unwrap();
            }
            server.write_all(rest.as_bytes()).unwrap();
        });
        let deadline = Instant::now() + Duration::from_secs(5);
        let ovsdb = Ovsdb::over(Bounded::over(ours, deadline, MAX_RECEIVED).unwrap());
        let monitor = Monitor::begin(ovsdb);
        serving.join().unwrap();
        (monitor, theirs)
    }

    fn paths(monitor: &Monitor) -> Vec<String> {
        let (config, ports) = monitor.switch().unwrap();
        ports.iter().map(|port| config.expected_socket(port).display().to_string()).collect()
    }

    #[test]
    fn a_row_is_told_whole_then_by_what_differs() {
        let (monitor, _server) = session(
            &[
                r#"{"id":0,"error":null,"result":{"Open_vSwitch":{"u":{"initial":{"other_config":["map",[["vhost-sock-dir","sub"]]]}}}}}"#,
            ],
            r#"{"id":null,"method":"update2","params":["ports",{"Interface":{"2f77b348-9768-4866-b761-89d5177ecda0":{"insert":{"name":"vhuc0","type":"dpdkvhostuser","status":["map",[["a","b"]]]}}}}]}{"id":"x","method":"ec"#,
        );
        let mut monitor = monitor.unwrap();
        let told = monitor.read().unwrap();
        assert_eq!((told.ports.len(), told.others), (1, false));
        assert_eq!(paths(&monitor), ["/run/openvswitch/sub/vhuc0"]);
        let modify = |monitor: &mut Monitor, update: &str| {
            let update: Value = serde_json::from_str(update).unwrap();
            let mut changed = Changed::default();
            monitor.update(&json!({TABLE: {PORT: update}}), &mut changed).unwrap();
            changed
        };
        modify(
            &mut monitor,
            r#"{"modify":{"status":["map",[["a","b"],["socket","/var/run/openvswitch/x"]]],"ofport":["set",[1]]}}"#,
        );
        assert_eq!(paths(&monitor), ["/run/openvswitch/x"]);
        modify(&mut monitor, r#"{"modify":{"status":["map",[["socket","/var/run/openvswitch/y"]]]}}"#);
        assert_eq!(paths(&monitor), ["/run/openvswitch/y"]);
        assert!(modify(&mut monitor, r#"{"delete":null}"#).others);
        assert!(paths(&monitor).is_empty());
    }

    #[test]
    fn an_old_server_is_asked_in_the_old_way() {
        let (monitor, server) = session(
            &[
                r#"{"id":0,"error":"unknown method","result":null}"#,
                r#"{"id":1,"error":null,"result":{"Open_vSwitch":{"u":{"new":{"other_config":["map",[]]}}},"Interface":{"2f77b348-9768-4866-b761-89d5177ecda0":{"new":{"name":"vhuc0","type":"dpdkvhostuser","options":["map",[]]}},"2f77b348-9768-4866-b761-89d5177ecda1":{"new":{"name":"br0","type":"internal"}}}}}"#,
            ],
            "",
        );
        let mut monitor = monitor.unwrap();
        assert_eq!(paths(&monitor), ["/run/openvswitch/vhuc0"]);
        assert!(!monitor.ports.contains_key(OWN));
        monitor.ask_for_life().unwrap();
        let mut line = String::new();
        drop(BufReader::new(server.try_clone().unwrap()).take(39).read_line(&mut line));
        assert!(line.contains("echo"), "{line}");
        assert!(monitor.ask_for_life().is_err(), "nobody answered");
        drop(server);
        assert!(monitor.read().is_err(), "and then it went");
    }
}
