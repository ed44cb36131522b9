// SPDX-License-Identifier: Apache-2.0
//! Ports as nova has them: plugged and unplugged by os-vif, and plugged into a VM that runs.

use std::path::{Path, PathBuf};

use super::support::{Node, on_nodes};
use super::watch::{UNIT, installed, pluggable, settled};

on_nodes!(trixie = "trixie": what_os_vif_writes_is_what_we_go_by a_card_that_nova_attaches_needs_the_watcher);

/// QEMU's side as neutron's binding says it, the type that os-vif makes of it, and where the socket is.
const MODES: [(&str, &str, &str); 2] = [
    ("client", "dpdkvhostuser", "/run/openvswitch"),
    ("server", "dpdkvhostuserclient", "/var/lib/vhost_sockets"),
];
const PORT: &str = "vhu3f9c8a5e-7b";

fn own(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/osvif").join(file)
}

/// A node with os-vif, and the service that watches, before `apply`.
fn with_os_vif(kind: &'static str) -> Node {
    let layer = own("layer");
    let node = installed(kind, &["--layer", layer.to_str().unwrap()], "");
    node.push(&own("compute.py"), "/root/compute.py");
    pluggable(&node);
    node
}

fn compute(node: &Node, driver: &str, (mode, _, directory): (&str, &str, &str), words: &str) -> String {
    node.sh(&format!("/root/compute.py {driver} {mode} {directory} {words} 2>/root/os-vif.log"))
}

/// Every column of the interface that somebody sets, as `name=value` of ovs-vsctl.
fn row(node: &Node) -> Vec<String> {
    let columns = ["type", "options", "external_ids", "mtu_request"];
    columns
        .map(|name| format!("{name}={}", node.sh(&format!("ovs-vsctl get Interface {PORT} {name}")).trim()))
        .to_vec()
}

fn what_os_vif_writes_is_what_we_go_by(kind: &'static str) {
    let node = with_os_vif(kind);
    node.apply("--restart");
    node.agrees("before any of nova's ports");
    let vm = node.sh("virsh domuuid vms").trim().to_string();
    for driver in ["native", "vsctl"] {
        for at @ (mode, port_type, directory) in MODES {
            compute(&node, driver, at, "plug vms");
            let options = match mode {
                "server" => format!("{{vhost-server-path=\"{directory}/{PORT}\"}}"),
                _ => "{}".to_string(),
            };
            let ids = format!(
                "{{attached-mac=\"fa:16:3e:5a:17:c4\", iface-id=\"3f9c8a5e-7b1d-4a62-9d0e-5c2f8e6a4b17\", \
                 iface-status=active, vm-uuid=\"{vm}\"}}"
            );
            let expected = [
                format!("type={port_type}"),
                format!("options={options}"),
                format!("external_ids={ids}"),
                "mtu_request=1500".to_string(),
            ];
            assert_eq!(row(&node), expected, "{driver} {mode}");
            let is_made = format!("ovs-vsctl get Interface {PORT} ofport | grep -q '^[1-9]'");
            assert_eq!(
                node.try_sh(&is_made).code,
                0,
                "{driver} {mode}: os-vif waits until the switch has it"
            );
            // libvirt is to hear of it in a moment: nothing that check says may take it away.
            let found = node.accord("check --json").stdout;
            let found: serde_json::Value = serde_json::from_str(&found).unwrap();
            let found = &found["findings"][0];
            assert_eq!(
                (&found["id"], &found["subject"]),
                (&"port-without-vm".into(), &format!("port {PORT}").into()),
                "{found}"
            );
            let fix = found["fix"].as_str().unwrap();
            assert!(fix.starts_with(&format!("openstack server show {vm} ")), "{fix}");
            compute(&node, driver, at, "unplug vms");
            node.agrees(&format!("after unplug by {driver}, {mode}"));
            compute(&node, driver, at, "unplug vms");
        }
    }
}

fn a_card_that_nova_attaches_needs_the_watcher(kind: &'static str) {
    let node = with_os_vif(kind);
    node.apply("--restart");
    node.start("vms", true);
    settled(&node);
    let attached = |driver: &str, at, times: u32| {
        let told = compute(&node, driver, at, &format!("attach vms {times}"));
        let (worked, why) = told.trim().split_once(' ').unwrap_or((told.trim(), ""));
        (worked.parse::<u32>().unwrap(), why.to_string())
    };
    for driver in ["native", "vsctl"] {
        for at in MODES {
            assert_eq!(attached(driver, at, 5), (5, String::new()), "{driver} {at:?}");
        }
    }
    node.agrees("after all of them");

    node.sh(&format!("systemctl stop {UNIT}"));
    let (worked, why) = attached("native", MODES[0], 3);
    assert_eq!(worked, 0, "without it");
    assert!(
        why.contains(&format!("Failed to connect to '/run/openvswitch/{PORT}': Permission denied")),
        "{why}"
    );
    // QEMU creates this one, in a directory that is right by itself.
    assert_eq!(attached("native", MODES[1], 2), (2, String::new()));
}
