// SPDX-License-Identifier: Apache-2.0
//! What comes between a conversion and its end: kills, failures, a start that hangs, the package's removal.

use super::convert::{connection, convert, holdings, is_marked, mark, prepared, state, verdict};
use super::steps::BOTH;
use super::support::{Node, on_nodes};

on_nodes!(bookworm = "bookworm": what_fails_is_put_back);
on_nodes!(later bookworm = "bookworm":
    what_was_killed_is_finished_or_taken_back
    a_start_that_hangs_is_ended_and_put_back
    the_package_goes_while_a_converted_vm_runs
);

/// virsh that kills who called it, or fails, the next time it is to do something.
fn set_trap(node: &Node) {
    node.sh("mv /usr/bin/virsh /usr/bin/virsh.real; cat > /usr/bin/virsh <<'END'
#!/bin/sh
[ -e /tmp/trap ] && read verb when < /tmp/trap
for word; do
  [ \"$word\" = \"$verb\" ] || continue
  rm /tmp/trap
  case $when in
    fail) echo 'error: made to fail' >&2; exit 1;;
    after) /usr/bin/virsh.real \"$@\";;
  esac
  kill -9 $PPID
  exit 1
done
exec /usr/bin/virsh.real \"$@\"
END
chmod 755 /usr/bin/virsh");
}

fn trap(node: &Node, verb: &str, when: &str) {
    node.sh(&format!("echo {verb} {when} > /tmp/trap"));
}

fn what_was_killed_is_finished_or_taken_back(kind: &'static str) {
    let node = prepared(kind);
    let held = holdings(&node);
    node.start("vmc", true);
    set_trap(&node);
    mark(&node, "vmc");
    let points = [
        ("managedsave", "before"),
        ("managedsave", "after"),
        ("define", "after"),
        ("managedsave-define", "after"),
        ("start", "before"),
        ("start", "after"),
    ];
    for (verb, when) in points {
        trap(&node, verb, when);
        let killed = node.accord("convert --pause vmc");
        assert_eq!(killed.code, 137, "{verb} {when}: {killed}");
        node.accord("convert --pause vmc");
        assert_eq!(state(&node, "vmc"), "running", "{verb} {when}");
        assert_eq!(verdict(&node, "vmc").0, "done", "{verb} {when}");
        node.agrees(&format!("after it was killed at {verb}, {when}"));
        convert(&node, "--pause --to dpdkvhostuser vmc", 0);
        assert_eq!(holdings(&node), held, "{verb} {when}");
    }
    assert!(is_marked(&node, "vmc"), "the guest was started anew");

    // Of a VM whose memory is saved: between that and its definition, and between that and the port.
    for verb in ["managedsave-define", "define"] {
        node.sh("virsh managedsave vmc");
        trap(&node, verb, "after");
        assert_eq!(node.accord("convert vmc").code, 137, "{verb}");
        convert(&node, "vmc", 0);
        node.sh("timeout 30 virsh start vmc");
        assert!(is_marked(&node, "vmc"), "{verb}: the guest was started anew");
        convert(&node, "--pause --to dpdkvhostuser vmc", 0);
        assert_eq!(holdings(&node), held, "{verb}");
    }

    // Of a VM that is off: between definition and port.
    trap(&node, "define", "after");
    assert_eq!(node.accord("convert vmd").code, 137);
    assert!(node.refuses("vmd").contains("both-ends-server"));
    convert(&node, "vmd", 0);
    node.sh("timeout 30 virsh start vmd && virsh destroy vmd");
    node.sh("rm -f /var/lib/vhost_sockets/*");

    // And taken back instead of finished, the VM that was stopped for it included.
    trap(&node, "managedsave-define", "after");
    assert_eq!(node.accord("convert --pause vmc").code, 137);
    assert_eq!(state(&node, "vmc"), "shut off");
    let output = node.accord("revert");
    assert!(output.code < 2, "{output}");
    assert_eq!(state(&node, "vmc"), "running");
    assert!(is_marked(&node, "vmc"), "the guest was started anew");
    assert_eq!(holdings(&node), held);
}

fn what_fails_is_put_back(kind: &'static str) {
    let node = prepared(kind);
    let held = holdings(&node);
    node.start("vmc", true);
    set_trap(&node);
    mark(&node, "vmc");
    for verb in ["managedsave", "define", "managedsave-define", "start"] {
        trap(&node, verb, "fail");
        let said = convert(&node, "--pause vmc", 2);
        assert!(said.stdout.contains("made to fail"), "{verb}: {said}");
        assert_eq!((state(&node, "vmc").as_str(), holdings(&node)), ("running", held.clone()), "{verb}");
        node.agrees(&format!("after {verb} had failed"));
    }
    assert!(is_marked(&node, "vmc"), "the guest was started anew");

    // A switch that does not take it in time.
    node.sh("kill -STOP $(pgrep -o ovs-vswitchd)");
    let said = convert(&node, "vmd", 2);
    node.sh("kill -CONT $(pgrep -o ovs-vswitchd)");
    assert!(
        said.stdout.contains("did not change port vhuc1") && said.stdout.contains("restored as it was"),
        "{said}"
    );
    assert_eq!(holdings(&node), held);
    assert_eq!(
        node.sh("grep -c '\"kind\": \"conversion\"' /var/lib/vhost-accord/journal.json || true"),
        "0\n"
    );
    node.wait_for("the port", "vhost-accord check | grep -q ^agreed");
    convert(&node, "vmd", 0);
}

/// Without our hook nothing keeps a VM from starting while the switch does not move: QEMU waits for ever.
fn a_start_that_hangs_is_ended_and_put_back(kind: &'static str) {
    let node = Node::up(kind);
    node.configure(&format!("{BOTH}manage = accounts sockets hugepages dataplane qemu-conf legacy\\n"));
    node.apply("--restart");
    node.start("vmc", true);
    mark(&node, "vmc");
    node.sh("mv /usr/bin/virsh /usr/bin/virsh.real; : > /tmp/trap; cat > /usr/bin/virsh <<'END'
#!/bin/sh
for word; do
  case $word in
    start) [ ! -e /tmp/trap ] || { rm /tmp/trap; kill -STOP $(pgrep -o ovs-vswitchd); };;
    destroy) kill -CONT $(pgrep -o ovs-vswitchd);;
  esac
done
exec /usr/bin/virsh.real \"$@\"
END
chmod 755 /usr/bin/virsh");
    let said = convert(&node, "--pause vmc", 2);
    assert!(said.stdout.contains("restored as it was: ") && said.stdout.contains("not done after"), "{said}");
    assert_eq!((state(&node, "vmc").as_str(), verdict(&node, "vmc").0.as_str()), ("running", "pause"));
    assert!(is_marked(&node, "vmc"), "the guest was started anew");
    node.wait_for("the connection", "vhost-accord check --json | grep -q '\"connected\": true'");
}

fn the_package_goes_while_a_converted_vm_runs(kind: &'static str) {
    let node = prepared(kind);
    let held = holdings(&node);
    convert(&node, "vmc vmd", 0);
    node.start("vmc", true);
    let of_switch = connection(&node, "vmc");
    let going = node.accord("service package-removing");
    assert!(going.code == 0 && going.stdout.contains("in use: VM vmc runs (shut it off"), "{going}");
    assert_eq!(connection(&node, "vmc"), of_switch);
    let now = holdings(&node);
    assert!(now.contains("path='/run/openvswitch/vhuc1' mode='client'"), "{now}");
    assert!(now.contains("path='/var/lib/vhost_sockets/vhuc0' mode='server'"), "{now}");
    node.sh("virsh destroy vmc; rm -f /var/lib/vhost_sockets/*");
    let output = node.accord("revert");
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(holdings(&node), held);
}
