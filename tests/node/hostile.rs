// SPDX-License-Identifier: Apache-2.0
//! Hostile texts: a database that never ends, lies, or names things so that a terminal or a shell would act on it; files
//! of libvirt and logs of the same kind. The program ends in its time, nothing that a terminal obeys comes out, and a
//! command that it prints does what it says when it is pasted.
//!
//! The database is a fake (`fake_ovsdb.rs`), since the real one refuses to hold most of this; the rest of the node is real.

use std::collections::BTreeSet;

use super::fake_ovsdb::{self, LIES};
use super::steps::BOTH;
use super::support::{Node, Output, on_nodes};
use super::texts::{self, TEXTS};

on_nodes!(bookworm = "bookworm": a_database_that_lies_or_never_ends hostile_names_are_data);

const ROLE: &str = "VHOST_ACCORD_ROLE";
const PLACE: &str = "/usr/local/bin/hostile";
/// The longest that one command may take on a busy machine before it counts as blocked, in seconds.
const BLOCKED: &str = "100";
/// Memory for a command, in KiB: what has no end must not take all of it.
const MEMORY: &str = "2000000";
const HOOK: &str = "/etc/libvirt/hooks/qemu.d/50-vhost-accord";

/// All that asks the database; what removes stale sockets comes last.
fn commands() -> Vec<String> {
    let looks = ["check", "check --json", "check --prometheus", "plan", "plan --json", "explain"];
    let more = ["explain --json", "probe", "probe --json", "apply"];
    let mut commands: Vec<String> =
        looks.iter().chain(&more).map(|command| format!("vhost-accord {command}")).collect();
    for operation in ["prepare begin", "start begin", "migrate begin", "release end"] {
        commands.push(format!("{HOOK} vms {operation} - < /root/vms.xml"));
        commands.push(format!("{HOOK} vms {operation} - < /root/vmc.xml"));
    }
    let entries = ["vswitchd-pre", "vswitchd-post", "dataplane-pre"];
    commands.extend(entries.map(|entry| format!("vhost-accord service {entry}")));
    commands
}

/// One of each kind: most of them wait until their time is up.
fn asks(command: &str) -> bool {
    let asks = ["check --json", "plan", "apply", "probe", "service vswitchd-pre", "service vswitchd-post"];
    asks.iter().any(|end| command.ends_with(end)) || command.contains("start begin")
}

fn prepared(kind: &'static str) -> Node {
    let node = Node::up(kind);
    node.configure(BOTH);
    node.apply("--restart");
    node.agrees("before");
    node.push(&std::env::current_exe().unwrap(), PLACE);
    node.sh("for vm in vms vmc; do virsh dumpxml $vm > /root/$vm.xml; done; mkdir -p /run/race");
    node.sh("mv /run/openvswitch/db.sock /run/db.good");
    node
}

/// Puts a fake in the database's place.
fn fake(node: &Node, lie: &str) {
    let name = std::thread::current().name().unwrap().to_string();
    node.sh(&format!(
        "systemctl stop fake 2>/dev/null; rm -f /run/openvswitch/db.sock; \
         systemd-run -q --unit=fake --setenv={ROLE}={lie} {PLACE} --ignored --exact {name} --nocapture"
    ));
    node.wait_for("the fake", "test -S /run/openvswitch/db.sock");
}

/// Runs a command to its end, and looks at every character of what it says.
fn told(node: &Node, when: &str, command: &str) -> Output {
    let output = node.try_sh(&format!("ulimit -v {MEMORY}; timeout -s KILL {BLOCKED} {command}"));
    assert!((0..=2).contains(&output.code), "{when}: {command}: {output}");
    for text in [&output.stdout, &output.stderr] {
        let obeyed: BTreeSet<char> = text.chars().filter(|character| texts::is_obeyed(*character)).collect();
        assert!(obeyed.is_empty(), "{when}: {command}: {obeyed:?} came out: {text:?}");
    }
    output
}

fn a_database_that_lies_or_never_ends(kind: &'static str) {
    if let Ok(lie) = std::env::var(ROLE) {
        return fake_ovsdb::serve(&lie);
    }
    let node = prepared(kind);
    // What the database may name, and nobody else's: one that is proven stale, one that listens.
    node.sh("python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/run/stale.sock\")'; systemd-run -q --unit=live python3 -c 'import socket,time; s=socket.socket(socket.AF_UNIX); s.bind(\"/run/live.sock\"); s.listen(50); time.sleep(9999)'; until test -S /run/live.sock; do sleep 0.1; done");
    // What the switch keeps for itself, a stale one of another run among it.
    node.sh("python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/run/openvswitch/ovs-vswitchd.1.ctl\")'");
    let outside = || {
        node.sh("stat -c '%n %A %u:%g %i %z' /run/*.sock /run/openvswitch/*.ctl /run/openvswitch/*.mgmt /run/openvswitch/*.snoop /run/openvswitch/db.sock")
    };
    for lie in LIES {
        fake(&node, lie);
        let before = outside();
        for command in commands().iter().filter(|command| asks(command)) {
            told(&node, lie, command);
        }
        assert_eq!(outside(), before, "{lie}: what OVSDB alone says is nobody's to touch");
    }
    assert_eq!(node.sh("systemctl is-active fake").trim(), "active", "the fake was to last");
    journal_is_clean(&node);
    node.sh("systemctl stop fake; rm -f /run/openvswitch/db.sock; mv /run/db.good /run/openvswitch/db.sock");
    node.apply("");
    node.agrees("with the true database again");
}

fn hostile_names_are_data(kind: &'static str) {
    if let Ok(lie) = std::env::var(ROLE) {
        return if lie == "files" { texts::place() } else { fake_ovsdb::serve(&lie) };
    }
    let node = prepared(kind);
    let name = std::thread::current().name().unwrap().to_string();
    node.sh(&format!("{ROLE}=files {PLACE} --ignored --exact {name} --nocapture"));
    fake(&node, "names");
    let mut mends = BTreeSet::new();
    for command in commands().into_iter().chain((0..TEXTS.len()).flat_map(of_text)) {
        let output = told(&node, "names", &command);
        // Findings in JSON have their commands in full; text has them to the end of the line.
        if let Ok(json) = serde_json::from_str::<serde_json::Value>(&output.stdout) {
            let findings = json["findings"].as_array().into_iter().flatten();
            mends.extend(findings.filter_map(|finding| finding["mend"].as_str().map(str::to_string)));
        } else {
            let lines = output.stdout.lines().chain(output.stderr.lines());
            let forged = lines.clone().find(|line| line.trim() == "mend: injected");
            assert!(forged.is_none(), "{command}: {output}");
            mends.extend(lines.filter_map(|line| Some(line.split_once("mend: ")?.1.to_string())));
        }
    }
    mends.extend(journal_is_clean(&node));
    pasted(&node, &mends);
}

/// The hook for a VM whose every text is this one, and `explain` with a log of it.
fn of_text(number: usize) -> Vec<String> {
    let file = format!("/root/evil-{number}");
    let mut commands: Vec<String> = ["prepare begin", "start begin", "release end"]
        .map(|operation| format!("{HOOK} \"$(cat {file}.name)\" {operation} - < {file}.xml"))
        .to_vec();
    commands.push(format!("vhost-accord explain {file}.log"));
    commands.push(format!("vhost-accord explain - < {file}.log"));
    commands.push(format!("vhost-accord explain --json {file}.log"));
    commands.push(format!("vhost-accord inspect {file}.xml"));
    commands
}

/// What the program wrote into the journal; the commands in it.
fn journal_is_clean(node: &Node) -> Vec<String> {
    let text = node.sh("journalctl -t vhost-accord -o json --no-pager -q");
    let mut mends = Vec::new();
    for line in text.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        // What begins with a line is journald's own: how the process was called, by whoever called it.
        for (field, value) in entry.as_object().unwrap().iter().filter(|(field, _)| !field.starts_with('_')) {
            // journald gives what is no clean text as numbers.
            let value = value.as_str().unwrap_or_else(|| panic!("{field}: {line}"));
            assert!(!value.chars().any(|c| texts::is_obeyed(c) || c == '\n'), "{field}: {value:?}");
            if field == "VA_MEND" {
                mends.push(value.to_string());
            }
        }
    }
    assert!(!text.is_empty(), "the journal was to have something");
    mends
}

/// Pastes every command into a shell that finds nothing but programs that write down how they were called.
fn pasted(node: &Node, mends: &BTreeSet<String>) {
    let list = std::env::temp_dir().join(format!("mends-{}", std::process::id()));
    std::fs::write(&list, serde_json::to_vec(mends).unwrap()).unwrap();
    node.push(&list, "/root/mends.json");
    std::fs::remove_file(&list).unwrap();
    let script = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/paste.py"));
    node.push(script, "/root/paste.py");
    let called = node.sh("python3 /root/paste.py");
    let calls: Vec<(String, Vec<Vec<String>>)> = serde_json::from_str(&called).unwrap();
    assert!(calls.len() > TEXTS.len(), "too few commands were seen: {calls:?}");
    let known: BTreeSet<String> = TEXTS.iter().flat_map(|text| texts::places(text)).collect();
    let mut seen = BTreeSet::new();
    for (mend, calls) in &calls {
        for call in calls {
            assert_ne!(call[0], "injected", "{mend:?}: {calls:?}");
            if call[0] == "rm" {
                let path = call.last().unwrap().trim_end_matches('/').to_string();
                assert!(known.contains(&path), "{mend}: removes {path:?}, which nobody named");
                seen.insert(path);
            }
        }
    }
    assert!(seen.len() > 5, "stale sockets of hostile names were to be removed: {seen:?}");
}
