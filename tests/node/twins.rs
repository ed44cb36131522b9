// SPDX-License-Identifier: Apache-2.0
//! Two nodes on a bridge, between which VMs migrate.

use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::steps::foreign_hooks;
use super::support::{Node, Output};

static TAKEN: Mutex<()> = Mutex::new(());

/// The nodes' addresses are the same each time, and two are twice as many as a test usually has: they take turns.
pub fn alone() -> MutexGuard<'static, ()> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bridge of the host.
pub struct Bridge(String);

impl Bridge {
    pub fn new() -> Bridge {
        let name = format!("va-mig{}", std::process::id() % 100_000);
        ip(&["link", "add", &name, "type", "bridge"]);
        ip(&["link", "set", &name, "up"]);
        Bridge(name)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", &self.0]).status();
    }
}

fn ip(words: &[&str]) {
    assert!(Command::new("ip").args(words).status().unwrap().success(), "ip {words:?}");
}

pub fn address(number: u8) -> String {
    format!("10.250.77.{number}")
}

/// A node with the accord, foreign hooks beside ours, and a libvirt that takes migrations. The same hardware's number on
/// both would be "the same host" to libvirt.
pub fn node(kind: &'static str, bridge: &Bridge, number: u8, keys: &str) -> Node {
    let node = Node::up_with(kind, &["--bridge", &bridge.0]);
    node.sh(&format!("ip addr add {}/24 dev host0; ip link set host0 up", address(number)));
    foreign_hooks(&node);
    node.configure(keys);
    node.apply("--restart");
    node.sh(&format!(
        "printf 'auth_tcp = \"none\"\\nhost_uuid = \"11111111-2222-4333-8444-55555555555{number}\"\\n' >> /etc/libvirt/libvirtd.conf; \
         systemctl stop libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket; \
         systemctl start libvirtd.socket libvirtd-tcp.socket; virsh list; : > /run/calls"
    ));
    node
}

/// Waits until libvirt of the other node can be reached.
pub fn meets(node: &Node, other: u8) {
    node.wait_for(
        "the other node",
        &format!("timeout 5 virsh -c qemu+tcp://{}/system version", address(other)),
    );
}

pub fn migrate(from: &Node, domain: &str, to: u8) -> Output {
    let address = address(to);
    from.try_sh(&format!(
        "timeout 90 virsh migrate --live --persistent --undefinesource {domain} qemu+tcp://{address}/system tcp://{address}"
    ))
}

pub fn runs(node: &Node, domain: &str) -> bool {
    node.try_sh(&format!("virsh domstate {domain}")).stdout.trim() == "running"
}
