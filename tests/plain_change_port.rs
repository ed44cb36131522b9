// SPDX-License-Identifier: Apache-2.0
//! Changing a port in OVSDB against a real ovsdb-server with OVS's own schema, in a directory of its own. What
//! ovs-vswitchd says of it is played here; the real one is in tests/node/convert.rs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vhost_accord::base::root::Root;
use vhost_accord::config::PortType;
use vhost_accord::dataplane::ovs::ovsdb::Ovsdb;
use vhost_accord::dataplane::ovs::port::{self, PortState};

const LIMIT: Duration = Duration::from_secs(5);
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
const SOCKET: &str = "/run/openvswitch/db.sock";

struct Server {
    process: Child,
    dir: tempfile::TempDir,
    daemon: Option<JoinHandle<()>>,
    ends: Arc<AtomicBool>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        let _ = self.daemon.take().map(JoinHandle::join);
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn talk(root: &Root) -> Ovsdb {
    Ovsdb::connect(root, Path::new(SOCKET), LIMIT).unwrap()
}

impl Server {
    fn start() -> Server {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run/openvswitch");
        std::fs::create_dir_all(&run).unwrap();
        let database = run.join("conf.db");
        let made = Command::new("ovsdb-tool").arg("create").arg(&database).arg(SCHEMA).status().unwrap();
        assert!(made.success());
        let process = Command::new("ovsdb-server")
            .arg(&database)
            .arg(format!("--remote=punix:{}", run.join("db.sock").display()))
            .arg(format!("--unixctl={}", run.join("ctl").display()))
            .arg("--no-chdir")
            .env("OVS_RUNDIR", &run)
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let server = Server { process, dir, daemon: None, ends };
        let end = Instant::now() + LIMIT;
        while !run.join("db.sock").exists() {
            assert!(Instant::now() < end, "ovsdb-server does not come up");
            std::thread::sleep(Duration::from_millis(10));
        }
        server.fill();
        server
    }

    fn fill(&self) {
        let interface = json!({"name": "vhu0", "type": "dpdkvhostuser", "ofport": 3, "mtu_request": 9000,
            "options": ["map", [["tx-retries-max", "4"]]], "external_ids": ["map", [["iface-id", "x"]]]});
        let operations = [
            json!({"op": "insert", "table": "Interface", "row": interface, "uuid-name": "i"}),
            json!({"op": "insert", "table": "Port", "row": {"name": "vhu0", "interfaces": ["named-uuid", "i"]}, "uuid-name": "p"}),
            json!({"op": "insert", "table": "Bridge", "row": {"name": "br-int", "ports": ["named-uuid", "p"]}, "uuid-name": "b"}),
            json!({"op": "insert", "table": "Open_vSwitch", "row": {"bridges": ["named-uuid", "b"], "next_cfg": 7, "cur_cfg": 7}}),
        ];
        talk(&self.root()).transact(&operations).unwrap();
    }

    fn root(&self) -> Root {
        Root::open(self.dir.path()).unwrap()
    }

    /// Plays ovs-vswitchd: takes each configuration, and says this of a port of that type.
    fn answers(mut self, kind: &'static str, error: Option<&'static str>) -> Server {
        let (root, ends) = (self.root(), Arc::clone(&self.ends));
        self.daemon = Some(std::thread::spawn(move || {
            while !ends.load(Ordering::Acquire) {
                let mut ovsdb = talk(&root);
                let asked =
                    json!({"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["next_cfg"]});
                let next = ovsdb.transact(&[asked]).unwrap()[0]["rows"][0]["next_cfg"].clone();
                let error = error.map_or(json!(["set", []]), Value::from);
                let said = [
                    json!({"op": "update", "table": "Interface", "where": [["type", "==", kind]], "row": {"error": error}}),
                    json!({"op": "update", "table": "Open_vSwitch", "where": [["next_cfg", "==", next]], "row": {"cur_cfg": next}}),
                ];
                ovsdb.transact(&said).unwrap();
                std::thread::sleep(Duration::from_millis(5));
            }
        }));
        self
    }

    /// The row as it is, but for what ovs-vswitchd says.
    fn row(&self) -> Value {
        let columns = ["type", "options", "ofport", "mtu_request", "external_ids"];
        let asked = json!({"op": "select", "table": "Interface", "where": [], "columns": columns});
        talk(&self.root()).transact(&[asked]).unwrap()[0]["rows"][0].clone()
    }

    fn next_cfg(&self) -> i64 {
        let asked = json!({"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["next_cfg"]});
        talk(&self.root()).transact(&[asked]).unwrap()[0]["rows"][0]["next_cfg"].as_i64().unwrap()
    }
}

fn server_port() -> PortState {
    PortState { name: "vhu0".to_string(), kind: PortType::Dpdkvhostuser, server_path: None }
}

fn client_port(path: &str) -> PortState {
    PortState { kind: PortType::Dpdkvhostuserclient, server_path: Some(PathBuf::from(path)), ..server_port() }
}

fn soon(milliseconds: u64) -> Instant {
    Instant::now() + Duration::from_millis(milliseconds)
}

#[test]
#[ignore = "needs ovsdb-server (openvswitch-switch): make test"]
fn a_port_is_turned_and_put_back_and_nothing_else_of_it_changes() {
    let server = Server::start().answers("", None);
    let (root, before, made) = (server.root(), server_port(), client_port("/d/vhu \"0\""));
    let stock = server.row();
    port::turn(&root, &before, &made, soon(5000)).unwrap();
    let now = server.row();
    assert_eq!(now["type"], "dpdkvhostuserclient");
    assert_eq!(
        now["options"],
        json!(["map", [["tx-retries-max", "4"], ["vhost-server-path", "/d/vhu \"0\""]]])
    );
    for column in ["ofport", "mtu_request", "external_ids"] {
        assert_eq!(now[column], stock[column], "{column}");
    }
    assert_eq!(server.next_cfg(), 8);
    port::turn(&root, &before, &made, soon(5000)).unwrap();
    assert_eq!((server.row(), server.next_cfg()), (now, 8), "twice is once");
    assert!(port::put_back(&root, &before, &made, LIMIT).unwrap());
    assert_eq!((server.row(), server.next_cfg()), (stock, 9));
    assert!(!port::put_back(&root, &before, &made, LIMIT).unwrap());
}

#[test]
#[ignore = "needs ovsdb-server (openvswitch-switch): make test"]
fn what_someone_else_did_is_not_lost() {
    let server = Server::start().answers("", None);
    let (root, stock) = (server.root(), server.row());
    let error = port::turn(&root, &client_port("/d/other"), &client_port("/d/vhu0"), soon(5000)).unwrap_err();
    let said = "port vhu0 is now dpdkvhostuser, not dpdkvhostuserclient at /d/other as before";
    assert_eq!(format!("{error:#}"), said);
    assert!(port::put_back(&root, &client_port("/d/a"), &client_port("/d/b"), LIMIT).is_err());
    let gone = PortState { name: "gone".to_string(), ..server_port() };
    let error = port::turn(&root, &gone, &client_port("/d/x"), soon(5000)).unwrap_err();
    assert_eq!(error.to_string(), "port gone does not exist");
    assert_eq!((server.row(), server.next_cfg()), (stock, 7));
}

#[test]
#[ignore = "needs ovsdb-server (openvswitch-switch): make test"]
fn of_two_that_turn_it_at_once_one_fails_and_loses_nothing() {
    let server = Server::start().answers("", None);
    let turned: Vec<_> = ["/d/one", "/d/two", "/d/three", "/d/four"]
        .map(|path| (path, server.root()))
        .map(|(path, root)| {
            std::thread::spawn(move || {
                port::turn(&root, &server_port(), &client_port(path), soon(5000)).map(|()| path)
            })
        })
        .into_iter()
        .filter_map(|thread| thread.join().unwrap().ok())
        .collect();
    assert_eq!(turned.len(), 1, "{turned:?}");
    let options = json!(["map", [["tx-retries-max", "4"], ["vhost-server-path", turned[0]]]]);
    assert_eq!((&server.row()["options"], server.next_cfg()), (&options, 8));
}

#[test]
#[ignore = "needs ovsdb-server (openvswitch-switch): make test"]
fn what_ovs_vswitchd_cannot_make_or_does_not_take_is_put_back() {
    let server = Server::start().answers("dpdkvhostuserclient", Some("could not open network device vhu0"));
    let stock = server.row();
    let error = port::turn(&server.root(), &server_port(), &client_port("/d/vhu0"), soon(5000)).unwrap_err();
    assert!(error.to_string().ends_with("could not open network device vhu0"), "{error:#}");
    assert_eq!(server.row(), stock);

    let deaf = Server::start();
    let error = port::turn(&deaf.root(), &server_port(), &client_port("/d/vhu0"), soon(300)).unwrap_err();
    assert!(error.to_string().contains("in time"), "{error:#}");
    assert_eq!(deaf.row(), stock);
}
