// SPDX-License-Identifier: Apache-2.0
//! The OVSDB client against a real ovsdb-server with OVS's own schema, in a directory of its own.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vhost_accord::base::root::Root;
use vhost_accord::config::PortType;
use vhost_accord::dataplane::ovs::ovsdb::Ovsdb;

const LIMIT: Duration = Duration::from_secs(5);
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

struct Server {
    process: Child,
    dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Server {
    fn start() -> Server {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        assert!(
            Command::new("ovsdb-tool")
                .arg("create")
                .args([file("conf.db").as_path(), Path::new(SCHEMA)])
                .status()
                .unwrap()
                .success()
        );
        let process = Command::new("ovsdb-server")
            .arg(file("conf.db"))
            .arg(format!("--remote=punix:{}", file("db.sock").display()))
            .arg(format!("--unixctl={}", file("ctl").display()))
            .arg("--no-chdir")
            .env("OVS_RUNDIR", dir.path())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let server = Server { process, dir };
        let end = Instant::now() + LIMIT;
        while !server.socket().exists() {
            assert!(Instant::now() < end, "ovsdb-server does not come up");
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("db.sock")
    }

    fn talk(&self) -> Ovsdb {
        Ovsdb::connect(&Root::open(Path::new("/")).unwrap(), &self.socket(), LIMIT).unwrap()
    }

    /// As `ovs-vsctl add-br br-int`, with these interfaces on it.
    fn fill(&self, interfaces: &[Value]) {
        let uuid = |name: &String| json!(["named-uuid", name]);
        let mut operations = Vec::new();
        let mut ports = Vec::new();
        for (index, interface) in interfaces.iter().enumerate() {
            let (row, port) = (format!("i{index}"), format!("p{index}"));
            operations
                .push(json!({"op": "insert", "table": "Interface", "row": interface, "uuid-name": row}));
            let port_row = json!({"name": interface["name"], "interfaces": uuid(&row)});
            operations.push(json!({"op": "insert", "table": "Port", "row": port_row, "uuid-name": port}));
            ports.push(uuid(&port));
        }
        let bridge = json!({"name": "br-int", "ports": ["set", ports]});
        operations.push(json!({"op": "insert", "table": "Bridge", "row": bridge, "uuid-name": "br"}));
        let switch = json!({"bridges": ["named-uuid", "br"], "ovs_version": "3.1.0", "dpdk_initialized": true,
            "iface_types": ["set", ["dpdkvhostuser", "system"]], "other_config": ["map", [["dpdk-init", "true"]]]});
        operations.push(json!({"op": "insert", "table": "Open_vSwitch", "row": switch}));
        self.talk().transact(&operations).unwrap();
    }
}

fn node() -> Server {
    let server = Server::start();
    server.fill(&[
        json!({"name": "vhus0", "type": "dpdkvhostuserclient", "ofport": 2, "admin_state": "up", "link_state": "down",
            "options": ["map", [["vhost-server-path", "/var/lib/vhost_sockets/vhus0"], ["n_rxq", "1"]]],
            "status": ["map", [["mode", "client"], ["status", "disconnected"], ["socket", "/var/lib/vhost_sockets/vhus0"]]]}),
        json!({"name": "vhuc0", "type": "dpdkvhostuser", "ofport": -1,
            "error": "could not open network device vhuc0 (Unknown error -1)"}),
        json!({"name": "tap0", "type": "", "options": ["map", [["vhost-server-path", "/x"]]]}),
    ]);
    server
}

#[test]
#[ignore = "needs ovsdb-server (openvswitch-switch): make test"]
fn lists_the_vhost_ports_and_no_others() {
    let server = node();
    let mut ovsdb = server.talk();
    let ports = ovsdb.ports().unwrap();
    assert_eq!(ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>(), ["vhuc0", "vhus0"]);
    let (vhuc, vhus) = (&ports[0], &ports[1]);
    assert_eq!(
        (vhuc.kind, vhuc.ofport, vhuc.server_path.as_ref()),
        (PortType::Dpdkvhostuser, Some(-1), None)
    );
    assert_eq!(vhuc.error.as_deref(), Some("could not open network device vhuc0 (Unknown error -1)"));
    assert_eq!((vhuc.connected, vhuc.socket.as_ref(), vhuc.admin_state.as_ref()), (None, None, None));
    assert_eq!((vhus.kind, vhus.ofport, vhus.error.as_ref()), (PortType::Dpdkvhostuserclient, Some(2), None));
    assert_eq!(vhus.server_path.as_deref(), Some(Path::new("/var/lib/vhost_sockets/vhus0")));
    assert_eq!((vhus.connected, vhus.socket.as_ref()), (Some(false), vhus.server_path.as_ref()));
    assert_eq!((vhus.admin_state.as_deref(), vhus.link_state.as_deref()), (Some("up"), Some("down")));
}

#[test]
#[ignore = "needs ovsdb-server (openvswitch-switch): make test"]
fn reads_the_switchs_settings() {
    let server = node();
    let mut ovsdb = server.talk();
    let switch = ovsdb.switch().unwrap();
    assert_eq!((switch.dpdk_initialized, switch.ovs_version.as_deref()), (Some(true), Some("3.1.0")));
    assert_eq!((switch.dpdk_version, switch.iface_types.len()), (None, 2));
    let config: Vec<_> = switch.other_config.into_iter().collect();
    assert_eq!(config, [("dpdk-init".to_string(), "true".to_string())]);
}

#[test]
#[ignore = "needs ovsdb-server (openvswitch-switch): make test"]
fn an_old_schema_is_read_as_far_as_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut schema: Value = serde_json::from_str(&std::fs::read_to_string(SCHEMA).unwrap()).unwrap();
    let columns = schema["tables"]["Open_vSwitch"]["columns"].as_object_mut().unwrap();
    columns.remove("dpdk_initialized").unwrap();
    columns.remove("dpdk_version").unwrap();
    let path = dir.path().join("old.ovsschema");
    std::fs::write(&path, schema.to_string()).unwrap();
    let server = Server::start();
    // The schema of the running server is changed in place.
    let convert = |path: &Path| {
        let remote = format!("unix:{}", server.socket().display());
        Command::new("ovsdb-client")
            .args(["convert".as_ref(), remote.as_ref(), path.as_os_str()])
            .status()
            .unwrap()
    };
    assert!(convert(&path).success());
    let row = json!({"op": "insert", "table": "Open_vSwitch", "row": {"ovs_version": "2.8.0"}});
    server.talk().transact(&[row]).unwrap();
    let switch = server.talk().switch().unwrap();
    assert_eq!((switch.ovs_version.as_deref(), switch.dpdk_initialized), (Some("2.8.0"), None));
}

#[test]
#[ignore = "needs ovsdb-server (openvswitch-switch): make test"]
fn what_the_server_refuses_is_an_error() {
    let server = node();
    let select = json!({"op": "select", "table": "Nothing", "where": []});
    let error = format!("{:#}", server.talk().transact(&[select.clone(), select]).unwrap_err());
    assert!(error.contains("No table named Nothing"), "{error}");
}

#[test]
#[ignore = "needs ovsdb-server (openvswitch-switch): make test"]
fn two_thousand_ports_are_no_matter() {
    let server = Server::start();
    let port = |index: usize| {
        json!({"name": format!("vhu{index}"), "type": "dpdkvhostuserclient",
            "options": ["map", [["vhost-server-path", format!("/var/lib/vhost_sockets/vhu{index}")]]]})
    };
    server.fill(&(0..2000).map(port).collect::<Vec<_>>());
    assert_eq!(server.talk().ports().unwrap().len(), 2000);
}

#[test]
fn without_a_server_there_is_an_error_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(Path::new("/")).unwrap();
    let error = |name: &str| {
        let path = dir.path().join(name);
        let error = Ovsdb::connect(&root, &path, LIMIT).map(drop).unwrap_err();
        format!("{error:#}").replace(&path.display().to_string(), "PATH")
    };
    assert_eq!(error("missing"), "PATH does not exist");
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert_eq!(error("file"), "PATH is not a socket");
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("stale")).unwrap());
    assert!(error("stale").starts_with("connecting to PATH: ECONNREFUSED"), "{}", error("stale"));
}

#[test]
fn a_server_that_never_accepts_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(Path::new("/")).unwrap();
    let path = dir.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let limit = Duration::from_millis(200);
    // Connections are queued until the backlog is full: those hang at the request, the later ones at connecting.
    let mut open = Vec::new();
    let error = loop {
        match Ovsdb::connect(&root, &path, limit) {
            Ok(ovsdb) => open.push(ovsdb),
            Err(error) => break format!("{error:#}"),
        }
    };
    assert!(error.ends_with("the server does not accept the connection"), "{error}");
}
