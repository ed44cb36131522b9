// SPDX-License-Identifier: Apache-2.0
//! Live migration between two real nodes, with the hook on both.

use super::steps::{BOTH, PATIENT, hook_calls};
use super::support::{self, Node, on_nodes};
use super::twins::{self, Bridge, alone, meets};

on_nodes!(bookworm = "bookworm": a_vm_migrates_there_and_back_or_stays);

fn migrate(from: &Node, to: u8) -> support::Output {
    twins::migrate(from, "vms", to)
}

/// What `check --against` on the target says of the source's VMs: exit code, and each finding as the hook's line.
fn foretold(from: &Node, to: &Node) -> (i32, Vec<String>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), from.sh("vhost-accord check --json")).unwrap();
    to.push(file.path(), "/root/source.json");
    let output = to.accord("check --against /root/source.json --json");
    let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output}"));
    let line = |finding: &serde_json::Value| {
        let [id, subject, seen, cause, fix] =
            ["id", "subject", "seen", "cause", "fix"].map(|key| finding[key].as_str().unwrap());
        let subject = subject.strip_prefix("vms: ").unwrap();
        format!("vhost-accord: {id}: {subject}: {seen}; {cause}; fix: {fix}")
    };
    (output.code, json["findings"].as_array().unwrap().iter().map(line).collect())
}

fn runs(node: &Node) -> bool {
    twins::runs(node, "vms")
}

fn seen(node: &Node, expected: &[&str], when: &str) {
    let expected: Vec<String> = expected.iter().map(|call| format!("vms {call}")).collect();
    let calls = hook_calls(node, expected.len());
    assert_eq!(calls, expected, "{when}: {}", node.sh("journalctl -t vhost-accord -o cat -n 12"));
}

const INCOMING: [&str; 4] = ["migrate begin", "prepare begin", "start begin", "started begin"];
const GONE: [&str; 2] = ["stopped end", "release end"];

fn a_vm_migrates_there_and_back_or_stays(kind: &'static str) {
    let _alone = alone();
    let bridge = Bridge::new();
    let [one, two] = [1, 2].map(|number| twins::node(kind, &bridge, number, &format!("{BOTH}{PATIENT}")));
    two.sh("virsh undefine vms");
    meets(&one, 2);
    one.start("vms", true);
    seen(&one, &INCOMING[1..], "the start");

    assert_eq!(foretold(&one, &two), (0, Vec::new()));
    let moved = migrate(&one, 2);
    assert_eq!(moved.code, 0, "there: {moved}");
    assert!(runs(&two) && !runs(&one), "it was to run at the target");
    seen(&two, &INCOMING, "target");
    seen(&one, &GONE, "source");
    one.sh("journalctl MESSAGE_ID=747b695752f84cd2ab7d5ff957830150 VA_DOMAIN=vms -o cat | grep -q 'vms: released'");
    two.agrees("with the VM that came");
    two.sh("test -S /var/lib/vhost_sockets/vhus0");

    let moved = migrate(&two, 1);
    assert_eq!(moved.code, 0, "back: {moved}");
    assert!(runs(&one) && !runs(&two), "it was to come back");
    seen(&one, &INCOMING, "target again");
    seen(&two, &GONE, "source again");

    // The target has no port for it: refused at once, and the VM stays where it is.
    let stays = |when: &str, target: &[&str]| {
        let refused = migrate(&one, 2);
        assert_ne!(refused.code, 0, "{when}: {refused}");
        assert!(refused.stderr.contains("vhost-accord: port-missing: "), "{when}: {refused}");
        assert!(runs(&one) && !runs(&two), "{when}: it was to stay");
        seen(&two, target, when);
        seen(&one, &[], when);
        refused.stderr
    };
    let gone = "ovs-vsctl --if-exists del-port vhus0";
    let there = "ovs-vsctl --may-exist add-port br-int vhus0 -- set Interface vhus0 type=dpdkvhostuserclient options:vhost-server-path=/var/lib/vhost_sockets/vhus0";
    two.sh(gone);
    let (code, lines) = foretold(&one, &two);
    assert_eq!((code, lines.len()), (2, 1), "{lines:?}");
    let told = stays("refused at migrate", &INCOMING[..1]);
    assert!(told.contains(&lines[0]), "{lines:?}: {told}");
    // It goes away behind the first check.
    two.sh(&format!(
        "{there}; cp /etc/libvirt/hooks/qemu.d/60-other /etc/libvirt/hooks/qemu.d/60-kept; mv /etc/libvirt/hooks/qemu.d/60-kept /root/; \
         printf '[ \"$2\" != migrate ] || {gone}\\n' >> /etc/libvirt/hooks/qemu.d/60-other"
    ));
    stays("refused at prepare", &["migrate begin", "prepare begin", "stopped end", "release end"]);
    two.sh(&format!("cp -p /root/60-kept /etc/libvirt/hooks/qemu.d/60-other; {there}"));
    let moved = migrate(&one, 2);
    assert_eq!(moved.code, 0, "after all: {moved}");
}
