// SPDX-License-Identifier: Apache-2.0
//! Fixes in OVS's own commands: each can be pasted into a shell as it is.

use std::path::Path;

use super::ovsdb::VhostPort;
use super::second::Second;
use crate::base::shell::{self, is_plain, quote};
use crate::config::PortType;
use crate::facts::domains::SocketMode;

/// How ovs-vsctl finds the interface.
pub fn interface(port: &VhostPort) -> String {
    if port.name.starts_with('-') { quote(&port.uuid) } else { quote(&port.name) }
}

/// Columns of a port that meets QEMU, whose side is given, at this path.
pub fn columns(mode: SocketMode, path: &Path) -> String {
    match mode {
        SocketMode::Client => "type=dpdkvhostuser".to_string(),
        SocketMode::Server => {
            let text = path.display().to_string();
            let option = match is_plain(&text) {
                true => format!("options:vhost-server-path={text}"),
                false => quote(&format!("options:vhost-server-path={text:?}")),
            };
            format!("type=dpdkvhostuserclient {option}")
        }
    }
}

/// Shows whether the database answers, and what it has.
pub const SHOW: &str = "ovs-vsctl --timeout=5 show";

/// Lets the switch use DPDK.
pub const USE_DPDK: &str = "ovs-vsctl set Open_vSwitch . other_config:dpdk-init=true";

/// Sets one of the switch's own options, or removes it.
pub fn other_config(key: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => {
            format!("ovs-vsctl set Open_vSwitch . {}", quote(&format!("other_config:{key}={value:?}")))
        }
        None => format!("ovs-vsctl remove Open_vSwitch . other_config {key}"),
    }
}

/// Starts or restarts the switch by its unit, where that is known.
pub fn systemctl(verb: &str, unit: Option<&str>) -> String {
    format!("systemctl {verb} {}", quote(unit.unwrap_or("openvswitch-switch")))
}

/// Removes a port that nobody needs.
pub fn remove_port(port: &VhostPort) -> String {
    format!("ovs-vsctl --if-exists del-port {}", interface(port))
}

/// Whether nova has this VM on a node: what is left of it there is removed only if not.
pub fn ask_nova(uuid: &str) -> String {
    let show = format!("openstack server show {} -c status -c OS-EXT-SRV-ATTR:host", quote(uuid));
    format!("{show}  # if the VM is not on this node: ovs-vsctl del-port PORT")
}

/// The command, at the database of a second switch where it is not the node's own.
fn vsctl(second: Option<&Second>) -> String {
    let database = second.map(|second| shell::path(&second.database));
    database.map_or("ovs-vsctl".to_string(), |database| format!("ovs-vsctl --db=unix:{database}"))
}

/// Has a second switch make a port's socket: it is started, if it does not run.
pub fn serve(second: &Second, port: Option<&VhostPort>) -> String {
    let again = port.map(|port| format!(" && {}", remake(Some(second), port))).unwrap_or_default();
    format!("systemctl start {}{again}", quote(&second.unit))
}

/// Makes a port that the datapath could not have, once it can.
pub fn remake_after_error(port: &VhostPort) -> String {
    let log = "grep ERR /var/log/openvswitch/ovs-vswitchd.log";
    format!("fix the error that '{log}' shows for the port, then {}", remake(None, port))
}

/// Makes the port over again; whatever else is set on it stays.
pub fn remake(second: Option<&Second>, port: &VhostPort) -> String {
    remake_interface(second, &interface(port), port.kind)
}

/// The same of an interface by its name as a word of the shell.
pub fn remake_interface(second: Option<&Second>, name: &str, kind: PortType) -> String {
    let set = format!("{} set Interface {name}", vsctl(second));
    format!("{set} type=internal && {set} type={kind}")
}

/// The port as QEMU's side expects it.
pub fn convert_port(second: Option<&Second>, name: &str, mode: SocketMode, path: &Path) -> String {
    format!("{} set Interface {} {}", vsctl(second), quote(name), columns(mode, path))
}

/// A port on the (first) bridge that can have one.
pub fn add_port(second: Option<&Second>, name: &str, mode: SocketMode, path: &Path) -> String {
    let (name, columns, vsctl) = (quote(name), columns(mode, path), vsctl(second));
    let bridge = format!("\"$({vsctl} --bare --columns=name find Bridge datapath_type=netdev | head -n 1)\"");
    format!("{vsctl} add-port {bridge} {name} -- set Interface {name} {columns}")
}
