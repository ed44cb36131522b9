// SPDX-License-Identifier: Apache-2.0
//! `probe` on a real node: what it says is what `check` says, and neither VMs nor ports notice.

use super::steps::BOTH;
use super::support::{Node, on_nodes};

on_nodes!(bookworm = "bookworm": it_fails_before_apply_and_works_after it_never_disagrees_with_check a_kill_leaves_nothing);
on_nodes!(rhel_2_9 = "rhel-2.9": it_fails_before_apply_and_works_after it_never_disagrees_with_check);

/// Its exit code, and of each trial the port type, and the step, errno and side that failed.
fn probe(node: &Node) -> (i32, Vec<(String, String)>) {
    let output = node.accord("probe --json");
    let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output}"));
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
    let trial = |trial: &serde_json::Value| {
        let failed = &trial["failed"];
        let end = match failed.is_null() {
            true => "works".to_string(),
            false => {
                format!("{} {} {}", text(&failed["step"]), text(&failed["errno"]), text(&failed["side"]))
            }
        };
        (text(&trial["port_type"]), end)
    };
    (output.code, json["trials"].as_array().unwrap().iter().map(trial).collect())
}

fn left_behind(node: &Node) -> String {
    node.sh("find /dev/hugepages /run/openvswitch /var/lib/vhost_sockets -name '*probe*'; pgrep -af '[p]robe-child' || :")
}

fn it_fails_before_apply_and_works_after(kind: &'static str) {
    let node = Node::up(kind);
    node.configure(BOTH);
    let (code, trials) = probe(&node);
    let named = |kind: &str, end: &str| (kind.to_string(), end.to_string());
    let expected =
        [named("dpdkvhostuserclient", "bind ENOENT qemu"), named("dpdkvhostuser", "live-socket EACCES qemu")];
    assert_eq!((code, trials), (2, expected.to_vec()), "stock {kind}");

    node.apply("--restart");
    let works = |trials: &[(String, String)], count| {
        assert_eq!(trials.len(), count, "{trials:?}");
        assert!(trials.iter().all(|(_, end)| end == "works"), "{trials:?}");
    };
    let (code, trials) = probe(&node);
    assert_eq!(code, 0, "{trials:?}");
    works(&trials, 2);

    node.start("vmc", true);
    node.start("vms", true);
    let state = "virsh list --name --state-running; pgrep qemu-system; stat -c '%n %i %U:%G %a' /run/openvswitch/vhuc0 \
                 /var/lib/vhost_sockets/vhus0; find /dev/hugepages; \
                 grep -c VHOST_CONFIG /var/log/openvswitch/ovs-vswitchd.log";
    let before = node.sh(state);
    let (code, trials) = probe(&node);
    assert_eq!(code, 0, "{trials:?}");
    // As the next VM, and as those that run, which see other mounts.
    works(&trials, 4);
    assert_eq!(node.sh(state), before, "a VM or a port noticed");
    assert_eq!(left_behind(&node), "");
}

fn it_never_disagrees_with_check(kind: &'static str) {
    let node = Node::up(kind);
    node.configure(BOTH);
    node.apply("--restart");
    node.start("vms", true);
    let confined = kind == "rhel-2.9";
    // What breaks now shows the step; what would only break later works now.
    let breakages = [
        ("chgrp root /run/openvswitch/vhuc0", "live-socket EACCES qemu"),
        ("chmod 0755 /run/openvswitch/vhuc0", "live-socket EACCES qemu"),
        ("chown root /var/lib/vhost_sockets && chmod 0755 /var/lib/vhost_sockets", "bind EACCES qemu"),
        ("chgrp daemon /var/lib/vhost_sockets", if confined { "connect EACCES dataplane" } else { "works" }),
        (
            "chgrp daemon /var/lib/vhost_sockets/vhus0",
            if confined { "live-socket EACCES dataplane" } else { "works" },
        ),
        ("chmod 0700 /dev/hugepages", "memory EACCES qemu"),
        ("virsh destroy vms && rm -rf /var/lib/vhost_sockets", "bind ENOENT qemu"),
    ];
    for (script, expected) in breakages {
        node.sh(script);
        let (code, findings) = node.check();
        let (probed, trials) = probe(&node);
        assert_eq!((code, probed), (2, 2), "{script}, on {kind}: {findings:?}, {trials:?}");
        let ends: Vec<&str> =
            trials.iter().map(|(_, end)| end.as_str()).filter(|end| *end != "works").collect();
        match expected {
            "works" => assert_eq!(ends, Vec::<&str>::new(), "{script}, on {kind}"),
            step => assert!(!ends.is_empty() && ends.iter().all(|end| *end == step), "{script}: {trials:?}"),
        }
        node.apply("");
        let (probed, trials) = probe(&node);
        assert_eq!((node.check().0 == 2, probed), (false, 0), "fixed: {script}, on {kind}: {trials:?}");
    }
    assert_eq!(left_behind(&node), "");
}

fn a_kill_leaves_nothing(kind: &'static str) {
    let node = Node::up(kind);
    node.configure(BOTH);
    node.apply("--restart");
    for signal in ["TERM", "INT", "KILL"] {
        let script = format!(
            "for ms in 05 10 15 20 25 30 35 40 50 60 70 80; do vhost-accord probe >/dev/null 2>&1 & \
             sleep 0.0$ms; kill -{signal} $!; wait $! || :; done"
        );
        node.try_sh(&script);
        if signal == "KILL" {
            // Nobody can clean up after that; the next one does.
            assert_eq!(probe(&node).0, 0);
        }
        assert_eq!(left_behind(&node), "", "after SIG{signal}");
    }
    assert_eq!(node.sh("cat /sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages").trim(), "0");
}
