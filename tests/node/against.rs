// SPDX-License-Identifier: Apache-2.0
//! `check --against`: what is said before a migration is what the hook says when it comes.

use serde_json::Value;

use super::steps::{BOTH, PATIENT, refused};
use super::support::{Node, Output, on_nodes};

// The other node is of a kind that `make test` does not build.
on_nodes!(later bookworm = "bookworm": what_is_said_before_is_what_the_hook_says);

/// A node of another kind: QEMU and the shared group have other numbers there.
const TARGET: &str = "rhel-3.6";

/// The source's own word, in the target.
fn tell(source: &Node, target: &Node) {
    let told = source.sh("vhost-accord check --json");
    copy(target, &told, "/root/source.json");
}

fn copy(target: &Node, text: &str, to: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    target.push(file.path(), to);
}

fn against(target: &Node, options: &str) -> (Output, Value) {
    let output =
        target.try_sh(&format!("vhost-accord check --against - --json {options} </root/source.json"));
    let json = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output}"));
    (output, json)
}

fn finding<'a>(json: &'a Value, id: &str) -> &'a Value {
    let findings = json["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["id"] == id).unwrap_or_else(|| panic!("no {id}: {json:#}"))
}

fn text<'a>(finding: &'a Value, key: &str) -> &'a str {
    finding[key].as_str().unwrap()
}

/// VM by VM: would it start here?
fn verdicts(json: &Value) -> Vec<(String, String)> {
    let vms = json["vms"].as_array().unwrap();
    vms.iter().map(|vm| (text(vm, "name").to_string(), text(vm, "starts_here").to_string())).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(vm, word)| (vm.to_string(), word.to_string())).collect()
}

/// What libvirt gives the hook of the target when the VM comes.
fn hook(source: &Node, target: &Node, vm: &str) -> Output {
    copy(target, &source.sh(&format!("virsh dumpxml {vm} --migratable")), "/root/coming.xml");
    target
        .try_sh(&format!("/etc/libvirt/hooks/qemu.d/50-vhost-accord {vm} migrate begin - </root/coming.xml"))
}

fn what_is_said_before_is_what_the_hook_says(kind: &'static str) {
    let (source, target) = (Node::up(kind), Node::up(TARGET));
    source.configure(BOTH);
    source.apply("--restart");
    source.start("vms", true);
    source.start("vmc", true);
    tell(&source, &target);
    target.configure("modes = dpdkvhostuserclient\\n");

    // A stock node, and VMs of the same names.
    let (output, json) = against(&target, "");
    assert_eq!(output.code, 2, "{json:#}");
    assert_eq!(verdicts(&json), pairs(&[("vmc", "peer-vm-exists"), ("vms", "peer-vm-exists")]));
    let source_uuid = source.sh("virsh domuuid vms");
    assert!(!text(finding(&json, "peer-vm-exists"), "seen").contains(source_uuid.trim()), "{json:#}");
    target.sh("virsh undefine vms; virsh undefine vmc");
    let (_, json) = against(&target, "");
    assert_eq!(
        verdicts(&json),
        pairs(&[("vmc", "server-socket-refuses-qemu"), ("vms", "socket-directory-missing")])
    );
    assert_eq!(text(finding(&json, "peer-mode-not-here"), "subject"), "vmc");
    let gid = target.sh("getent group hugetlbfs | cut -d: -f3");
    let seen = text(finding(&json, "peer-gid-differs"), "seen").to_string();
    assert!(seen.starts_with(gid.trim()) && seen.contains("42477 (hugetlbfs) there"), "{seen}");
    let ids = format!("{}:", target.sh("id -u qemu").trim());
    let seen = text(finding(&json, "peer-qemu-identity-differs"), "seen").to_string();
    assert!(seen.starts_with(&ids) && seen.contains("64055:42477"), "{seen}");

    // It is made to agree: by the fix of the mode, pasted.
    target.sh(text(finding(&json, "peer-mode-not-here"), "fix"));
    target.apply("--restart --renumber");
    let (output, json) = against(&target, "");
    assert_eq!(verdicts(&json), pairs(&[("vmc", "yes"), ("vms", "yes")]), "{json:#}");
    assert_eq!(output.code, 1, "QEMU's own number is another for ever: {json:#}");
    assert_eq!(hook(&source, &target, "vms").code, 0);
    let shown = target.accord("check --against /root/source.json");
    assert!(shown.stdout.contains("vms  1          yes\n"), "{shown}");
    assert!(shown.stdout.ends_with("all VMs can migrate here, with advice\n"), "{shown}");

    // No port: before, and when it comes.
    target.configure(&format!("{BOTH}{PATIENT}"));
    target.sh("ovs-vsctl del-port vhus0");
    // While it is young, the hook waits for what may still come, up to its deadline.
    target.wait_for("a dataplane that is not young", "test $(ps -o etimes= -C ovs-vswitchd) -gt 31");
    let (output, json) = against(&target, "");
    assert_eq!((output.code, verdicts(&json)), (2, pairs(&[("vmc", "yes"), ("vms", "port-missing")])));
    let missing = finding(&json, "port-missing");
    let refusal = hook(&source, &target, "vms");
    assert_eq!(refusal.code, 1, "{refusal}");
    let path = "/var/lib/vhost_sockets/vhus0";
    assert_eq!(text(missing, "subject"), format!("vms: {path}"));
    let (seen, cause, fix) = (text(missing, "seen"), text(missing, "cause"), text(missing, "fix"));
    let line = format!("vhost-accord: port-missing: {path}: {seen}; {cause}; fix: {fix}");
    assert!(refusal.stderr.contains(&line), "{line}\n{refusal}");

    // nova has it made before libvirt hears of the migration.
    source.sh("ovs-vsctl set Interface vhus0 external_ids:vm-uuid=$(virsh domuuid vms)");
    let plain = target.sh("cat /root/source.json");
    tell(&source, &target);
    assert_eq!(verdicts(&against(&target, "").1), pairs(&[("vmc", "yes"), ("vms", "yes")]));
    copy(&target, &plain, "/root/source.json");
    target.sh(fix);
    assert_eq!(verdicts(&against(&target, "").1), pairs(&[("vmc", "yes"), ("vms", "yes")]));

    // The target turns what comes in, as the hook does; before, and with the port that it turned already.
    let incoming = "[convert]\\nincoming = dpdkvhostuserclient\\n";
    target.configure(&format!("{BOTH}{PATIENT}{incoming}"));
    let converts = |when: &str| {
        let (_, json) = against(&target, "");
        assert_eq!(verdicts(&json), pairs(&[("vmc", "yes"), ("vms", "yes")]), "{when}: {json:#}");
    };
    converts("the port is to be turned");
    assert_eq!(target.sh("ovs-vsctl get Interface vhuc0 type").trim(), "dpdkvhostuser", "only thought of");
    let converted = hook(&source, &target, "vmc");
    assert_eq!(converted.code, 0, "{converted}");
    assert!(converted.stdout.contains("/var/lib/vhost_sockets/vhuc0"), "{converted}");
    converts("the port is turned");
    target.configure(&format!("{BOTH}{PATIENT}"));
    let (_, json) = against(&target, "");
    let clash = finding(&json, "both-ends-client");
    let refusal = hook(&source, &target, "vmc");
    assert!(refusal.code == 1 && refusal.stderr.contains("vhost-accord: both-ends-client: "), "{refusal}");
    assert!(refusal.stderr.contains(text(clash, "seen")), "{json:#}\n{refusal}");
    // The hook would turn the VM; it runs well there, so the port is turned.
    target.sh(text(clash, "fix"));
    target.wait_for("the socket", "test -S /run/openvswitch/vhuc0");
    target.apply("");
    converts("the port is back");

    // The database says nothing: nothing is promised.
    target.sh(super::steps::DEAF);
    let (output, json) = against(&target, "");
    assert_eq!((output.code, verdicts(&json)), (1, pairs(&[("vmc", "unknown"), ("vms", "unknown")])));
    finding(&json, "peer-unknown");
    target.sh(super::steps::HEARING);

    // The way back, and a file that is none.
    target.sh("vhost-accord check --json >/root/own.json; head -c 2000 /root/own.json >/root/half.json");
    let back = target.sh("cat /root/own.json");
    copy(&source, &back, "/root/source.json");
    let (output, json) = against(&source, "");
    assert_eq!((output.code, verdicts(&json)), (1, Vec::new()), "{json:#}");
    refused(&target.accord("check --against /root/half.json"), "/root/half.json is not a fingerprint");
    refused(&target.accord("check --against /root/none.json"), "/root/none.json");
    let image = target.accord("check --against /root/own.json --root /");
    assert_eq!(image.code, 2, "{image}");
}
