// SPDX-License-Identifier: Apache-2.0
//! `--sos` on a small report of a real node that agrees (tests/sos/trim of one that Debian's sos made).

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sos/report")
}

/// A copy to change.
fn copy() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let status = Command::new("cp").arg("-r").arg(fixture().join(".")).arg(copy.path()).status().unwrap();
    assert!(status.success());
    copy
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn run(arguments: &[&str], report: &Path) -> (i32, String, String) {
    let program = env!("CARGO_BIN_EXE_vhost-accord");
    let output = Command::new(program).args(arguments).arg("--sos").arg(report).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn check(report: &Path) -> Value {
    let (_, stdout, stderr) = run(&["check", "--json"], report);
    serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}"))
}

fn ids(json: &Value) -> Vec<String> {
    let findings = json["findings"].as_array().unwrap().iter();
    findings.map(|finding| format!("{} {}", finding["id"], finding["subject"]).replace('"', "")).collect()
}

/// Changes the output of the command that begins so.
fn edit(report: &Path, command: &str, change: impl Fn(String) -> String) {
    let manifest: Value =
        serde_json::from_slice(&fs::read(report.join("sos_reports/manifest.json")).unwrap()).unwrap();
    let commands = manifest["components"]["report"]["plugins"]["sos_extras"]["commands"].as_array().unwrap();
    let found = commands.iter().find(|one| one["exec"].as_str().unwrap().starts_with(command)).unwrap();
    let path = report.join(found["filepath"].as_str().unwrap());
    let before = fs::read_to_string(&path).unwrap();
    let after = change(before.clone());
    assert_ne!(before, after, "{command}");
    fs::write(path, after).unwrap();
}

#[test]
fn what_the_node_said_is_said_of_its_report() {
    let report = fixture();
    let (code, stdout, stderr) = run(&["check"], &report);
    assert!(
        code == 0 && stdout.ends_with("agreed\n") && stdout.contains("ovs-vswitchd("),
        "{stdout}{stderr}"
    );
    let of_report = check(&report);
    let own = files(&report.join("sos_commands"))
        .into_iter()
        .find(|path| path.ends_with("00_vhost-accord"))
        .unwrap();
    let of_node: Value = serde_json::from_slice(&fs::read(own).unwrap()).unwrap();
    for key in ["verdict", "endpoints", "findings"] {
        assert_eq!(of_report[key], of_node[key], "{key}");
    }
    assert_eq!(of_report.get("unknown"), None);
    assert_eq!(run(&["plan"], &report).1, "Nothing to change.\n");
    let (code, stdout, stderr) = run(&["convert"], &report);
    assert!(code == 0 && stdout.contains("VM vmc (running)"), "{code}: {stdout}{stderr}");
    let (_, stdout, _) = run(&["inspect"], &report);
    assert!(stdout.contains("vmc\n") && stdout.contains("/var/lib/vhost_sockets/vhus0"), "{stdout}");
    assert!(!run(&["inspect", "vms"], &report).1.contains("vhuc0"));
    assert!(run(&["inspect", "vmx"], &report).2.contains("no VM vmx in the report"));
    let (_, stdout, _) = run(&["explain"], &report);
    assert!(stdout.contains("read: /var/log/openvswitch/ovs-vswitchd.log (40 lines)"), "{stdout}");
}

#[test]
fn what_a_report_lacks_is_unknown_and_never_accused() {
    let (mut unknown, mut wrong) = (0, Vec::new());
    for file in files(&fixture()) {
        let report = copy();
        let below = file.strip_prefix(fixture()).unwrap();
        fs::remove_file(report.path().join(below)).unwrap();
        if below.ends_with("manifest.json") {
            let (code, _, stderr) = run(&["check"], report.path());
            assert!(code == 1 && stderr.contains("is no unpacked sosreport"), "{stderr}");
            continue;
        }
        let json = check(report.path());
        let lacks = json.get("unknown").is_some();
        let endpoints = json["endpoints"].as_array().unwrap();
        let fine = |row: &Value| ["ok", "unknown", "ready"].contains(&row["verdict"].as_str().unwrap());
        let verdict = if lacks { "unknown" } else { "agreed" };
        if !ids(&json).is_empty() || json["verdict"] != verdict || !endpoints.iter().all(fine) {
            let rows: Vec<&Value> = endpoints.iter().map(|row| &row["verdict"]).collect();
            wrong.push(format!("without {}: {:?} {rows:?} {}", below.display(), ids(&json), json["unknown"]));
        }
        unknown += u32::from(lacks);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(unknown > 40, "{unknown}: the fixture has what is not read");
}

#[test]
fn owners_and_modes_are_those_of_the_listings() {
    let report = copy();
    for file in files(report.path()) {
        fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
    }
    assert_eq!(check(report.path())["verdict"], "agreed", "modes of the copies count");
    edit(report.path(), "ls -lanibR", |text| {
        let line = |line: &str| match line.ends_with(" vhuc0") {
            true => format!("{}\n", line.replace("srwxrwxr-x", "srwxr-xr-x")),
            false => format!("{line}\n"),
        };
        text.lines().map(line).collect()
    });
    let json = check(report.path());
    assert_eq!(ids(&json), ["server-socket-refuses-qemu /run/openvswitch/vhuc0"]);
    assert_eq!(json["verdict"], "broken");

    let report = copy();
    edit(report.path(), "ovs-vsctl -t 5 list interface", |text| {
        text.split("\n\n").filter(|row| !row.contains("vhus0")).collect::<Vec<_>>().join("\n\n")
    });
    assert_eq!(ids(&check(report.path())), ["port-missing /var/lib/vhost_sockets/vhus0"]);
}

#[test]
fn nothing_leads_out_of_the_report_or_waits() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("f"), "[accord]\nmodes = nonsense\n").unwrap();
    let report = copy();
    let conf = report.path().join("etc/vhost-accord/vhost-accord.conf");
    fs::remove_file(&conf).unwrap();
    symlink(outside.path().join("f"), &conf).unwrap();
    let json = check(report.path());
    assert_eq!((ids(&json), &json["verdict"]), (vec![], &"unknown".into()));
    assert!(json["unknown"].to_string().contains("/etc/vhost-accord/vhost-accord.conf"), "{json:#}");

    let report = copy();
    let etc = report.path().join("etc");
    fs::rename(&etc, outside.path().join("etc")).unwrap();
    symlink(outside.path().join("etc"), &etc).unwrap();
    assert_eq!(check(report.path())["verdict"], "unknown", "a directory of another place was read");

    let report = copy();
    let passwd = report.path().join("etc/default/openvswitch-switch");
    fs::remove_file(&passwd).unwrap();
    assert!(Command::new("mkfifo").arg(&passwd).status().unwrap().success());
    assert_eq!(check(report.path())["verdict"], "unknown");

    let report = copy();
    let path = report.path().join("sos_reports/manifest.json");
    let manifest = fs::read_to_string(&path).unwrap();
    fs::write(&path, manifest.replace("sos_commands/", "../../../../../../../../tmp/sos_commands/")).unwrap();
    assert_eq!(check(report.path())["verdict"], "unknown");
}

#[test]
fn a_stopped_switch_and_open_modes_are_told_as_far_as_they_are_known() {
    let report = copy();
    let pid = fs::read_to_string(report.path().join("run/openvswitch/ovs-vswitchd.pid")).unwrap();
    let stat = report.path().join("proc").join(pid.trim()).join("stat");
    let text = fs::read_to_string(&stat).unwrap();
    let (name, rest) = text.rsplit_once(')').unwrap();
    fs::write(&stat, format!("{name}) T{}", &rest[2..])).unwrap();
    let hung = format!("dataplane-hung ovs-vswitchd (pid {})", pid.trim());
    assert_eq!(ids(&check(report.path())), [hung]);

    // What an earlier apply found is in the journal, which no report has.
    let report = copy();
    fs::write(report.path().join("etc/vhost-accord/vhost-accord.conf"), "[accord]\nmodes = look\n").unwrap();
    assert_eq!(check(report.path())["verdict"], "agreed");
    let silent = |_| "ovs-vsctl: unix:/run/openvswitch/db.sock: database connection failed\n".to_string();
    edit(report.path(), "ovs-vsctl -t 5 list Open_vSwitch", silent);
    for name in ["etc/libvirt/qemu/vmc.xml", "run/libvirt/qemu/vmc.xml"] {
        let path = report.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replace("openvswitch/vhuc0", "elsewhere/vhuc0")).unwrap();
    }
    let json = check(report.path());
    assert_eq!((ids(&json), &json["verdict"]), (vec![], &"unknown".into()), "{json:#}");
}
