// SPDX-License-Identifier: Apache-2.0
//! The service that watches: hot-plug, changes by others, and what is in its way.

use std::path::{Path, PathBuf};

use super::support::{Node, on_nodes};

on_nodes!(bookworm = "bookworm": a_port_that_is_added_while_ovs_runs_is_open_to_qemu);
on_nodes!(later bookworm = "bookworm":
    many_hot_plugs_in_a_row
    what_others_change_is_told_and_fixed
    what_goes_wrong_around_it_loses_nothing);
on_nodes!(trixie = "trixie": a_port_that_is_added_while_ovs_runs_is_open_to_qemu);
on_nodes!(rhel_3_6 = "rhel-3.6": a_port_that_is_added_while_ovs_runs_is_open_to_qemu);

pub const UNIT: &str = "vhost-accord-watch";
const RUN: &str = "/run/openvswitch";

fn own(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// A node with the service installed, before `apply`.
pub fn installed(kind: &'static str, options: &[&str], keys: &str) -> Node {
    let node = Node::up_with(kind, options);
    install(&node);
    node.configure(&format!("modes = dpdkvhostuserclient dpdkvhostuser\\n{keys}"));
    node
}

/// Installs the service.
pub fn install(node: &Node) {
    let unit = "/usr/lib/systemd/system/vhost-accord-watch.service";
    node.push(&own("units/vhost-accord-watch.service"), unit);
    node.sh("systemctl daemon-reload");
}

/// The same, applied, and the service running.
pub fn watched(kind: &'static str, keys: &str) -> Node {
    let node = installed(kind, &[], keys);
    node.apply("--restart");
    node.wait_for("the watcher", &format!("systemctl is-active {UNIT}"));
    settled(&node);
    node
}

/// The watcher has seen all there is.
pub fn settled(node: &Node) {
    let output = node.accord("watch --settle");
    assert_eq!(
        output.code,
        0,
        "{output}; {}",
        node.sh(&format!("journalctl -u {UNIT} --no-pager | tail -20"))
    );
}

/// Lets a VM take cards while it runs.
pub fn pluggable(node: &Node) {
    // Without ACPI QEMU's bus takes no card.
    node.sh(
        "virsh dumpxml --inactive vms | sed 's/<os>/<features><acpi\\/><\\/features><os>/' > /root/vms.xml && \
         virsh -q define /root/vms.xml; rm /root/vms.xml",
    );
}

/// A port is added and at once plugged into the running VM, so many times; how many times it worked.
fn hot_plugs(node: &Node, times: u32) -> u32 {
    let script = format!(
        "cat > /root/hp.xml <<X
<interface type='vhostuser'><mac address='52:54:00:00:05:77'/><source type='unix' path='{RUN}/hp' mode='client'/>
<model type='virtio'/><alias name='ua-hp'/></interface>
X
worked=0
for turn in $(seq {times}); do
    ovs-vsctl add-port br-int hp -- set interface hp type=dpdkvhostuser
    if timeout 20 virsh -q attach-device vms /root/hp.xml --live 2>/root/hp.err; then
        worked=$((worked + 1))
        # A guest without an operating system gives a card back when it is reset.
        virsh -q detach-device-alias vms ua-hp --live && virsh -q reset vms
        until ! virsh dumpxml vms | grep -q ua-hp; do sleep 0.05; done
    fi
    ovs-vsctl del-port hp
done
echo $worked"
    );
    node.sh(&script).trim().lines().last().unwrap().parse().unwrap()
}

/// As a table; never asserted.
fn timed(node: &Node, what: &str, work: impl FnOnce(&Node)) {
    node.push(&own("tests/node/latency.py"), "/root/latency.py");
    node.sh(&format!(
        "rm -f /root/stop /root/stop.ready /root/latency; systemd-run -q --unit=latency -p StandardOutput=file:/root/latency \
         python3 /root/latency.py /root/stop {RUN}; until test -e /root/stop.ready; do sleep 0.05; done"
    ));
    work(node);
    let text = node
        .sh("touch /root/stop; while systemctl is-active -q latency; do sleep 0.1; done; cat /root/latency");
    let taken: Vec<u64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let at = |share: usize| taken.get((taken.len() * share / 100).min(taken.len().saturating_sub(1)));
    // The figures: cargo shows them with --nocapture.
    eprintln!(
        "bind to grant, {what}, on {}: {} sockets, median {:?}, p99 {:?}, worst {:?} microseconds",
        node.kind,
        taken.len(),
        at(50),
        at(99),
        taken.last()
    );
}

fn a_port_that_is_added_while_ovs_runs_is_open_to_qemu(kind: &'static str) {
    let node = installed(kind, &[], "");
    pluggable(&node);
    let stock = node.snapshot();
    node.apply("--restart");
    node.agrees("after apply");
    node.start("vms", true);
    settled(&node);
    timed(&node, "one by one", |node| assert_eq!(hot_plugs(node, 20), 20));
    let told = node.sh("journalctl -o verbose VA_PORT=hp --no-pager | grep -c VA_SOCKET=/run/openvswitch/hp");
    assert_eq!(told.trim(), "20");

    node.sh(&format!("systemctl stop {UNIT}"));
    assert_eq!(hot_plugs(&node, 2), 0, "without it");
    assert!(node.sh("cat /root/hp.err").contains("Permission denied"));
    let (code, findings) = node.check();
    let named = findings.contains(&"watch-not-running vhost-accord-watch.service".to_string());
    assert!(code == 1 && named, "{findings:?}");
    node.apply("");
    assert_eq!(hot_plugs(&node, 1), 1, "apply starts it");

    node.sh("virsh destroy vms; rm -f /root/hp.* /root/stop* /root/latency*");
    let output = node.accord("revert --restart");
    assert_eq!(output.code, 0, "{output}");
    assert_ne!(node.try_sh(&format!("systemctl is-active {UNIT}")).code, 0, "revert stops it");
    node.same_as(&stock, "after revert");
}

fn many_hot_plugs_in_a_row(kind: &'static str) {
    let node = watched(kind, "");
    pluggable(&node);
    node.start("vms", true);
    // More by VHOST_ACCORD_HOT_PLUGS: each takes a second.
    let times = std::env::var("VHOST_ACCORD_HOT_PLUGS").ok().and_then(|text| text.parse().ok()).unwrap_or(50);
    timed(&node, "one by one", |node| assert_eq!(hot_plugs(node, times), times));
    let hundred = "set --; for n in $(seq 100); do set -- $@ -- add-port br-int m$n -- set interface m$n type=dpdkvhostuser; done; \
                   shift; ovs-vsctl $@; until test $(stat -c %g /run/openvswitch/m* | sort -u | wc -l) = 1; do sleep 0.05; done";
    timed(&node, "a hundred in one transaction", |node| drop(node.sh(hundred)));
    assert_eq!(
        node.sh("stat -c '%G %a' /run/openvswitch/m* | sort -u").trim(),
        node.sh("stat -c '%G %a' /run/openvswitch/vhuc0").trim()
    );
    let (threads, memory) = resources(&node);
    eprintln!("the watcher with 100 ports: {threads} threads, {memory} KiB resident");
}

fn resources(node: &Node) -> (u32, u32) {
    let of = |key: &str| {
        let script = format!("awk '/^{key}:/{{print $2}}' /proc/$(systemctl show -P MainPID {UNIT})/status");
        node.sh(&script).trim().parse().unwrap()
    };
    (of("Threads"), of("VmRSS"))
}

/// Waits for an entry of the service's in the journal.
pub fn told(node: &Node, fields: &str) {
    node.wait_for(fields, &format!("journalctl -q --no-pager -n 1 {fields} | grep ."));
}

fn what_others_change_is_told_and_fixed(kind: &'static str) {
    let node = watched(kind, "");
    node.sh("chmod 700 /var/lib/vhost_sockets");
    told(&node, "VA_FINDING=socket-directory-mode VA_STATE=begun");
    node.sh("chmod 2775 /var/lib/vhost_sockets");
    told(&node, "VA_FINDING=socket-directory-mode VA_STATE=ended");

    node.configure("modes = dpdkvhostuserclient dpdkvhostuser\\n[watch]\\ndrift = fix\\n");
    let drop_in = "/etc/systemd/system/ovs-vswitchd.service.d/50-vhost-accord.conf";
    let journal = node.sh("cat /var/lib/vhost-accord/journal.json");
    for (change, holds) in [
        ("chmod 700 /var/lib/vhost_sockets", "test $(stat -c %a /var/lib/vhost_sockets) = 2775".to_string()),
        (
            "sed -i 's/^group = .*/group = \"kvm\"/' /etc/libvirt/qemu.conf",
            "grep -q '^group = \"hugetlbfs\"' /etc/libvirt/qemu.conf".to_string(),
        ),
        (&format!("rm {drop_in}"), format!("test -e {drop_in}")),
        (
            "rm /etc/libvirt/hooks/qemu.d/50-vhost-accord",
            "test -e /etc/libvirt/hooks/qemu.d/50-vhost-accord".to_string(),
        ),
    ] {
        node.sh(change);
        node.wait_for(change, &holds);
    }
    settled(&node);
    assert_eq!(
        node.sh("cat /var/lib/vhost-accord/journal.json"),
        journal,
        "revert restores what was there at first"
    );
    assert!(node.accord("check --prometheus").stdout.contains("vhost_accord_watch_fixes_total 4\n"));

    // Somebody who does not give up.
    node.sh(
        "systemd-run -q --unit=other sh -c 'while :; do chmod 700 /var/lib/vhost_sockets; sleep 0.2; done'",
    );
    told(&node, "MESSAGE_ID=2b0b0a955f424207afc9e5fbb0ec5791");
    node.sh("systemctl stop other; systemctl reload vhost-accord-watch");
    node.wait_for("it is fixed again", "test $(stat -c %a /var/lib/vhost_sockets) = 2775");
}

fn what_goes_wrong_around_it_loses_nothing(kind: &'static str) {
    let node = watched(kind, "");
    let added = |when: &str| {
        node.sh("ovs-vsctl --may-exist add-port br-int hp -- set interface hp type=dpdkvhostuser");
        let same = "test \"$(stat -c %g /run/openvswitch/hp)\" = \"$(stat -c %g /run/openvswitch/vhuc0)\"";
        node.wait_for(when, same);
        node.sh("ovs-vsctl del-port hp");
    };
    node.sh(&format!("systemctl kill -s KILL {UNIT}"));
    added("after SIGKILL");
    // It asks whether OVSDB lives when it looks at everything.
    node.sh(&format!("pkill -STOP ovsdb-server; systemctl reload {UNIT}; sleep 3; systemctl reload {UNIT}"));
    node.wait_for(
        "the end of the session",
        &format!("journalctl -q -u {UNIT} | grep -q 'OVSDB does not answer; connecting again'"),
    );
    node.sh("pkill -CONT ovsdb-server");
    added("after a silent OVSDB");
    node.sh("systemctl restart libvirtd");
    added("after libvirt's restart");
    node.sh(&format!(
        "sysctl -q fs.inotify.max_queued_events=16; systemctl restart {UNIT}; systemctl kill -s STOP {UNIT}"
    ));
    node.sh("ovs-vsctl add-port br-int hq -- set interface hq type=dpdkvhostuser; \
             for n in $(seq 10000); do echo > /run/openvswitch/flood; rm /run/openvswitch/flood; done");
    node.sh(&format!("systemctl kill -s CONT {UNIT}"));
    node.wait_for(
        "after lost events",
        "test \"$(stat -c %g /run/openvswitch/hq)\" = \"$(stat -c %g /run/openvswitch/vhuc0)\"",
    );
    node.sh("mv /var/lib/vhost_sockets /var/lib/old; ln -s /etc /var/lib/vhost_sockets");
    added("with a link in a directory's place");
    node.sh("rm /var/lib/vhost_sockets; mv /var/lib/old /var/lib/vhost_sockets");
    node.sh(&format!("systemctl restart {}", node.switch()));
    node.wait_for("the watcher", &format!("systemctl is-active {UNIT}"));
    added("after the switch's restart");
    settled(&node);
}
