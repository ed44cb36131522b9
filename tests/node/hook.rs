// SPDX-License-Identifier: Apache-2.0
//! The hook through real libvirt: what would fail or hang is refused by name, what agrees starts, and nothing that goes
//! wrong in the hook harms a VM.

use std::time::Instant;

use super::extremes::{
    HOOK, IN_TIME, every_operation_whatever_comes, no_memory_is_no_refusal, only_what_is_proven_stale_goes,
    told,
};
use super::steps::{BOTH, DEAF, HEARING, PATIENT, foreign_hooks, hook_calls};
use super::support::{Node, on_every_node, on_nodes};

on_every_node!(stock_failures_become_refusals);

/// What depends on libvirt's version rather than on the dataplane's units.
mod by_libvirt {
    use super::*;

    on_nodes!(bookworm = "bookworm": each_disagreement_is_named the_whole_table_beside_a_foreign_hook
        a_failing_hook_kills_nothing installed_beside_others_and_found);
    on_nodes!(later bookworm = "bookworm": fifty_small_domains_start);
    on_nodes!(trixie = "trixie": the_whole_table_beside_a_foreign_hook installed_beside_others_and_found);
    on_nodes!(rhel_2_9 = "rhel-2.9": the_whole_table_beside_a_foreign_hook);
    on_nodes!(rhel_3_6 = "rhel-3.6": each_disagreement_is_named);
}

/// Expects the hook to refuse a start within its deadline, naming the cause.
fn refused(node: &Node, domain: &str, id: &str) {
    let begun = Instant::now();
    named(node, domain, id);
    assert!(begun.elapsed() < IN_TIME, "{domain} on {}: {id}: {:?}", node.kind, begun.elapsed());
}

/// Expects the hook to refuse a start, naming the cause in one line and in the journal.
fn named(node: &Node, domain: &str, id: &str) {
    let told = node.refuses(domain);
    let line = format!("vhost-accord: {id}: ");
    assert!(told.contains(&line), "{domain} on {}: expected {id}: {told}", node.kind);
    assert!(told.contains("; fix: "), "{domain} on {}: {told}", node.kind);
    let lines = told.lines().filter(|line| line.contains("vhost-accord: ")).count();
    assert_eq!(lines, 1, "{told}");
    node.wait_for(
        "the journal's entry",
        &format!("journalctl -t vhost-accord VA_FINDING={id} VA_DOMAIN={domain} -o cat | grep -q ."),
    );
}

fn stock_failures_become_refusals(kind: &'static str) {
    let node = Node::up(kind);
    let told = node.refuses("vmc");
    assert!(told.contains("Permission denied"), "{told}");
    let told = node.refuses("vms");
    assert!(told.contains("Failed to bind socket"), "{told}");
    // The hang: QEMU may make its socket and nobody comes.
    node.sh(&format!("install -d -o {} /var/lib/vhost_sockets; ovs-vsctl del-port vhus0", node.qemu()));
    let hung = node.try_sh("timeout 8 virsh start vms");
    assert_eq!(hung.code, 124, "it was to hang: {hung}");
    node.sh("virsh destroy vms; sleep 1; ! virsh domstate vms | grep -q running");

    // The hook alone, and nothing else of the accord.
    node.configure(&format!("{BOTH}manage = hook\\n"));
    assert_eq!(node.accord("apply").code, 2, "the rest of the accord does not hold");
    refused(&node, "vmc", "server-socket-refuses-qemu");
    refused(&node, "vms", "port-missing");
    node.sh("ovs-vsctl add-port br-int vhus0 -- set Interface vhus0 type=dpdkvhostuserclient options:vhost-server-path=/var/lib/vhost_sockets/vhus0");
    node.sh("chown root:root /var/lib/vhost_sockets");
    refused(&node, "vms", "socket-directory-refuses-qemu");
    node.sh("rmdir /var/lib/vhost_sockets");
    refused(&node, "vms", "socket-directory-missing");
    if node.is_rhel() {
        // The second hang: OVS is not root and may not connect to what QEMU makes.
        node.sh(&format!("install -d -o {} /var/lib/vhost_sockets", node.qemu()));
        refused(&node, "vms", "client-socket-refuses-dataplane");
        node.sh("rmdir /var/lib/vhost_sockets");
    }

    node.configure(BOTH);
    node.apply("--restart");
    node.agrees("after apply");
    node.start("vmc", true);
    node.start("vms", true);
    node.agrees("with both VMs running");
}

fn each_disagreement_is_named(kind: &'static str) {
    let node = Node::up(kind);
    node.configure(&format!("{BOTH}{PATIENT}"));
    node.apply("--restart");
    let client = "type=dpdkvhostuserclient options:vhost-server-path=/var/lib/vhost_sockets/vhus0";
    let again = format!("ovs-vsctl set Interface vhus0 {client}");
    let cases: Vec<(&str, String, &str, String)> = vec![
        ("vms", "ovs-vsctl del-port vhus0".into(), "port-missing", format!("ovs-vsctl add-port br-int vhus0 -- set Interface vhus0 {client}")),
        ("vms", "ovs-vsctl set Interface vhus0 type=dpdkvhostuser".into(), "both-ends-server", again.clone()),
        ("vms", "ovs-vsctl set Interface vhus0 options:vhost-server-path=/var/lib/vhost_socket/vhus0".into(), "port-path-differs", again.clone()),
        (
            "vmc",
            "ovs-vsctl set Interface vhuc0 type=dpdkvhostuserclient options:vhost-server-path=/run/openvswitch/vhuc0".into(),
            "both-ends-client",
            "ovs-vsctl remove Interface vhuc0 options vhost-server-path -- set Interface vhuc0 type=dpdkvhostuser".into(),
        ),
        ("vms", "systemd-run -q --unit=squatter python3 -c 'import socket,time; s=socket.socket(socket.AF_UNIX); s.bind(\"/var/lib/vhost_sockets/vhus0\"); s.listen(); time.sleep(99)'; until test -S /var/lib/vhost_sockets/vhus0; do sleep 0.1; done".into(), "client-socket-in-use", "systemctl stop squatter; rm /var/lib/vhost_sockets/vhus0".into()),
        ("vms", "systemctl stop ovs-vswitchd".into(), "dataplane-not-running", format!("systemctl start {}", node.switch())),
        ("vms", "virsh dumpxml --inactive vms > /root/good.xml; sed 's/49152/9000000/g' /root/good.xml > /root/bad.xml; virsh define /root/bad.xml".into(), "hugepages-not-enough", "virsh define /root/good.xml".into()),
        ("vms", "sed 's#<hugepages/>#<hugepages><page size=\"1\" unit=\"GiB\"/></hugepages>#' /root/good.xml > /root/bad.xml; virsh define /root/bad.xml".into(), "hugepages-not-mounted", "virsh define /root/good.xml".into()),
        ("vms", "sed \"s#<access mode='shared'/>##\" /root/good.xml > /root/bad.xml; virsh define /root/bad.xml".into(), "memory-not-shared", "virsh define /root/good.xml".into()),
    ];
    for (domain, breaks, id, fixes) in cases {
        node.sh(&breaks);
        named(&node, domain, id);
        node.sh(&fixes);
        if id == "dataplane-not-running" {
            node.wait_for("ovs-vswitchd", "ovs-appctl --timeout=5 version");
        }
    }
    // What is ours to fix is fixed, not reported.
    for breaks in [
        "chgrp root /run/openvswitch/vhuc0; chmod 0755 /run/openvswitch/vhuc0",
        "rm -rf /var/lib/vhost_sockets",
        "chown root:root /var/lib/vhost_sockets; chmod 0755 /var/lib/vhost_sockets",
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/var/lib/vhost_sockets/vhus0\")'; chmod 3775 /var/lib/vhost_sockets",
        // The dataplane comes back by itself: the start waits for it.
        "kill -9 $(pgrep -o ovs-vswitchd)",
    ] {
        node.sh(breaks);
        node.start("vmc", false);
        node.start("vms", false);
        node.agrees(breaks);
    }
    what_the_database_said_is_kept(&node);
    // `on-problem` lets a family pass.
    node.sh("ovs-vsctl set Interface vhuc0 type=dpdkvhostuserclient options:vhost-server-path=/run/openvswitch/vhuc0");
    node.configure(&format!("{BOTH}on-problem = warn\\n"));
    let told = node.refuses("vmc");
    assert!(told.contains("No such file or directory") && !told.contains("vhost-accord: "), "{told}");
}

/// While a young switch is waited for, its database falls silent: what it said at first still counts.
fn what_the_database_said_is_kept(node: &Node) {
    node.sh(
        "ovs-vsctl set Interface vhuc0 type=dpdkvhostuserclient options:vhost-server-path=/run/openvswitch/vhuc0; \
         systemctl restart ovs-vswitchd; virsh dumpxml --inactive vmc > /root/vmc.xml",
    );
    node.wait_for("ovs-vswitchd", "ovs-appctl --timeout=5 version");
    node.configure(&format!("{BOTH}hook-deadline = 6\\n"));
    let stopped = "(sleep 2; pkill -STOP -x ovsdb-server) & ";
    let output = node.try_sh(&format!("{stopped} {HOOK} vmc start begin - < /root/vmc.xml"));
    node.sh("pkill -CONT -x ovsdb-server");
    assert!(output.code == 1 && output.stderr.contains("vhost-accord: both-ends-client: "), "{output}");
    node.sh("ovs-vsctl remove Interface vhuc0 options vhost-server-path -- set Interface vhuc0 type=dpdkvhostuser");
}

fn the_whole_table_beside_a_foreign_hook(kind: &'static str) {
    let node = Node::up(kind);
    foreign_hooks(&node);
    node.configure(&format!("{BOTH}{PATIENT}"));
    node.apply("--restart");
    node.sh(": > /run/calls");
    let is = |state: &str| node.sh("virsh domstate vms").trim() == state;
    let steps: [(&str, &str, &[&str]); 6] = [
        ("timeout 30 virsh start vms", "running", &["prepare begin", "start begin", "started begin"]),
        ("systemctl restart libvirtd; virsh list; sleep 1", "running", &["reconnect begin"]),
        ("virsh managedsave vms", "shut off", &["stopped end", "release end"]),
        (
            "timeout 30 virsh start vms",
            "running",
            &["restore begin", "prepare begin", "start begin", "started begin"],
        ),
        (
            "kill -9 $(pgrep -o qemu-system); until virsh domstate vms | grep -q 'shut off'; do sleep 0.1; done; sleep 0.5",
            "shut off",
            &["stopped end", "release end"],
        ),
        (
            "timeout 30 virsh start vms; virsh destroy vms",
            "shut off",
            &["prepare begin", "start begin", "started begin", "stopped end", "release end"],
        ),
    ];
    for (script, state, expected) in steps {
        node.sh(script);
        let seen = hook_calls(&node, expected.len());
        let expected: Vec<String> = expected.iter().map(|call| format!("vms {call}")).collect();
        assert_eq!(seen, expected, "{script} on {kind}");
        assert!(is(state), "{script}: not {state}");
        // Of a QEMU that was killed, too.
        let left = node.try_sh("test -e /var/lib/vhost_sockets/vhus0").code == 0;
        assert_eq!(left, state == "running", "{script} on {kind}: {}", told(&node));
    }
    // A refusal of ours: libvirt takes it all back, and the others hear of it.
    node.sh("ovs-vsctl del-port vhus0");
    // A machine that stands still for longer than the deadline leaves OVSDB unknown, and that refuses nothing yet.
    let unsure =
        || node.sh("journalctl -t vhost-accord -o cat | grep -c 'not everything could be checked' || :");
    let refused_at_once = || {
        let before = unsure();
        named(&node, "vms", "port-missing");
        let calls = hook_calls(&node, 3);
        (unsure() == before).then_some(calls)
    };
    assert_eq!(
        (0..3).find_map(|_| refused_at_once()).expect("OVSDB answers"),
        ["vms prepare begin", "vms stopped end", "vms release end"],
        "{}",
        told(&node)
    );
    // The daemon was away when the VM died.
    node.sh("ovs-vsctl add-port br-int vhus0 -- set Interface vhus0 type=dpdkvhostuserclient options:vhost-server-path=/var/lib/vhost_sockets/vhus0; virsh start vms");
    node.sh("systemctl stop libvirtd libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket; kill -9 $(pgrep -o qemu-system); : > /run/calls; systemctl start libvirtd; virsh list; sleep 1");
    assert_eq!(hook_calls(&node, 2), ["vms stopped end", "vms release end"]);
    assert!(is("shut off"));
    assert_eq!(node.sh("journalctl -t vhost-accord VA_FINDING=check-failed -o cat"), "");
    node.sh(
        "journalctl MESSAGE_ID=2fb24473dd124bb4b81b3717f525429a VA_DOMAIN=vms -o cat | grep -q port-missing",
    );
    node.sh("journalctl MESSAGE_ID=747b695752f84cd2ab7d5ff957830150 VA_DOMAIN=vms VA_SOCKET=/var/lib/vhost_sockets/vhus0 -o cat | grep -q 'vms: released; removed'");
    // The foreign hooks are as they were, and revert leaves them so.
    assert_eq!(node.accord("revert --restart").code, 0);
    assert_eq!(
        node.sh("ls /etc/libvirt/hooks /etc/libvirt/hooks/qemu.d | tr '\\n' ' '"),
        "/etc/libvirt/hooks: qemu qemu.d  /etc/libvirt/hooks/qemu.d: 60-other "
    );
}

fn a_failing_hook_kills_nothing(kind: &'static str) {
    let node = Node::up(kind);
    node.configure(BOTH);
    node.apply("--restart");
    node.start("vms", true);
    let runs = |when: &str| assert_eq!(node.sh("virsh domstate vms").trim(), "running", "{when} on {kind}");
    let pid = node.sh("pgrep -o qemu-system");
    for (what, breaks, fixes) in [
        ("a database that never answers", DEAF, HEARING),
        (
            "garbage in what was agreed",
            "cp /etc/vhost-accord/agreed.json /root/; head -c 5000 /dev/urandom > /etc/vhost-accord/agreed.json",
            "cp /root/agreed.json /etc/vhost-accord/agreed.json",
        ),
        (
            "a configuration that is none",
            "cp /etc/vhost-accord/vhost-accord.conf /root/; echo nonsense >> /etc/vhost-accord/vhost-accord.conf",
            "cp /root/vhost-accord.conf /etc/vhost-accord/vhost-accord.conf",
        ),
        (
            "no passwd",
            "mv /etc/passwd /etc/passwd.away; cp /etc/passwd.away /etc/passwd; head -c 5000 /dev/urandom >> /etc/passwd",
            "mv /etc/passwd.away /etc/passwd",
        ),
    ] {
        node.sh(breaks);
        node.sh("systemctl restart libvirtd; virsh list");
        runs(what);
        assert_eq!(node.sh("pgrep -o qemu-system"), pid, "{what}");
        let begun = Instant::now();
        if breaks == DEAF {
            // libvirt's own ovs-vsctl gives up after five seconds: only the hook's part can be seen.
            node.sh(&format!("virsh dumpxml --inactive vmc | {HOOK} vmc prepare begin -"));
            assert!(begun.elapsed() < IN_TIME, "{what}: {:?}", begun.elapsed());
            node.sh("journalctl -t vhost-accord VA_FINDING=unknown -o cat | grep -q 'no answer in time'");
        } else {
            let started = node.try_sh("timeout 30 virsh start vmc");
            assert_eq!(started.code, 0, "{what} on {kind}: {started}");
            assert!(begun.elapsed() < IN_TIME, "{what}: {:?}", begun.elapsed());
            node.sh("virsh destroy vmc");
        }
        node.sh(fixes);
    }
    every_operation_whatever_comes(&node);
    only_what_is_proven_stale_goes(&node);
    no_memory_is_no_refusal(&node);
    runs("at the end");
}

fn installed_beside_others_and_found(kind: &'static str) {
    let node = Node::up(kind);
    node.sh("systemctl start libvirtd; rm -rf /etc/libvirt/hooks; virsh list; sleep 1");
    let stock = node.snapshot();
    node.configure(&format!("{BOTH}manage = hook\\n"));
    assert_eq!(node.accord("apply").code, 2, "the rest of the accord does not hold");
    assert_eq!(node.sh(&format!("readlink {HOOK}")).trim(), "/usr/bin/vhost-accord");
    // Works at once: libvirt was told to look for hooks again.
    refused(&node, "vmc", "server-socket-refuses-qemu");
    let finding = |expected: &str| {
        let (_, findings) = node.check();
        let ours: Vec<_> = findings.iter().filter(|line| line.starts_with("hook-")).collect();
        match expected {
            "" => assert!(ours.is_empty(), "{ours:?}"),
            _ => assert!(ours.len() == 1 && ours[0].starts_with(expected), "{expected}: {ours:?}"),
        }
    };
    finding("");
    // A link that libvirt has not looked at yet.
    node.sh(&format!("rm {HOOK}; systemctl restart libvirtd; sleep 2"));
    finding("hook-missing");
    node.sh(&format!("ln -s /usr/bin/vhost-accord {HOOK}"));
    finding("hook-not-picked-up");
    let told = node.refuses("vmc");
    assert!(!told.contains("vhost-accord: "), "libvirt does not call it yet: {told}");
    node.sh("systemctl reload libvirtd; sleep 1");
    finding("");
    refused(&node, "vmc", "server-socket-refuses-qemu");
    // A program that is gone is passed over.
    node.sh("mv /usr/bin/vhost-accord /usr/bin/away");
    let told = node.refuses("vmc");
    assert!(told.contains("Permission denied") && !told.contains("hooks"), "{told}");
    node.sh("mv /usr/bin/away /usr/bin/vhost-accord");
    node.sh("rm -r /etc/vhost-accord/vhost-accord.conf");
    assert_eq!(node.accord("revert --restart").code, 0);
    let now = node.snapshot();
    let differing: Vec<_> = stock
        .keys()
        .chain(now.keys())
        .filter(|path| stock.get(*path) != now.get(*path) && path.contains("hooks"))
        .collect();
    assert!(differing.is_empty(), "{differing:?}");
}

fn fifty_small_domains_start(kind: &'static str) {
    let node = Node::up(kind);
    node.configure(BOTH);
    node.apply("--restart");
    node.sh(
        "for i in $(seq 50); do ovs-vsctl add-port br-int vhu$i -- set Interface vhu$i type=dpdkvhostuserclient options:vhost-server-path=/var/lib/vhost_sockets/vhu$i; \
         sed \"s/<name>vms/<name>small$i/; s/vhus0/vhu$i/; s/48</8</; s/00:05:01/00:06:$(printf %02x $i)/; s#<hugepages/>#<source type='memfd'/>#\" /root/domains/vms.xml > /root/small.xml 2>/dev/null || \
         virsh dumpxml --inactive vms | sed \"s/<name>vms/<name>small$i/; s/vhus0/vhu$i/; s/49152/8192/g; s/00:05:01/00:06:$(printf %02x $i)/; s#<hugepages/>#<source type='memfd'/>#; /<uuid>/d\" > /root/small.xml; \
         virsh define /root/small.xml > /dev/null; done",
    );
    let begun = Instant::now();
    let output = node.try_sh("seq 50 | xargs -P 10 -I {} sh -c 'timeout 60 virsh start --paused small{} > /run/start-{} 2>&1 || { echo small{}; cat /run/start-{}; }'");
    eprintln!("{kind}: 50 domains, 10 at once: {:.1} s", begun.elapsed().as_secs_f64());
    assert_eq!(output.stdout, "", "{kind}: {output}");
    assert_eq!(node.sh("virsh list --state-paused --name | grep -c small").trim(), "50");
    node.agrees("with 50 more VMs");
}
