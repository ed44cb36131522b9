// SPDX-License-Identifier: Apache-2.0
//! The entries in the dataplane's units: whatever they hang in, they end in time and the dataplane comes up.

use std::time::{Duration, Instant};

use super::steps::{BOTH, DEAF, HEARING, push_slow_library};
use super::support::{Node, on_nodes};

on_nodes!(bookworm = "bookworm": entries_end_in_time only_a_new_identity_takes_a_whole_look);

/// The deadline in these tests, less than anything hangs, and what a busy machine takes around it.
const DEADLINE: &str = "service-deadline = 2\\n";
const IN_TIME: Duration = Duration::from_secs(7);

/// Expects an entry to end in time; its exit code.
fn entry(node: &Node, name: &str) -> i32 {
    let begun = Instant::now();
    let output = node.accord(&format!("service {name}"));
    assert!(begun.elapsed() < IN_TIME, "{name}: {:?}: {output}", begun.elapsed());
    output.code
}

fn gave_up(node: &Node, name: &str) -> bool {
    let journal = format!(
        "journalctl -t vhost-accord MESSAGE_ID=7a5f4acfcc43489294db93092d466ee4 VA_ENTRY={name} -o cat \
         | grep -q 'took longer than 2.0 s'"
    );
    node.try_sh(&journal).code == 0
}

fn runs(node: &Node) -> bool {
    node.try_sh("ovs-appctl --timeout=5 version").code == 0
}

fn entries_end_in_time(kind: &'static str) {
    let node = Node::up(kind);
    node.configure(&format!("{BOTH}{DEADLINE}"));
    node.apply("--restart");
    for name in ["dataplane-pre", "vswitchd-pre", "vswitchd-post"] {
        assert_eq!(entry(&node, name), 0, "{name}");
    }
    // A database that takes connections and never answers.
    node.sh(DEAF);
    for name in ["vswitchd-pre", "vswitchd-post"] {
        assert_eq!(entry(&node, name), 1, "{name}");
    }
    node.sh(HEARING);
    // One that is late, within the deadline.
    node.configure(&format!("{BOTH}service-deadline = 20\\n"));
    let late = "p=$(cat /run/openvswitch/ovsdb-server.pid); kill -STOP $p; (sleep 4; kill -CONT $p) & vhost-accord service";
    for name in ["vswitchd-pre", "vswitchd-post"] {
        node.sh(&format!("{late} {name}"));
    }
    node.configure(&format!("{BOTH}{DEADLINE}"));

    // A file system that answers late, as systemd sees it: the dataplane comes up all the same.
    push_slow_library(&node);
    node.sh("mkdir -p /run/systemd/system/ovs-vswitchd.service.d; printf '[Service]\\nEnvironment=LD_PRELOAD=/root/slow.so\\n' > /run/systemd/system/ovs-vswitchd.service.d/slow.conf; systemctl daemon-reload");
    node.sh("systemctl restart ovs-vswitchd");
    for name in ["vswitchd-pre", "vswitchd-post"] {
        assert!(
            gave_up(&node, name),
            "{name} was to give up: {}",
            node.sh("journalctl -t vhost-accord -n 20")
        );
    }
    assert!(runs(&node), "it was to start without our entries");

    // Who wants it otherwise gets it, with the next apply.
    node.configure(&format!("{BOTH}{DEADLINE}on-error = refuse\\n"));
    node.apply_anyway("");
    let refused = node.try_sh("systemctl restart ovs-vswitchd");
    assert_ne!(refused.code, 0, "on-error = refuse: {refused}");
    node.sh("systemctl stop ovs-vswitchd; rm -r /run/systemd/system/ovs-vswitchd.service.d; systemctl daemon-reload; systemctl reset-failed ovs-vswitchd; systemctl restart openvswitch-switch");
    node.wait_for("ovs-vswitchd", "ovs-appctl --timeout=5 version");
    node.start("vmc", false);
}

/// A name service that never answers, as the whole look asks for it.
const MUTE: &str = "mv /usr/bin/getent /usr/bin/getent.good; printf '#!/bin/sh\\nexec sleep 98765\\n' > /usr/bin/getent; chmod 755 /usr/bin/getent";

/// What the entries execute has no more than they kept: seen by the name service's own status.
fn executed_with_what_is_kept(node: &Node) {
    node.sh("printf '#!/bin/sh\\ncat /proc/self/status > /run/child\\nexec getent.good \"$@\"\\n' > /usr/bin/getent; chown root:root /var/log/openvswitch");
    assert_eq!(entry(node, "dataplane-pre"), 0);
    assert_eq!(node.owner("/var/log/openvswitch").split(':').next(), Some("openvswitch"), "it does its work");
    let sets =
        node.sh("sed -n 's/^\\(NoNewPrivs\\|CapEff\\|CapPrm\\|CapInh\\|CapAmb\\):\t*/\\1 /p' /run/child");
    // chown, dac_override, dac_read_search, fowner, fsetid, sys_ptrace.
    let kept = "000000000008001f";
    let none = "0000000000000000";
    let wanted = format!("CapInh {none}\nCapPrm {kept}\nCapEff {kept}\nCapAmb {none}\nNoNewPrivs 1\n");
    assert_eq!(sets, wanted);
    node.sh("rm /run/child; printf '#!/bin/sh\\nexec sleep 98765\\n' > /usr/bin/getent");
}

fn only_a_new_identity_takes_a_whole_look(kind: &'static str) {
    let node = Node::up(kind);
    node.configure(&format!("{BOTH}{DEADLINE}dataplane-user = openvswitch\\n"));
    node.apply("--restart");
    node.sh(MUTE);
    for name in ["dataplane-pre", "vswitchd-pre", "vswitchd-post"] {
        assert_eq!(entry(&node, name), 0, "{name} asks a name service");
    }
    executed_with_what_is_kept(&node);
    // Something is not the dataplane's yet: that takes a whole look, which does not come to its end.
    node.sh("chown root:root /var/log/openvswitch");
    assert_eq!(entry(&node, "dataplane-pre"), 1);
    assert!(gave_up(&node, "dataplane-pre"));
    assert_eq!(node.try_sh("pgrep -f '[s]leep 98765'").code, 1, "the name service was left behind");
    node.sh("systemctl restart openvswitch-switch");
    assert!(runs(&node), "it was to start without our entries");
    node.sh("mv /usr/bin/getent.good /usr/bin/getent; systemctl restart openvswitch-switch");
    assert_eq!(node.owner("/var/log/openvswitch").split(':').next(), Some("openvswitch"));
    node.agrees("after the whole look");
}
