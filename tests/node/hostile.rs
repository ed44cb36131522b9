// SPDX-License-Identifier: Apache-2.0
//! Hostile texts: a database that never ends, lies, or names things so that a terminal or a shell would act on it; files
//! of libvirt and logs of the same kind. The program ends in its time, nothing that a terminal obeys comes out, and a
//! command that it prints does what it says when it is pasted.
//!
//! The database is a fake (`fake_ovsdb.rs`), since the real one refuses to hold most of this; the rest of the node is real.

use std::collections::BTreeSet;
use std::path::Path;

use super::fake_ovsdb::{self, LIES};
use super::steps::{BOTH, PATIENT};
use super::support::{Node, Output, on_nodes};
use super::texts::{self, TEXTS};

on_nodes!(bookworm = "bookworm": hostile_names_are_data);
on_nodes!(later bookworm = "bookworm": a_database_that_lies_or_never_ends);

pub const ROLE: &str = "VHOST_ACCORD_ROLE";
const PLACE: &str = "/usr/local/bin/hostile";
/// The longest that one command may take on a busy machine before it counts as blocked, in seconds.
const BLOCKED: &str = "100";
/// Memory for a command, in KiB: what has no end must not take all of it.
const MEMORY: &str = "2000000";
/// Deadlines for what waits for an end that never comes.
const HASTY: &str = "hook-deadline = 1\\nservice-deadline = 2\\n";
const HOOK: &str = "/etc/libvirt/hooks/qemu.d/50-vhost-accord";

/// All that asks the database, in steps: what is in one is done side by side. What removes stale sockets comes last.
fn commands() -> [Vec<String>; 3] {
    let looks = ["check", "check --json", "check --prometheus", "plan", "plan --json", "explain"];
    let more = ["explain --json", "probe", "probe --json"];
    let looks = looks.iter().chain(&more).map(|command| format!("vhost-accord {command}")).collect();
    let mut calls = Vec::new();
    for operation in ["prepare begin", "start begin", "migrate begin", "release end"] {
        calls.push(format!("{HOOK} vms {operation} - < /root/vms.xml"));
        calls.push(format!("{HOOK} vms {operation} - < /root/vmc.xml"));
    }
    calls.extend(["vswitchd-pre", "vswitchd-post", "dataplane-pre"].map(service));
    [looks, vec!["vhost-accord apply".to_string()], calls]
}

fn service(entry: &str) -> String {
    format!("vhost-accord service {entry}")
}

/// What a lie is told to: each way to ask. All of them where the lie is about what may be touched, and in the long form
/// (`make torture`); else a third, so that each of them hears a third of the lies. Those that take the lock are in
/// different thirds.
fn asking(number: usize, lie: &str) -> Vec<Vec<String>> {
    let hook = |domain: &str| format!("{HOOK} vms start begin - < /root/{domain}.xml");
    let program = |command: &str| format!("vhost-accord {command}");
    let thirds = [
        vec![program("check --json"), service("vswitchd-post"), program("apply")],
        vec![program("plan"), hook("vms"), program("probe")],
        vec![service("vswitchd-pre"), hook("vmc")],
    ];
    match std::env::var_os("VHOST_ACCORD_TORTURE").is_some() || ACTS.contains(&lie) {
        true => thirds.to_vec(),
        false => vec![thirds[number % thirds.len()].clone()],
    }
}

/// Lies that name what is not to be given, or taken, away.
pub const ACTS: [&str; 2] = ["outside", "kept"];

fn prepared(kind: &'static str) -> Node {
    prepared_with(kind, "")
}

/// The same with the service that watches, and keys for it.
pub fn prepared_with(kind: &'static str, keys: &str) -> Node {
    let node = Node::up(kind);
    if !keys.is_empty() {
        super::watch::install(&node);
    }
    node.configure(&format!("{BOTH}{keys}"));
    node.apply("--restart");
    node.agrees("before");
    node.push(&std::env::current_exe().unwrap(), PLACE);
    for script in ["together.py", "paste.py"] {
        let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node")).join(script);
        node.push(&file, &format!("/root/{script}"));
    }
    node.sh("for vm in vms vmc; do virsh dumpxml $vm > /root/$vm.xml; done; mkdir -p /run/race");
    node.sh("mv /run/openvswitch/db.sock /run/db.good");
    node
}

/// Puts a fake in the database's place.
pub fn fake(node: &Node, lie: &str) {
    let name = std::thread::current().name().unwrap().to_string();
    node.sh(&format!(
        "systemctl stop fake 2>/dev/null; rm -f /run/openvswitch/db.sock; \
         systemd-run -q --unit=fake --setenv={ROLE}={lie} {PLACE} --ignored --exact {name} --nocapture"
    ));
    node.wait_for("the fake", "test -S /run/openvswitch/db.sock");
}

/// Runs commands to their end, side by side, and looks at every character of what they say.
fn told(node: &Node, when: &str, commands: &[String]) -> Vec<Output> {
    let limited = |command: &String| format!("ulimit -v {MEMORY}; timeout -s KILL {BLOCKED} {command}");
    push_json(node, &commands.iter().map(limited).collect::<Vec<_>>(), "/root/commands.json");
    let outputs: Vec<(i32, String, String)> =
        serde_json::from_str(&node.sh("python3 /root/together.py")).unwrap();
    assert_eq!(outputs.len(), commands.len());
    let outputs = outputs.into_iter().map(|(code, stdout, stderr)| Output { code, stdout, stderr });
    let looked_at = |(output, command): (Output, &String)| {
        assert!((0..=2).contains(&output.code), "{when}: {command}: {output}");
        for text in [&output.stdout, &output.stderr] {
            let obeyed: BTreeSet<char> =
                text.chars().filter(|character| texts::is_obeyed(*character)).collect();
            assert!(obeyed.is_empty(), "{when}: {command}: {obeyed:?} came out: {text:?}");
        }
        output
    };
    outputs.zip(commands).map(looked_at).collect()
}

/// Gives the node a file with this in it.
fn push_json(node: &Node, value: &impl serde::Serialize, to: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), serde_json::to_vec(value).unwrap()).unwrap();
    node.push(file.path(), to);
}

fn a_database_that_lies_or_never_ends(kind: &'static str) {
    if let Ok(lie) = std::env::var(ROLE) {
        return fake_ovsdb::serve(&lie);
    }
    let node = prepared(kind);
    what_it_may_name(&node);
    for (number, lie) in LIES.into_iter().enumerate() {
        // What would be done is done in any time; what has no end shall not take long.
        node.configure(&format!("{BOTH}{}", if ACTS.contains(&lie) { PATIENT } else { HASTY }));
        fake(&node, lie);
        let before = outside(&node);
        for commands in asking(number, lie) {
            told(&node, lie, &commands);
        }
        assert_eq!(outside(&node), before, "{lie}: what OVSDB alone says is nobody's to touch");
    }
    assert_eq!(node.sh("systemctl is-active fake").trim(), "active", "the fake was to last");
    journal_is_clean(&node);
    node.sh("systemctl stop fake; rm -f /run/openvswitch/db.sock; mv /run/db.good /run/openvswitch/db.sock");
    node.apply("");
    node.agrees("with the true database again");
}

/// What the database may name, and is nobody's to touch for that.
pub fn what_it_may_name(node: &Node) {
    // One that is proven stale, one that listens.
    node.sh("python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/run/stale.sock\")'; systemd-run -q --unit=live python3 -c 'import socket,time; s=socket.socket(socket.AF_UNIX); s.bind(\"/run/live.sock\"); s.listen(50); time.sleep(9999)'; until test -S /run/live.sock; do sleep 0.1; done");
    // What the switch keeps for itself, a stale one of another run among it.
    node.sh("python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/run/openvswitch/ovs-vswitchd.1.ctl\")'");
}

/// Whose that is now.
pub fn outside(node: &Node) -> String {
    node.sh("stat -c '%n %A %u:%g %i %z' /run/[!v]*.sock /run/openvswitch/*.ctl /run/openvswitch/*.mgmt /run/openvswitch/*.snoop /run/openvswitch/db.sock")
}

/// The command of a line that has one: on a line of its own, or at the end of a message. A name may have the word, too.
fn fix_of(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("fix: ").or_else(|| Some(line.split_once("; fix: ")?.1))
}

fn hostile_names_are_data(kind: &'static str) {
    if let Ok(lie) = std::env::var(ROLE) {
        return if lie == "files" { texts::place() } else { fake_ovsdb::serve(&lie) };
    }
    let node = prepared(kind);
    let name = std::thread::current().name().unwrap().to_string();
    node.sh(&format!("{ROLE}=files {PLACE} --ignored --exact {name} --nocapture"));
    fake(&node, "names");
    let mut fixes = BTreeSet::new();
    let commands = commands().into_iter().chain([(0..TEXTS.len()).flat_map(of_text).collect()]);
    for (command, output) in commands.flat_map(|commands| {
        let outputs = told(&node, "names", &commands);
        commands.into_iter().zip(outputs)
    }) {
        // Findings in JSON have their commands in full; text has them to the end of the line.
        if let Ok(json) = serde_json::from_str::<serde_json::Value>(&output.stdout) {
            let findings = json["findings"].as_array().into_iter().flatten();
            fixes.extend(findings.filter_map(|finding| finding["fix"].as_str().map(str::to_string)));
        } else {
            let lines = output.stdout.lines().chain(output.stderr.lines());
            let forged = lines.clone().find(|line| line.trim() == "fix: injected");
            assert!(forged.is_none(), "{command}: {output}");
            fixes.extend(lines.filter_map(fix_of).map(str::to_string));
        }
    }
    fixes.extend(journal_is_clean(&node));
    pasted(&node, &fixes);
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
pub fn journal_is_clean(node: &Node) -> Vec<String> {
    let text = node.sh("journalctl -t vhost-accord -o json --no-pager -q");
    let mut fixes = Vec::new();
    for line in text.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        // What begins with a line is journald's own: how the process was called, by whoever called it.
        for (field, value) in entry.as_object().unwrap().iter().filter(|(field, _)| !field.starts_with('_')) {
            // journald gives what is no clean text as numbers.
            let value = value.as_str().unwrap_or_else(|| panic!("{field}: {line}"));
            assert!(!value.chars().any(|c| texts::is_obeyed(c) || c == '\n'), "{field}: {value:?}");
            if field == "VA_FIX" {
                fixes.push(value.to_string());
            }
        }
    }
    assert!(!text.is_empty(), "the journal was to have something");
    fixes
}

/// Pastes every command into a shell that finds nothing but programs that write down how they were called.
fn pasted(node: &Node, fixes: &BTreeSet<String>) {
    push_json(node, fixes, "/root/fixes.json");
    let called = node.sh("python3 /root/paste.py");
    let calls: Vec<(String, Vec<Vec<String>>)> = serde_json::from_str(&called).unwrap();
    assert!(calls.len() > TEXTS.len(), "too few commands were seen: {calls:?}");
    let known: BTreeSet<String> = TEXTS.iter().flat_map(|text| texts::places(text)).collect();
    let mut seen = BTreeSet::new();
    for (fix, calls) in &calls {
        for call in calls {
            assert_ne!(call[0], "injected", "{fix:?}: {calls:?}");
            if call[0] == "rm" {
                let path = call.last().unwrap().trim_end_matches('/').to_string();
                assert!(known.contains(&path), "{fix}: removes {path:?}, which nobody named");
                seen.insert(path);
            }
        }
    }
    assert!(seen.len() > 5, "stale sockets of hostile names were to be removed: {seen:?}");
}
