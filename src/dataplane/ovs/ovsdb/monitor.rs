// SPDX-License-Identifier: Apache-2.0
//! What OVSDB says of vhost-user ports from now on: `monitor_cond` since OVS 2.6, `monitor` (RFC 7047, section 4.1.5) before.
//! A port is told before ovs-vswitchd creates its socket. Nothing here blocks once it has begun. Of a port, name and path are kept.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{DATABASE, MAX_RECEIVED, echo};
use super::ports::{TABLE, VhostPort, columns};
use super::switch::settings;
use super::value::{map, string};
use super::{OVSDB_LIMIT, Ovsdb, SwitchConfig};
use crate::config::PortType;

/// The columns by which a port is known, and those that say how it is: that they change is told as well.
const PORT_COLUMNS: [&str; 6] = ["name", "type", "options", "status", "ofport", "error"];
/// No switch has more vhost-user ports.
const MAX_ROWS: usize = 65_536;

/// A session that the server tells all changes to.
#[derive(Debug)]
pub struct Monitor {
    stream: UnixStream,
    received: Vec<u8>,
    /// By their UUID.
    ports: BTreeMap<String, Rc<VhostPort>>,
    config: Option<SwitchConfig>,
    /// Since when an echo of ours has no answer.
    asked: Option<Instant>,
}

/// What a look at the session showed.
#[derive(Debug, Default)]
pub struct Changed {
    /// Ports that came, changed or went, in this order.
    pub ports: Vec<ChangedPort>,
    /// The settings: any port may have its socket elsewhere.
    pub settings: bool,
}

/// One port.
#[derive(Debug)]
pub struct ChangedPort {
    /// As it was; none: it came.
    pub before: Option<Rc<VhostPort>>,
    /// As it is; none: it went.
    pub now: Option<Rc<VhostPort>>,
}

impl Changed {
    /// Nothing.
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty() && !self.settings
    }
}

/// An update's tables, of which each has rows by their UUID.
#[derive(Debug, Deserialize)]
struct Tables {
    #[serde(rename = "Interface", default)]
    ports: BTreeMap<String, Update>,
    #[serde(rename = "Open_vSwitch", default)]
    settings: BTreeMap<String, Value>,
}

/// A port's update. Made as soon as it is read: a first answer of a thousand ports is never there as a whole.
#[derive(Debug, Deserialize)]
#[serde(from = "Value")]
enum Update {
    Whole(Box<VhostPort>),
    Differs(Value),
    Gone,
}

impl From<Value> for Update {
    /// In either form (ovsdb-server(7), "Monitor Cond"): `initial`, `insert` and `new` have the row, without what is default;
    /// `modify` has what differs. A row that is no vhost-user port's is nobody's socket.
    fn from(mut update: Value) -> Update {
        match (whole(&update).map(columns), update.get_mut("modify").map(Value::take)) {
            // Of how it is, only that it changes is of use.
            (Some(Ok(port)), _) => {
                Update::Whole(Box::new(VhostPort { connected: None, ofport: None, error: None, ..port }))
            }
            (None, Some(differing)) => Update::Differs(differing),
            _ => Update::Gone,
        }
    }
}

fn whole(update: &Value) -> Option<&Value> {
    ["initial", "insert", "new"].into_iter().find_map(|key| update.get(key).filter(|row| row.is_object()))
}

impl Monitor {
    /// Asks for all changes, over a connection that was made just now.
    ///
    /// # Errors
    /// The server does not know either method, or does not answer in time.
    pub fn begin(mut ovsdb: Ovsdb) -> Result<Monitor> {
        let of_type = PortType::ALL.map(|kind| json!(["type", "==", kind.as_str()]));
        let params = |filter: Value| {
            let mut ports = json!({"columns": PORT_COLUMNS});
            if !filter.is_null() {
                ports["where"] = filter;
            }
            json!([DATABASE, "ports", {TABLE: [ports], "Open_vSwitch": [{"columns": ["other_config"]}]}])
        };
        let initial = match ovsdb.exchange("monitor_cond", params(json!(of_type))) {
            Ok(initial) => initial,
            Err(_) => {
                ovsdb.exchange("monitor", params(Value::Null)).context("asking OVSDB for all changes")?
            }
        };
        let (stream, received) = ovsdb.into_parts();
        stream.set_nonblocking(true)?;
        let mut monitor = Monitor { stream, received, ports: BTreeMap::new(), config: None, asked: None };
        monitor.update(initial, &mut Changed::default())?;
        Ok(monitor)
    }

    /// The settings, as told so far; an error where there are none.
    pub fn config(&self) -> Result<&SwitchConfig> {
        self.config.as_ref().context("OVSDB has not told the switch's settings")
    }

    /// The ports, as told so far.
    pub fn ports(&self) -> impl Iterator<Item = &Rc<VhostPort>> {
        self.ports.values()
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
    /// The server has not answered for long.
    pub fn ask_for_life(&mut self, now: Instant) -> Result<()> {
        match self.asked {
            Some(asked) if now >= asked + OVSDB_LIMIT => bail!("OVSDB does not answer"),
            Some(_) => Ok(()),
            None => {
                self.asked = Some(now);
                self.send(&json!({"id": "echo", "method": "echo", "params": []}))
            }
        }
    }

    fn messages(&mut self, changed: &mut Changed) -> Result<()> {
        let received = std::mem::take(&mut self.received);
        let mut stream = serde_json::Deserializer::from_slice(&received).into_iter::<Value>();
        let mut whole = 0;
        while let Some(message) = stream.next() {
            match message {
                Ok(message) => self.message(message, changed)?,
                Err(error) if error.is_eof() => break,
                Err(error) => return Err(error).context("reading from OVSDB"),
            }
            whole = stream.byte_offset();
        }
        self.received = received[whole..].to_vec();
        Ok(())
    }

    fn message(&mut self, mut message: Value, changed: &mut Changed) -> Result<()> {
        match message.get("method").and_then(Value::as_str) {
            Some("echo") => self.send(&echo(&message["id"], &message["params"])),
            Some("update2" | "update") => {
                let tables =
                    Tables::deserialize(message["params"][1].take()).context("reading OVSDB's update")?;
                self.update(tables, changed)
            }
            Some("monitor_canceled") => bail!("OVSDB ended the monitor"),
            Some(_) => Ok(()),
            None => {
                if message["id"] == "echo" {
                    self.asked = None;
                }
                Ok(())
            }
        }
    }

    fn update(&mut self, tables: Tables, changed: &mut Changed) -> Result<()> {
        for update in tables.settings.values() {
            self.settings(update)?;
            changed.settings = true;
        }
        for (uuid, update) in tables.ports {
            let before = self.ports.remove(&uuid);
            let now = match (update, &before) {
                (Update::Whole(port), _) => Some(VhostPort { uuid: uuid.clone(), ..*port }),
                (Update::Differs(differing), Some(before)) => Some(modified(before, &differing)),
                (Update::Differs(_), None) => bail!("OVSDB modifies a row that it did not tell of"),
                (Update::Gone, None) => continue,
                (Update::Gone, Some(_)) => None,
            }
            .map(Rc::new);
            if let Some(port) = &now {
                self.ports.insert(uuid, Rc::clone(port));
            }
            if self.ports.len() > MAX_ROWS {
                bail!("OVSDB has more than {MAX_ROWS} ports");
            }
            changed.ports.push(ChangedPort { before, now });
        }
        Ok(())
    }

    fn settings(&mut self, update: &Value) -> Result<()> {
        if let Some(row) = whole(update) {
            self.config = Some(settings(std::slice::from_ref(row))?);
        } else if let Some(config) = &mut self.config {
            differ(&mut config.other_config, &update["modify"]["other_config"]);
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

fn modified(before: &VhostPort, differing: &Value) -> VhostPort {
    let path = |before: &Option<PathBuf>, column: &str, key: &str| {
        let text = before.as_ref().and_then(|path| path.to_str());
        let mut pairs: BTreeMap<_, _> =
            text.map(|text| (key.to_string(), text.to_string())).into_iter().collect();
        differ(&mut pairs, &differing[column]);
        pairs.remove(key).map(PathBuf::from)
    };
    VhostPort {
        name: string(&differing["name"]).unwrap_or_else(|| before.name.clone()),
        kind: string(&differing["type"]).and_then(|kind| PortType::named(&kind)).unwrap_or(before.kind),
        server_path: path(&before.server_path, "options", "vhost-server-path"),
        socket: path(&before.socket, "status", "socket"),
        ..before.clone()
    }
}

/// Of a map: pairs that only one of both has, and new values of keys that both have.
fn differ(now: &mut BTreeMap<String, String>, differing: &Value) {
    for (key, value) in map(differing) {
        match now.get(&key) {
            Some(same) if *same == value => drop(now.remove(&key)),
            _ => drop(now.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::dataplane::conversation::Bounded;

    const PORT: &str = "2f77b348-9768-4866-b761-89d5177ecda0";
    const OWN: &str = "2f77b348-9768-4866-b761-89d5177ecda1";

    /// A server that answers each request with the next line and then says the rest.
    fn session(answers: &'static [&'static str], rest: &'static str) -> (Result<Monitor>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut server = theirs.try_clone().unwrap();
        let serving = thread::spawn(move || {
            let deadline = Instant::now() + Duration::from_secs(5);
            let mut requests = Bounded::over(server.try_clone().unwrap(), deadline, MAX_RECEIVED).unwrap();
            for answer in answers {
                let _ = requests.message::<Value>();
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
        let config = monitor.config().unwrap();
        monitor.ports().map(|port| config.expected_socket(port).display().to_string()).collect()
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
        assert!(
            !told.settings
                && matches!(&told.ports[..], [ChangedPort { before: None, now: Some(port) }] if port.name == "vhuc0")
        );
        assert_eq!(paths(&monitor), ["/run/openvswitch/sub/vhuc0"]);
        let modify = |monitor: &mut Monitor, update: &str| {
            let update: Value = serde_json::from_str(update).unwrap();
            let mut changed = Changed::default();
            monitor
                .update(serde_json::from_value(json!({TABLE: {PORT: update}})).unwrap(), &mut changed)
                .unwrap();
            changed
        };
        modify(
            &mut monitor,
            r#"{"modify":{"status":["map",[["a","b"],["socket","/var/run/openvswitch/x"]]],"ofport":["set",[1]]}}"#,
        );
        assert_eq!(paths(&monitor), ["/run/openvswitch/x"]);
        modify(&mut monitor, r#"{"modify":{"status":["map",[["socket","/var/run/openvswitch/y"]]]}}"#);
        assert_eq!(paths(&monitor), ["/run/openvswitch/y"]);
        // A pair that both have is one that has gone.
        modify(&mut monitor, r#"{"modify":{"status":["map",[["socket","/var/run/openvswitch/y"]]]}}"#);
        assert_eq!(paths(&monitor), ["/run/openvswitch/sub/vhuc0"]);
        let failed = modify(&mut monitor, r#"{"modify":{"ofport":["set",[-1]],"error":["set",["why"]]}}"#);
        assert_eq!(
            (failed.ports.len(), paths(&monitor).len()),
            (1, 1),
            "that something else changes is told"
        );
        let gone = modify(&mut monitor, r#"{"delete":null}"#);
        assert!(
            matches!(&gone.ports[..], [ChangedPort { before: Some(port), now: None }] if port.uuid == PORT)
        );
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
        let bridge = json!({TABLE: {OWN: {"new": {"name": "br0", "type": "internal"}}}});
        let mut changed = Changed::default();
        monitor.update(serde_json::from_value(bridge).unwrap(), &mut changed).unwrap();
        assert!(changed.is_empty(), "nobody's socket");
        let now = Instant::now();
        monitor.ask_for_life(now).unwrap();
        let mut line = String::new();
        drop(BufReader::new(server.try_clone().unwrap()).take(39).read_line(&mut line));
        assert!(line.contains("echo"), "{line}");
        monitor.ask_for_life(now + OVSDB_LIMIT / 2).unwrap();
        assert!(monitor.ask_for_life(now + OVSDB_LIMIT).is_err(), "nobody answered");
        drop(server);
        assert!(monitor.read().is_err(), "and then it went");
    }
}
