// SPDX-License-Identifier: Apache-2.0
//! What is about no socket in particular: the switch's daemon, its database, what could not be read, and VMs as a whole.

use crate::base::shell;
use crate::config::{Family, PortType};
use crate::dataplane::ovs;
use crate::dataplane::ovs::control::{self, Control};
use crate::dataplane::ovs::vswitchd::Vswitchd;
use crate::facts::Known;
use crate::facts::domains::{BrokenFile, SocketMode};
use crate::fixes;
use crate::node::endpoints::{Endpoints, Machine, Next, Waiting};
use crate::rules::start::{self, Start, StartCase};
use crate::rules::{Case, Evidence, Finding, finding, ports};

rules! {
    Advice "switch-unknown" [Sides(unknown)]
        cause: "OVSDB did not answer, so the state of ports is unknown",
        effect: "check reports no port as wrong, even if one is",
        see: "ovs-vsctl --timeout=5 show",
        fix: "systemctl status ovsdb-server, then fix what its log reports",
        source: "ovsdb-server(7): while it compacts the database, or waits for its disk, it does not answer for seconds",
    Broken "dataplane-hung" [Sides(hung)]
        cause: "ovs-vswitchd does not answer: no VM can start or reconnect, and running VMs may have no network",
        effect: "no VM starts: QEMU hangs, or libvirt's call of ovs-vsctl hangs",
        see: "ovs-appctl --timeout=5 version; ps -o pid,stat,wchan,comm -C ovs-vswitchd",
        fix: "kill -CONT if a signal stopped it; else restart the dataplane, which interrupts its network for a moment",
        source: "ovs-appctl(8); a stopped ovs-vswitchd keeps its pid file, and OVSDB keeps its last state (seen with OVS 3.1)",
    Broken "hot-plug-waits" [Sides(|_, endpoints| waits(endpoints))]
        cause: "a network card was plugged in without a port: the VM's monitor and libvirt are blocked until OVS connects",
        effect: "virsh attach-device hangs, and so does each libvirt command that uses this VM's monitor",
        see: "ss -xlp shows QEMU's socket; virsh dumpxml does not name it",
        fix: "add the port: QEMU continues as soon as OVS connects. Always add the port before the network card",
        source: "QEMU's netdev_add blocks the monitor until OVS connects; seen with QEMU 7.2 and libvirt 9.0",
    Advice "domain-unreadable" [Sides(|_, endpoints| unreadable(endpoints))]
        cause: "libvirt's file for this VM cannot be read, so the state of the VM is unknown",
        effect: "the endpoints of this VM are missing in the table of check",
        see: "virsh dumpxml VM; the file that the finding names",
        fix: "correct the file as the finding says; libvirt cannot read it either when it starts again",
        source: "libvirt src/conf/virdomainobjlist.c reads the same files",
    Advice "next-start-fails" []
        cause: "its definition does not fit the port: after a shutdown the VM does not start again",
        effect: "nothing while the VM runs; its next start fails, or the hook refuses it",
        see: "virsh dumpxml --inactive VM; virsh dumpxml VM; ovs-vsctl get Interface PORT type",
        fix: "vhost-accord convert VM changes the definition to fit the port; the VM does not pause",
        source: "virsh migrate --persistent copies the definition of the source unchanged; virsh edit changes only the next start",
}

fn unknown(case: &Case<'_>, endpoints: &Endpoints) -> Vec<Evidence> {
    let Known::Unknown(why) = &endpoints.switch else { return Vec::new() };
    let asked = endpoints.machines.iter().any(|machine| machine.start.asks_switch);
    let runs = endpoints.vswitchd != Vswitchd::NotRunning && case.accord.dataplane.is_some();
    let evidence = || Evidence::fixed_by("Open vSwitch", why, ovs::fixes::SHOW);
    (runs && asked).then(evidence).into_iter().collect()
}

fn unreadable(endpoints: &Endpoints) -> Vec<Evidence> {
    let evidence = |file: &BrokenFile| {
        let fix = format!("xmllint --noout {}", shell::path(&file.path));
        Evidence::at(&file.path, &file.error, fix)
    };
    endpoints.unread.iter().map(evidence).collect()
}

/// It runs and answers nobody.
fn hung(case: &Case<'_>, endpoints: &Endpoints) -> Vec<Evidence> {
    let (Control::Silent(state), Some(process)) = (&endpoints.control, endpoints.vswitchd.process()) else {
        return Vec::new();
    };
    let subject = process.text();
    if control::is_stopped(*state) {
        let fix = format!("kill -CONT {}", process.pid);
        return vec![Evidence::fixed_by(subject, "is stopped by a signal (state T)", fix)];
    }
    let Some(dataplane) = &case.accord.dataplane else { return Vec::new() };
    let state = state.map(|state| format!(" (state {state})")).unwrap_or_default();
    let fix = ovs::fixes::systemctl("restart", Some(&dataplane.switch_unit));
    vec![Evidence::fixed_by(subject, format!("does not answer on its control socket{state}"), fix)]
}

/// The same as the first cause of each VM's trouble.
pub fn hung_at(case: &Case<'_>, endpoints: &Endpoints) -> Option<Finding> {
    finding("dataplane-hung", hung(case, endpoints).pop()?)
}

/// Cards that were plugged in and wait for their port.
pub fn waits(endpoints: &Endpoints) -> Vec<Evidence> {
    let evidence = |waiting: &Waiting| {
        let name = waiting.path.file_name().and_then(|name| name.to_str()).unwrap_or("PORT");
        // One that no VM has was meant for it, most likely, with another path.
        let fix = match endpoints.free.iter().any(|free| free.port.name == name) {
            true => ovs::fixes::convert_port(None, name, SocketMode::Server, &waiting.path),
            false => ovs::fixes::add_port(None, name, SocketMode::Server, &waiting.path),
        };
        let seen = format!(
            "QEMU of VM {} (pid {}) listens on it, but no port and no definition has it, and nothing is connected",
            waiting.domain, waiting.pid
        );
        Evidence::at(&waiting.path, seen, fix)
    };
    endpoints.waiting.iter().map(evidence).collect()
}

/// What no VM can be judged without; the rule of that id names it, once for the node.
pub fn absent(id: &str, subject: &str) -> Option<Finding> {
    finding(id, Evidence::fixed_by(subject, "", ""))
}

/// No ovs-vswitchd runs that could meet the VM.
pub fn not_running(case: &Case<'_>, start: &Start) -> Option<Finding> {
    match case.profile.dataplane {
        None => absent("no-dataplane", ovs::units::PACKAGE),
        Some(_) => finding("dataplane-not-running", ports::stopped(start)),
    }
}

/// A definition that the VM does not run with, and whose cards do not meet their ports.
pub fn next(start: &mut Start, machine: &Machine, next: &Next) -> Option<Finding> {
    let qemu = start.qemu.as_ref().map(|qemu| (qemu.uid, qemu.gid));
    start.turn_to(next.domain.clone(), qemu);
    let case = StartCase { start, facts: &next.start };
    let paths: Vec<String> =
        next.start.sockets.iter().map(|socket| socket.path.display().to_string()).collect();
    let of_card = |found: &Finding| found.family == Some(Family::Ports) && paths.contains(&found.subject);
    let found = start::run(&case).into_iter().find(|found| found.sure && of_card(found))?;
    let convert =
        |kind: PortType| format!("vhost-accord convert --to {kind} {}", fixes::domain(&machine.domain));
    let fix = match found.id {
        "both-ends-client" => convert(PortType::Dpdkvhostuserclient),
        "both-ends-server" => convert(PortType::Dpdkvhostuser),
        _ => found.fix,
    };
    let seen = format!("{}: {}: {}", found.id, found.subject, found.seen);
    finding("next-start-fails", Evidence::fixed_by(format!("VM {}", machine.domain.name), seen, fix))
}
