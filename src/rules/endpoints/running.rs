// SPDX-License-Identifier: Apache-2.0
//! What a running VM has lost, and who is where it should not be, by what the kernel says of each socket.

use super::meeting::{Meeting, is_other, name};
use crate::base::paths::same_path;
use crate::base::shell;
use crate::config::PortType;
use crate::dataplane::ovs;
use crate::dataplane::ovs::ovsdb::VhostPort;
use crate::dataplane::ovs::vswitchd::{VSWITCHD, Vswitchd};
use crate::facts::domains::SocketMode;
use crate::facts::sockets::Liveness;
use crate::fixes;
use crate::rules::Evidence;

rules! {
    Broken "client-socket-gone" [Socket(gone)]
        cause: "the socket file of the running QEMU was removed: OVS cannot connect now, or after its next restart",
        effect: "the VM has network until OVS restarts or the port is changed; then it has none",
        see: "ls -l PATH (missing); ss -xl (QEMU's socket still exists)",
        fix: "start the VM again: QEMU binds its socket only when it starts",
        source: "DPDK lib/vhost/socket.c connects by the path each second; seen with OVS 3.1",
    Broken "listener-is-foreign" [Socket(foreign)]
        cause: "the listener is neither ovs-vswitchd nor this VM's QEMU: the VM is connected to another program",
        effect: "the VM has no network: its frames go to another program; QEMU and OVS report nothing",
        see: "ss -xlp; ls -i PATH (the socket's inode)",
        fix: "stop that program if it should not listen there, then have QEMU or OVS create the socket again",
        source: "unix(7): a path can be unlinked and bound again while the old socket stays in use",
    Broken "nic-dead-after-restart" [Socket(dead)]
        cause: "OVS created its socket again, and this QEMU has no <reconnect>: the VM has no network until it is started again",
        effect: "the VM runs without network; nothing is logged",
        see: "ps -o lstart of ovs-vswitchd and of QEMU; ss -xp shows no peer",
        fix: "start the VM again; to prevent it: <reconnect enabled='yes' timeout='1'/> in its XML, or a dpdkvhostuserclient port",
        source: "seen with OVS 3.1 and QEMU 7.2: a client without reconnect never connects again",
    Broken "port-not-in-datapath" [Socket(not_in_datapath)]
        cause: "OVSDB reports the port as connected, but ovs-vswitchd could not configure it: the VM has no network",
        effect: "the VM runs without network; OVSDB has ofport, status=connected and no error",
        see: "ovs-appctl dpif/show lacks the port; ovs-vsctl get Interface PORT link_state is down",
        fix: "fix the cause in /var/log/openvswitch/ovs-vswitchd.log (grep ERR), mostly too little memory or a missing DPDK library; then create the port again",
        source: "'Failed to create memory pool', 'Failed to set interface ... new configuration' in its log; seen with OVS 3.1 and 4.0 without DPDK's mempool_ring",
    Broken "not-connected" [Socket(apart)]
        cause: "QEMU and OVS are not connected, although both run",
        effect: "the VM runs without network",
        see: "ss -xp; grep VHOST /var/log/openvswitch/ovs-vswitchd.log",
        fix: "run the command of the finding: it creates the port again, or starts the VM again",
        source: "DPDK lib/vhost/socket.c; seen with OVS 3.1 after a foreign program had held the connection",
    Advice "port-without-vm" [Socket(without_vm)]
        cause: "no VM uses this port and nothing is connected: the port is a leftover, or a VM has a wrong path",
        effect: "usually nothing; if a VM should use this port, that VM hangs or has no network",
        see: "ovs-vsctl find Interface type=dpdkvhostuserclient; virsh dumpxml of the VM that should use it",
        fix: "remove the port if no VM and no application needs it; else correct the path in the VM's XML. nova creates a port seconds or minutes before the VM has it (boot, attach, incoming migration): ask nova before you remove one of its ports",
        source: "os-vif and neutron leave ports behind if they fail to delete them with the VM; external_ids:vm-uuid of a port that os-vif created",
}

/// Both run, and had the time to connect; where QEMU is to listen, somebody does.
fn should_be_joined(meeting: &Meeting<'_>) -> bool {
    let listens = meeting.mode() == SocketMode::Client || meeting.link.listener.is_some();
    let switch_runs = matches!(meeting.endpoints.vswitchd, Vswitchd::Running(Some(_)));
    meeting.qemu().is_some() && switch_runs && listens && !meeting.is_young()
}

fn gone(meeting: &Meeting<'_>) -> Option<Evidence> {
    let machine = meeting.machine.filter(|machine| machine.domain.running && machine.process.is_some())?;
    let seen = match meeting.socket.liveness {
        Liveness::Missing => "missing",
        Liveness::Stale => "no process listens on it",
        _ => return None,
    };
    let serves = meeting.mode() == SocketMode::Server && meeting.link.listener.is_none();
    let again = fixes::start_again(&machine.domain);
    (serves && !meeting.is_young()).then(|| Evidence::at(&meeting.socket.path, seen, again))
}

/// Another process than the one that is to serve it. Where QEMU is to listen and no VM is known, nobody's QEMU is expected.
fn foreign(meeting: &Meeting<'_>) -> Option<Evidence> {
    let (socket, remove) = (meeting.socket, fixes::remove(&meeting.socket.path));
    let (expected, again) = match meeting.mode() {
        SocketMode::Client => {
            let port = socket.path.file_name().and_then(|name| name.to_str()).map(shell::quote)?;
            (meeting.switch(), ovs::fixes::remake_interface(None, &port, PortType::Dpdkvhostuser))
        }
        SocketMode::Server => (Some(meeting.qemu()?), fixes::start_again(&meeting.machine?.domain)),
    };
    let expected = expected.map(|process| process.pid);
    let listener = meeting.link.listener.as_ref().filter(|end| is_other(end, expected))?;
    Some(Evidence::at(
        &socket.path,
        format!("{} listens on it", name(listener)),
        format!("{remove} && {again}"),
    ))
}

fn dead(meeting: &Meeting<'_>) -> Option<Evidence> {
    let (qemu, switch) = meeting.qemu().zip(meeting.switch())?;
    let connects = meeting.mode() == SocketMode::Client && !meeting.tries_again() && !meeting.is_joined();
    let older = qemu.started.since_boot < switch.started.since_boot;
    let seen = || format!("{} was started after QEMU (pid {})", switch.text(), qemu.pid);
    let again = fixes::start_again(&meeting.machine?.domain);
    (connects && older).then(|| Evidence::at(&meeting.socket.path, seen(), again))
}

/// The port of a connected socket, which the datapath does not have.
fn not_in_datapath(meeting: &Meeting<'_>) -> Option<Evidence> {
    let used = match meeting.machine {
        Some(_) => should_be_joined(meeting) && meeting.is_joined(),
        None => !meeting.link.connections.is_empty(),
    };
    let switch = meeting.endpoints.switch.known().filter(|_| used)?;
    let is_at = |port: &&VhostPort| same_path(&switch.expected_socket(port), &meeting.socket.path);
    let port = meeting.endpoints.unmade.iter().find(is_at)?;
    let seen = ovs::control::unmade(port);
    Some(Evidence::at(&meeting.socket.path, seen, ovs::fixes::remake_after_error(port)))
}

/// Everything is in its place, and nobody is connected.
fn apart(meeting: &Meeting<'_>) -> Option<Evidence> {
    if !should_be_joined(meeting) || meeting.is_joined() {
        return None;
    }
    let (machine, socket) = (meeting.machine?, meeting.socket);
    let other = meeting.link.connections.first().map(|connection| name(&connection.1));
    let is_remade = other.is_none() && meeting.mode() == SocketMode::Server;
    let seen = match (other, meeting.mode()) {
        (Some(other), _) => format!("{other} is connected instead"),
        (None, SocketMode::Server) => format!("{VSWITCHD} is not connected"),
        (None, SocketMode::Client) => "QEMU is not connected".to_string(),
    };
    let port = machine.start.switch.known().and_then(|join| {
        join.ports.iter().find(|port| port.server_path.as_deref() == Some(socket.path.as_path()))
    });
    let fix = match port.filter(|_| is_remade) {
        Some(port) => ovs::fixes::remake(None, port),
        None => fixes::start_again(&machine.domain),
    };
    Some(Evidence::at(&socket.path, seen, fix))
}

/// A VM that cannot be read may have it, or one of a libvirt that is in a container.
fn without_vm(meeting: &Meeting<'_>) -> Option<Evidence> {
    let (endpoints, port) = (meeting.endpoints, meeting.port?);
    let all_known = endpoints.peers.known().is_some() && endpoints.unread.is_empty() && meeting.sees_vms;
    if !meeting.link.connections.is_empty() || !all_known {
        return None;
    }
    let seen = format!("a {} at {}, and no VM uses it", port.kind, meeting.socket.path.display());
    // nova has the port created before libvirt hears of the VM, or of its new card: it may be needed in a moment.
    let (seen, fix) = match &port.vm_uuid {
        Some(vm) => (format!("{seen}; nova created it for VM {vm}"), ovs::fixes::ask_nova(vm)),
        None => (seen, ovs::fixes::remove_port(port)),
    };
    Some(Evidence::fixed_by(format!("port {}", port.name), seen, fix))
}
