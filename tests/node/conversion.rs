// SPDX-License-Identifier: Apache-2.0
//! VMs that come in go over to the other type of port: migrated live between two real nodes, and restored on one, with
//! traffic through the switch before and after.

use super::steps::{BOTH, DEAF, HEARING, PATIENT};
use super::support::{Node, Output, on_nodes};
use super::twins::{self, Bridge, alone, meets, migrate, runs};

on_nodes!(bookworm = "bookworm": a_vm_migrates_to_the_other_type_and_back
    a_saved_vm_is_restored_on_the_other_type_and_back);
on_nodes!(trixie = "trixie": a_saved_vm_is_restored_on_the_other_type_and_back);

const CLIENT: &str = "type=dpdkvhostuserclient options:vhost-server-path=/var/lib/vhost_sockets/vhuc0";
const SERVER: &str = "type=dpdkvhostuser";

/// Sets `incoming`.
fn incoming(node: &Node, to: &str) {
    node.configure(&format!("{BOTH}{PATIENT}[convert]\\nincoming = {to}\\n"));
}

/// Sets the port's type by hand, as whoever installs the node.
fn port(node: &Node, columns: &str) {
    node.sh(&format!(
        "ovs-vsctl remove Interface vhuc0 options vhost-server-path -- set Interface vhuc0 {columns}"
    ));
}

/// `dpdkvhostuser -` or `dpdkvhostuserclient /var/lib/vhost_sockets/vhuc0`.
fn port_of(node: &Node) -> String {
    let script = "echo $(ovs-vsctl get Interface vhuc0 type) $(ovs-vsctl --if-exists get Interface vhuc0 options:vhost-server-path)";
    node.sh(script).trim().replace('"', "")
}

/// QEMU's side in the running domain, as `mode path`.
fn side(node: &Node, options: &str) -> String {
    let script = format!(
        "virsh dumpxml {options} vmc | sed -n \"s/.*<source type='unix' path='\\([^']*\\)' mode='\\([^']*\\)'.*/\\2 \\1/p\""
    );
    node.sh(&script).trim().to_string()
}

const AS_CLIENT: &str = "server /var/lib/vhost_sockets/vhuc0";
const AS_SERVER: &str = "client /run/openvswitch/vhuc0";

/// Expects the running domain's side and the port to be as given.
fn has(node: &Node, expected_side: &str, expected_port: &str) {
    let now = (side(node, ""), port_of(node));
    let journal = || node.sh("journalctl -t vhost-accord -o short-precise -n 20");
    assert_eq!(now, (expected_side.to_string(), expected_port.to_string()), "{}", journal());
}

/// A second port, and a flow by the number of the VM's port: it has to count what the VM sends whatever type the port has.
fn count_frames(node: &Node) {
    node.sh("ovs-vsctl add-port br-int peer -- set Interface peer type=internal; ip link set peer up; \
         n() { ovs-vsctl get Interface $1 ofport; }; \
         ovs-ofctl add-flow br-int priority=10,in_port=$(n vhuc0),actions=output:$(n peer)");
}

/// Frames that came in by the VM's port, and frames that went out by the second one.
fn frames(node: &Node) -> (u64, u64) {
    let from = "ovs-ofctl dump-flows br-int | sed -n 's/.*n_packets=\\([0-9]*\\),.*priority=10.*/\\1/p'";
    let out = "ovs-ofctl dump-ports br-int peer | sed -n 's/.*tx pkts=\\([0-9]*\\),.*/\\1/p'";
    let text = node.sh(&format!("{from}; {out}"));
    let mut numbers = text.lines().map(|line| line.trim().parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// Waits for more frames than `before` at both ports.
fn frames_after(node: &Node, (from, out): (u64, u64), when: &str) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(40);
    loop {
        let now = frames(node);
        if now.0 > from && now.1 > out {
            eprintln!("{when}: {} frames came in by vhuc0, {} went out by peer", now.0 - from, now.1 - out);
            return;
        }
        assert!(std::time::Instant::now() < end, "{when}: no frames: {now:?} after {:?}", (from, out));
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

/// The firmware asks for an address anew.
fn frames_after_reset(node: &Node, when: &str) {
    let before = frames(node);
    node.sh("virsh reset vmc");
    frames_after(node, before, when);
}

/// Expects the journal to say that it was converted, once more than before.
fn conversions(node: &Node) -> usize {
    node.sh("journalctl -t vhost-accord -o cat MESSAGE_ID=d7639bb0719048b2b9402f798f4cdc22 | wc -l")
        .trim()
        .parse()
        .unwrap()
}

fn moves(from: &Node, to: &Node, number: u8, when: &str) {
    let moved = migrate(from, "vmc", number);
    assert_eq!(moved.code, 0, "{when}: {moved} {}", to.sh("journalctl -t vhost-accord -o cat -n 12"));
    assert!(runs(to, "vmc") && !runs(from, "vmc"), "{when}");
}

fn stays(from: &Node, to: &Node, number: u8, word: &str) -> Output {
    let refused = migrate(from, "vmc", number);
    assert_ne!(refused.code, 0, "{word}: {refused}");
    let journal = || to.sh("journalctl -t vhost-accord -o short-precise -n 12");
    assert!(refused.stderr.contains(word), "{word}: {refused} {}", journal());
    assert!(runs(from, "vmc") && !runs(to, "vmc"), "{word}: it was to stay");
    eprintln!("{}", refused.stderr.trim());
    refused
}

fn a_vm_migrates_to_the_other_type_and_back(kind: &'static str) {
    let _alone = alone();
    let bridge = Bridge::new();
    let [one, two] = [1, 2].map(|number| twins::node(kind, &bridge, number, &format!("{BOTH}{PATIENT}")));
    two.sh("virsh undefine vmc");
    meets(&one, 2);
    meets(&two, 1);
    [&one, &two].into_iter().for_each(count_frames);
    // Node two has gone over: there the VM's port is of the other type.
    port(&two, CLIENT);

    one.start("vmc", true);
    frames_after(&one, (0, 0), "before");
    let hook = "/etc/libvirt/hooks/qemu.d/50-vhost-accord";
    two.sh(&format!("mv {hook} /root/"));
    stays(&one, &two, 2, "Failed to connect to '/run/openvswitch/vhuc0': No such file or directory");
    two.sh(&format!("mv /root/50-vhost-accord {hook}"));
    stays(&one, &two, 2, "vhost-accord: both-ends-client: ");

    // There, in a chain: the hook before changes the domain as well, the one behind sees both.
    two.sh(
        "printf '%s\\n' '[ \"$2\" != migrate ] || sed \"s#</name>#</name><title>chained</title>#\" | tee /run/first' >> /etc/libvirt/hooks/qemu; \
         printf '%s\\n' '[ \"$2\" != migrate ] || cat > /run/last' >> /etc/libvirt/hooks/qemu.d/60-other",
    );
    incoming(&two, "dpdkvhostuserclient");
    one.sh("virsh reset vmc");
    frames_after(&one, frames(&one), "right before");
    let before = frames(&two);
    moves(&one, &two, 2, "there");
    frames_after(&two, before, "there, without a reset of the guest");
    frames_after_reset(&two, "there, after a reset");
    assert_eq!(side(&two, ""), AS_CLIENT);
    two.sh("virsh dumpxml vmc | grep -q '<title>chained</title>'");
    let changed = two.try_sh("diff /run/first /run/last").stdout;
    assert_eq!(changed.lines().filter(|line| line.starts_with(['<', '>'])).count(), 2, "one line: {changed}");
    assert_eq!(conversions(&two), 1, "{}", two.sh("journalctl -t vhost-accord -o cat -n 12"));
    assert_eq!(side(&two, "--inactive"), AS_SERVER, "libvirt takes the source's definition as it is");

    // And back.
    incoming(&one, "dpdkvhostuser");
    let before = frames(&one);
    moves(&two, &one, 1, "back");
    frames_after_reset(&one, "back");
    assert!(frames(&one) > before);
    has(&one, AS_SERVER, "dpdkvhostuser");

    // The port there was made by hand and is of the old type.
    port(&two, SERVER);
    in_use_is_refused(&one, &two);
    a_refusal_puts_the_port_back(&one, &two);
    moves(&one, &two, 2, "there again");
    has(&two, AS_CLIENT, "dpdkvhostuserclient /var/lib/vhost_sockets/vhuc0");
    frames_after_reset(&two, "there again: the flow by the port's number still counts");
    port(&one, CLIENT);
    moves(&two, &one, 1, "back again");
    has(&one, AS_SERVER, "dpdkvhostuser");
    frames_after_reset(&one, "back again");
    // nova's port keeps its type, whatever is configured, and the VM is as it.
    two.sh("ovs-vsctl set Interface vhuc0 external_ids:vm-uuid=x type=dpdkvhostuser -- remove Interface vhuc0 options vhost-server-path");
    moves(&one, &two, 2, "to nova's port");
    has(&two, AS_SERVER, "dpdkvhostuser");
}

/// Another VM of the target has the port.
fn in_use_is_refused(one: &Node, two: &Node) {
    two.sh("virsh dumpxml --inactive vms | sed -e 's/<name>vms/<name>other/; /<uuid>/d; /<mac /d' \
         -e 's#/var/lib/vhost_sockets/vhus0#/run/openvswitch/vhuc0#; s/server/client/' > /root/other.xml; \
         virsh define /root/other.xml; timeout 30 virsh start other");
    let refused = stays(
        one,
        two,
        2,
        "vhost-accord: conversion-port-in-use: /run/openvswitch/vhuc0: port vhuc0 is in use by VM other",
    );
    assert_eq!(refused.stderr.lines().filter(|line| line.contains("vhost-accord: ")).count(), 1, "{refused}");
    assert_eq!(port_of(two), "dpdkvhostuser");
    two.sh("virsh destroy other; virsh undefine other");
    // A process that libvirt knows nothing of.
    two.sh(
        "systemd-run -q --unit=stranger python3 -c 'import socket,time; s=socket.socket(socket.AF_UNIX); s.connect(\"/run/openvswitch/vhuc0\"); open(\"/run/there\",\"w\"); time.sleep(99)'; \
         until test -e /run/there; do sleep 0.1; done",
    );
    stays(one, two, 2, "port vhuc0 is in use by a process at /run/openvswitch/vhuc0");
    assert_eq!(port_of(two), "dpdkvhostuser");
    two.sh("systemctl stop stranger");
}

/// Something else is against the VM as it would be.
fn a_refusal_puts_the_port_back(one: &Node, two: &Node) {
    let path = "/var/lib/vhost_sockets/vhuc0";
    two.sh(&format!(
        "rm -f {path}; systemd-run -q --unit=squatter python3 -c 'import socket,time; s=socket.socket(socket.AF_UNIX); s.bind(\"{path}\"); s.listen(); time.sleep(99)'; \
         until test -S {path}; do sleep 0.1; done"
    ));
    stays(one, two, 2, "vhost-accord: client-socket-in-use: ");
    assert_eq!(port_of(two), "dpdkvhostuser");
    two.sh(&format!("journalctl -t vhost-accord -o cat | grep -q 'restored port vhuc0: dpdkvhostuser'; systemctl stop squatter; rm -f {path}"));
}

fn a_saved_vm_is_restored_on_the_other_type_and_back(kind: &'static str) {
    let _alone = alone();
    let node = Node::up(kind);
    incoming(&node, "dpdkvhostuserclient");
    node.apply("--restart");
    count_frames(&node);
    node.start("vmc", true);
    frames_after(&node, (0, 0), "before");
    let before = frames(&node);
    restored(&node, "restored");
    has(&node, AS_CLIENT, "dpdkvhostuserclient /var/lib/vhost_sockets/vhuc0");
    frames_after(&node, before, "restored, without a reset of the guest");
    frames_after_reset(&node, "restored, after a reset");
    assert_eq!(side(&node, "--inactive"), AS_SERVER, "the definition is not libvirt's to convert");
    incoming(&node, "dpdkvhostuser");
    restored(&node, "and back");
    has(&node, AS_SERVER, "dpdkvhostuser");
    frames_after_reset(&node, "and back");
    node.agrees("after the way back");

    incoming(&node, "dpdkvhostuserclient");
    node.sh("virsh destroy vmc; virsh dumpxml --inactive vmc > /root/vmc.xml");
    both_or_neither(&node);
}

fn restored(node: &Node, when: &str) {
    node.sh("virsh managedsave vmc");
    let output = node.try_sh("timeout 30 virsh start vmc");
    assert_eq!(output.code, 0, "{when}: {output} {}", node.sh("journalctl -t vhost-accord -o cat -n 12"));
    assert!(output.stdout.contains("vmc") && runs(node, "vmc"), "{when}");
}

/// The hook as libvirt calls it, with what cannot be had from libvirt itself: a switch and a reader that hang.
fn both_or_neither(node: &Node) {
    let hook = "/etc/libvirt/hooks/qemu.d/50-vhost-accord vmc restore begin -";
    let neither = |before: &str, after: &str, said: &str| {
        let begun = node.sh("date +%s.%N");
        node.sh(before);
        let output = node.try_sh(&format!("{hook} < /root/vmc.xml"));
        node.sh(after);
        assert_eq!((output.code, output.stdout.as_str()), (0, ""), "{before}: {output}");
        let journal = node.sh(&format!("journalctl -t vhost-accord -o cat --since=@{}", begun.trim()));
        assert!(journal.contains(said), "{before}: {journal}");
        assert_eq!(port_of(node), "dpdkvhostuser", "{before}");
    };
    node.configure(&format!("{BOTH}hook-deadline = 4\\n[convert]\\nincoming = dpdkvhostuserclient\\n"));
    neither(DEAF, HEARING, "vmc: not converted: asking OVSDB: ");
    neither(
        "kill -STOP $(pgrep -o ovs-vswitchd)",
        "kill -CONT $(pgrep -o ovs-vswitchd)",
        "did not change port vhuc0 to dpdkvhostuserclient",
    );
    node.wait_for("ovs-vswitchd", "ovs-appctl --timeout=5 version");

    // libvirt reads no further: what is longer than a pipe never gets through.
    node.sh("(cat /root/vmc.xml; head -c 300000 /dev/zero | tr '\\0' ' ') > /root/long.xml");
    let output = node.try_sh(&format!(
        "bash -c '{hook} < /root/long.xml 2>/root/said | (sleep 15; cat >/dev/null); exit ${{PIPESTATUS[0]}}'"
    ));
    assert_eq!(output.code, 1, "{output}");
    node.sh("grep 'vhost-accord: conversion-failed: vmc: ' /root/said");
    assert_eq!(port_of(node), "dpdkvhostuser");

    // And with everything in order, all of it, once.
    let output =
        node.try_sh(&format!("{hook} < /root/vmc.xml > /root/out.xml; diff /root/vmc.xml /root/out.xml"));
    assert_eq!(output.stdout.lines().filter(|line| line.starts_with('>')).count(), 1, "{output}");
    assert!(output.stdout.contains("> ") && output.stdout.contains("mode='server'"), "{output}");
    assert_eq!(port_of(node), "dpdkvhostuserclient /var/lib/vhost_sockets/vhuc0");
    assert_eq!(node.sh(&format!("{hook} < /root/out.xml")), "", "nothing is left to convert");
}
