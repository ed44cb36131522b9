// SPDX-License-Identifier: Apache-2.0
//! SPDK's vhost target, by SPDK's source (spdk/spdk@3230130, 2026-08; the program itself was not seen). It always creates the
//! sockets: `-S DIR` and the controller's name (app/vhost/vhost.c, lib/vhost/rte_vhost_user.c), by the process's umask. Its
//! RPC socket is `-r`, by default /var/tmp/spdk.sock (include/spdk/init.h), and whoever may write to it controls all. It has
//! the umask's mode as well, so the unit's umask is left alone, and each socket is given by itself.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::base::root::Root;
use crate::config::{Declaration, Declared, MadeBy};
use crate::dataplane::conversation::Bounded;
use crate::dataplane::driver::{Driver, LIMIT, Looking, MOST, Port, option, unclear};
use crate::systemd::UnitFact;

/// Paths by the arguments of its unit, ports by JSON-RPC.
pub const DRIVER: Driver = Driver { name: "spdk", unit: None, look, umask: None, ports: Some(ports) };

const RPC: &str = "/var/tmp/spdk.sock";

fn look(_root: &Root, unit: &UnitFact, section: &mut Declaration) -> Result<(), Looking> {
    let place = format!("ExecStart of {}", unit.name);
    let rpc = option(unit, &["-r", "--rpc-socket"]).filter(|path| path.starts_with('/'));
    section.fill("control", rpc.unwrap_or(RPC), &place);
    match option(unit, &["-S"]).filter(|path| path.starts_with('/')) {
        Some(directory) => section.fill("sockets", directory, &place),
        None if section.get("sockets").is_none() => {
            return Err(unclear(format!("set sockets: {place} has no -S with a directory")));
        }
        None => {}
    }
    Ok(())
}

/// `vhost_get_controllers` (lib/vhost/vhost_rpc.c).
#[derive(Debug, Deserialize)]
struct Controller {
    ctrlr: String,
    socket: PathBuf,
    #[serde(default)]
    sessions: Vec<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    result: Option<Vec<Controller>>,
    error: Option<serde_json::Value>,
}

/// The first of `control` is the RPC socket.
fn ports(root: &Root, declared: &Declared) -> Result<Vec<Port>> {
    let socket = declared.control.first().context("no control socket is known")?;
    ask(root, socket)
}

/// JSON-RPC 2.0, one object a request and no separator (lib/jsonrpc/jsonrpc_server.c).
fn ask(root: &Root, socket: &Path) -> Result<Vec<Port>> {
    let mut stream = Bounded::connect(root, socket, LIMIT, MOST)?;
    stream.write_all(br#"{"jsonrpc":"2.0","method":"vhost_get_controllers","id":1}"#)?;
    let Answer { result, error } = stream
        .message()
        .with_context(|| format!("the answer to vhost_get_controllers at {}", socket.display()))?;
    let Some(controllers) = result else { bail!("vhost_get_controllers: {}", error.unwrap_or_default()) };
    let port = |found: Controller| Port {
        name: found.ctrlr,
        path: found.socket,
        made_by: MadeBy::Dataplane,
        connected: !found.sessions.is_empty(),
        error: None,
    };
    Ok(controllers.into_iter().map(port).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{of_unit, served};
    use super::*;

    #[test]
    fn directory_and_rpc_socket_are_those_of_its_unit() {
        let unit = "/opt/spdk/bin/vhost -m 0x3 -S /run/spdk-vhost -r /run/spdk/rpc.sock";
        let found = of_unit(&DRIVER, "", unit).unwrap();
        assert_eq!(found.sockets.directory, Path::new("/run/spdk-vhost"));
        assert_eq!(found.control, [Path::new("/run/spdk/rpc.sock")]);
        assert_eq!(found.made_by, MadeBy::Dataplane);
        let found = of_unit(&DRIVER, "", "/opt/spdk/bin/vhost -S /run/spdk-vhost").unwrap();
        assert_eq!(found.control, [Path::new(RPC)]);
        // As SPDK's own documents have it: everybody's directory, and the RPC socket in it.
        let error = of_unit(&DRIVER, "", "/opt/spdk/bin/vhost -S /var/tmp").unwrap_err();
        let expected = "ExecStart of a.service: sockets = /var/tmp: expected a directory for";
        assert!(error.starts_with(expected), "{error}");
        let error = of_unit(&DRIVER, "", "/opt/spdk/bin/vhost").unwrap_err();
        assert_eq!(error, "set sockets: ExecStart of a.service has no -S with a directory");
    }

    /// As lib/vhost/vhost_rpc.c writes it, field for field.
    const BOTH: &str = r#"{"jsonrpc":"2.0","id":1,"result":[{"ctrlr":"VhostBlk0","cpumask":"0x2","delay_base_us":0,
        "iops_threshold":60000,"socket":"/run/spdk-vhost/VhostBlk0","sessions":[{"vid":0,"id":0,"name":"VhostBlk0s0",
        "started":true,"max_queues":1,"inflight_task_cnt":0}],"backend_specific":{"block":{"readonly":false,"bdev":
        "Malloc0","transport":"vhost_user_blk"}}},{"ctrlr":"VhostScsi0","cpumask":"0x1","delay_base_us":0,
        "iops_threshold":60000,"socket":"/run/spdk-vhost/VhostScsi0","sessions":[],"backend_specific":{"scsi":[]}}]}"#;

    #[test]
    fn ports_are_its_controllers() {
        let root = Root::open(Path::new("/")).unwrap();
        let answered = |answer: &'static str| {
            served(move |stream| {
                let mut asked = [0; 200];
                let length = std::io::Read::read(stream, &mut asked).unwrap();
                let asked: serde_json::Value = serde_json::from_slice(&asked[..length]).unwrap();
                assert_eq!(asked["method"], "vhost_get_controllers");
                stream.write_all(answer.as_bytes()).unwrap();
            })
        };
        let (_directory, socket) = answered(BOTH);
        let ports = ask(&root, &socket).unwrap();
        let seen: Vec<_> = ports.iter().map(|port| (port.name.as_str(), port.connected)).collect();
        assert_eq!(seen, [("VhostBlk0", true), ("VhostScsi0", false)]);
        assert_eq!(ports[0].path, Path::new("/run/spdk-vhost/VhostBlk0"));
        let (_directory, socket) =
            answered(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}"#);
        let error = ask(&root, &socket).unwrap_err().to_string();
        assert!(error.contains("Method not found"), "{error}");
        let (_directory, socket) = answered("{\"jsonrpc\":");
        assert!(ask(&root, &socket).is_err());
    }
}
