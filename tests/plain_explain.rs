// SPDX-License-Identifier: Apache-2.0
//! `explain LOG`: every message that is known has a line in tests/logs, and is told from the others.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;

use vhost_accord::explain::read::{file, input};
use vhost_accord::explain::{Class, Event, Reading, SIGNATURES, denial_ids, known_by};
use vhost_accord::rules::catalogue;

fn path(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/logs").join(name)
}

fn read(name: &str) -> Reading {
    let mut reading = Reading::default();
    file(&path(name), &mut reading).unwrap();
    reading.finish();
    reading
}

fn of(text: &str) -> Reading {
    let mut reading = Reading::default();
    input(text.as_bytes(), &mut reading).unwrap();
    reading.finish();
    reading
}

/// Each failure's id, what it is about and how often.
fn summary<'a>(reading: &'a Reading) -> Vec<(&'a str, &'a str, u64)> {
    let line = |event: &'a Event| (event.id, event.subject.as_deref().unwrap_or("-"), event.count);
    reading.events.iter().map(line).collect()
}

#[test]
fn what_qemu_says() {
    let reading = read("qemu.log");
    let expected = [
        ("qemu-bind-denied", "/var/lib/vhost_sockets/vhus0", 2),
        ("shutdown", "-", 1),
        ("qemu-bind-no-directory", "/var/lib/vhost_sockets/vhus1", 1),
        ("qemu-bind-read-only", "/mnt/ro/vhus1", 1),
        ("qemu-connect-denied", "/run/openvswitch/vhuc0", 1),
        ("qemu-connect-denied", "/var/run/openvswitch/vhuc9", 1),
        ("qemu-connect-missing", "/run/openvswitch/vhuc1", 1),
        ("qemu-connect-missing", "/run/openvswitch/vhuc8", 1),
        ("qemu-connect-refused", "/run/openvswitch/vhuc2", 1),
        ("qemu-connect-refused", "/var/tmp/vhost.1", 1),
        ("qemu-unlink-denied", "/tmp/vhus3", 1),
        ("qemu-waits", "/var/lib/vhost_sockets/vhus4", 1),
        (
            "socket-path-too-long",
            "/var/lib/kubelet/pods/0a/volumes/kubernetes.io~empty-dir/shared/and/so/on/vhost",
            1,
        ),
        ("backend-went-away", "-", 2),
        ("hugepages-denied", "/dev/hugepages/libvirt/qemu/2-vm1", 1),
        ("hugepages-denied", "-", 1),
        ("hugepages-read-only", "/mnt/huge/libvirt/qemu/2-vm1", 1),
        ("hugepages-not-enough", "-", 1),
        ("hugepages-not-on-node", "-", 1),
        ("memory-not-shared", "-", 1),
        ("vhost-not-started", "-", 1),
        ("locked-memory", "-", 1),
    ];
    assert_eq!(summary(&reading), expected);
    let twice = &reading.events[0];
    assert_eq!(twice.first.as_deref(), Some("2026-11-23T07:56:09"));
    assert_eq!(twice.last.as_deref(), Some("2026-11-23T08:56:09"));
    assert_eq!(reading.unknown, 1, "{:?}", reading.examples);
    assert!(reading.examples[0].contains("nobody here has ever heard of"));
}

#[test]
fn what_the_switch_says() {
    let reading = read("ovs-vswitchd.log");
    let ids: Vec<&str> = reading.events.iter().map(|event| event.id).collect();
    let expected = [
        "ovs-connect-denied",
        "ovs-connect-missing",
        "ovs-connect-refused",
        "ovs-bind-in-use",
        "port-not-made",
        "ovs-bind-denied",
        "device-not-found",
        "port-removed-while-attached",
        "vhost-fd-stripped",
        "vhost-map-failed",
        "sock-dir-missing",
        "controller-denied",
        "build-without-dpdk",
        "pid-file-denied",
        "no-libcap",
        "ovsdb-open-denied",
        "ovsdb-lock-denied",
        "ovsdb-lock-denied",
        "pid-file-denied",
        "ovsdb-client-denied",
        "user-missing",
    ];
    assert_eq!(ids, expected);
    assert_eq!(reading.events[0].subject.as_deref(), Some("/var/lib/vhost_sockets/vhus0"));
    assert_eq!((reading.unknown, reading.examples.len()), (1, 1), "{:?}", reading.examples);
}

#[test]
fn what_dpdk_and_libvirt_say() {
    let eal = read("eal.log");
    assert_eq!(eal.unknown, 0, "{:?}", eal.examples);
    let harmless: Vec<&str> =
        eal.events.iter().filter(|event| event.class == Class::Harmless).map(|event| event.id).collect();
    assert_eq!(harmless, ["eal-pagemap"]);
    let libvirt = read("libvirt.json");
    assert_eq!(libvirt.unknown, 0, "{:?}", libvirt.examples);
    let twice = libvirt.events.iter().find(|event| event.id == "qemu-conf-group-missing").unwrap();
    assert_eq!((twice.count, twice.first.as_deref()), (2, Some("2025-11-23T07:56:12")));
    let refused = libvirt.events.iter().find(|event| event.id == "hook-refused").unwrap();
    assert_eq!(refused.subject.as_deref(), Some("qemu vms prepare begin -"));
}

#[test]
fn denials_of_security_modules_are_told_apart() {
    let reading = read("audit.log");
    let ids: Vec<&str> = reading.events.iter().map(|event| event.id).collect();
    let expected = [
        "selinux-qemu-create",
        "selinux-qemu-unlink",
        "selinux-qemu-connect",
        "selinux-ovs-search",
        "selinux-ovs-connect",
        "selinux-ovs-connect",
        "selinux-ovs-memory",
        "selinux-ovs-memory",
        "selinux-ovs-vfio",
        "selinux-qemu-file",
        "selinux-ovs",
        "selinux-unrelated",
        "apparmor-vm",
        "apparmor-switch",
    ];
    assert_eq!(ids, expected, "one for each source, target, class and permissions");
    assert_eq!(reading.unknown, 0, "{:?}", reading.examples);
    let unrelated = reading.events.iter().find(|event| event.id == "selinux-unrelated").unwrap();
    assert_eq!(unrelated.class, Class::Unrelated);
    let memory = reading.events.iter().find(|event| event.id == "selinux-ovs-memory").unwrap();
    assert_eq!(memory.subject.as_deref(), Some("/dev/hugepages/libvirt/qemu/back mem"), "hexadecimal");
    let rule = "allow svirt_t virt_cache_t:sock_file { create };";
    assert!(reading.events[0].causes[0].contains(rule), "{:?}", reading.events[0].causes);
    assert_eq!(reading.events[0].first.as_deref(), Some("2024-02-29T12:34:56"));
}

/// Every kind of denial that is told apart is met by a record, alone and as the first.
#[test]
fn every_denial_has_its_record() {
    let mut reading = read("audit.log");
    file(&path("denials.log"), &mut reading).unwrap();
    let met: BTreeSet<&str> = reading.events.iter().map(|event| event.id).collect();
    let without: Vec<&str> = denial_ids().filter(|id| !met.contains(id)).collect();
    assert!(without.is_empty(), "{without:?}");
}

/// A line of each log that the wording is the first to know.
#[test]
fn every_wording_has_its_line() {
    let logs = ["qemu.log", "ovs-vswitchd.log", "eal.log", "libvirt.json", "messages.log"];
    let text: String = logs.iter().map(|name| std::fs::read_to_string(path(name)).unwrap()).collect();
    let known: Vec<_> = text.lines().filter_map(known_by).collect();
    let mut without = Vec::new();
    for signature in SIGNATURES.iter() {
        for (number, wording) in signature.patterns.iter().enumerate() {
            if !known.contains(&(signature, number)) {
                without.push(format!("{}: {wording}", signature.id));
            }
        }
        for id in &signature.findings {
            assert!(catalogue::find(id).is_some(), "{}: there is no finding {id}", signature.id);
        }
        // A fix is a fixed text: nothing of a log is ever part of a command. And apply is a finding's, never a message's.
        let texts = [signature.fix, signature.decide];
        assert!(texts.iter().all(|text| !text.contains('{') || !text.contains("{}")), "{}", signature.id);
        assert!(!signature.fix.is_empty() && !signature.source.is_empty(), "{}", signature.id);
        assert!(
            !signature.causes.is_empty() && !signature.fix.contains("vhost-accord apply"),
            "{}",
            signature.id
        );
        assert!(
            signature.causes.len() == 1 || !signature.decide.is_empty(),
            "{}: what decides?",
            signature.id
        );
    }
    assert!(without.is_empty(), "no line for\n{}", without.join("\n"));
}

#[test]
fn permission_is_told_from_a_security_module() {
    let bind = "2026-11-23T07:56:09.0Z qemu: Failed to bind socket to /d/vhuda2153ef-bb: Permission denied\n";
    assert!(!of(bind).events[0].also_security_module);
    let avc = std::fs::read_to_string(path("audit.log")).unwrap();
    let both = of(&format!("{bind}{}\n", avc.lines().next().unwrap()));
    assert_eq!(
        both.events.iter().map(|event| event.class).collect::<Vec<_>>(),
        [Class::Access, Class::SecurityModule]
    );
    assert!(both.events[0].also_security_module);
}

#[test]
fn a_hostile_log_is_bounded() {
    let long = format!("error {}\nFailed to set msg fds.\n", "x".repeat(1 << 20));
    let reading = of(&long);
    assert_eq!((reading.events.len(), reading.unknown), (1, 1));
    assert!(reading.examples[0].len() < 400);
    let many: String = (0..2000)
        .map(|number| format!("vHost Device '/{number}' can't be added - name not found\n"))
        .collect();
    let reading = of(&many);
    assert_eq!((reading.events.len(), reading.dropped), (500, 1500));
    let mut reading = Reading::default();
    input(&b"\xff\xfe Failed to set msg fds. \x00\x1b[2J\n"[..], &mut reading).unwrap();
    assert_eq!(reading.events[0].id, "backend-went-away");
    let mut reading = Reading::default();
    let big = tempfile::NamedTempFile::new().unwrap();
    big.as_file().set_len(20 << 20).unwrap();
    let source = file(big.path(), &mut reading).unwrap();
    assert_eq!(source.cut.as_deref(), Some("only the last 16 of 20 MiB"));
    assert!(file(Path::new("/"), &mut reading).is_err(), "a directory is no log");
}

fn run(arguments: &[&str], stdin: &str) -> (Option<i32>, String, String) {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut command = Command::new(env!("CARGO_BIN_EXE_vhost-accord"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn nothing_in_a_log_moves_the_terminal_or_gets_into_a_command() {
    let line = "Failed to bind socket to /x/$(reboot)\u{1b}[2J; rm -rf /: Permission denied\nerror \u{1b}]0;x\u{7}\n";
    let (_, out, _) = run(&["explain", "-"], line);
    assert!(
        out.contains("qemu-bind-denied (permission or security module): /x/$(reboot)\\u{1b}[2J; rm -rf /\n"),
        "{out}"
    );
    assert!(!out.contains('\u{1b}') && !out.contains('\u{7}'), "{out}");
    assert!(out.contains("1 line looks like an error, and is not known here:"), "{out}");
    let fixes: Vec<&str> = out.lines().filter(|line| line.trim_start().starts_with("fix:")).collect();
    assert!(fixes.len() == 1 && !fixes[0].contains("reboot"), "{fixes:?}");
    let (_, json, _) = run(&["explain", "--json", "-"], line);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["explained"][0]["count"].as_u64(), json["unknown"].as_u64()), (Some(1), Some(1)));
    assert_eq!(json["explained"][0]["class"], "access");
}

#[test]
fn pages_and_typos() {
    let (code, out, _) = run(&["explain", "hook-missing", "port-missing"], "");
    assert_eq!(code, Some(0));
    assert!(out.starts_with("hook-missing: broken; check;") && out.contains("\nport-missing: "), "{out}");
    let (code, _, error) = run(&["explain", "hook-mising"], "");
    assert_eq!((code, error.contains("did you mean hook-missing?")), (Some(1), true), "{error}");
    let (code, _, error) = run(&["explain", "hook-missing", "-"], "");
    assert_eq!((code, error.contains("not both at once")), (Some(1), true), "{error}");
    let (_, list, _) = run(&["explain", "--list"], "");
    assert_eq!(list.lines().count(), catalogue::entries().len());
    let (code, out, _) = run(&["explain", "-"], "all is well\n");
    let last = "1 lines read: 0 known, 0 not known that look like errors, 1 others\n";
    assert_eq!((code, out.ends_with(last)), (Some(0), true), "{out}");
}
