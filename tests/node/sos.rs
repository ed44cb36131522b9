// SPDX-License-Identifier: Apache-2.0
//! `--sos`: what is said of a node by its sosreport is what the node says itself, or unknown. The reports are made by the
//! suite's own sos.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::check::{BREAKAGES, LISTEN, STALE, accused, agreed, as_it_was, fix, settled};
use super::steps::BOTH;
use super::support::{Node, Output, on_nodes};

on_nodes!(bookworm = "bookworm": before_and_after_apply);
on_nodes!(later bookworm = "bookworm": every_breakage_is_in_the_report);
on_nodes!(trixie = "trixie": before_and_after_apply);
on_nodes!(rhel_2_9 = "rhel-2.9": before_and_after_apply);
on_nodes!(rhel_2_17 = "rhel-2.17": before_and_after_apply);
on_nodes!(rhel_3_6 = "rhel-3.6": before_and_after_apply);

/// The plugins that have to do with it; all of them would take minutes. Not `openvswitch` of sos 4.0: it ends ovs-vswitchd 3.1
/// (docs/check.md).
fn plugins(node: &Node) -> &'static str {
    match node.kind {
        "bookworm" | "rhel-2.9" | "rhel-2.17" | "rhel-3.6" => {
            "libvirt,systemd,filesys,process,memory,logs,sos_extras"
        }
        _ => "openvswitch,libvirt,systemd,filesys,process,memory,logs,sos_extras",
    }
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// sos, and what the package ships for it.
fn install(node: &Node) {
    let suite = if node.is_rhel() { "bookworm" } else { node.kind };
    let fetched = Command::new(source("tests/sos/fetch")).arg(suite).output().unwrap();
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    let packages = PathBuf::from(String::from_utf8(fetched.stdout).unwrap().trim());
    node.sh("mkdir -p /root/sos /etc/sos/extras.d");
    for package in std::fs::read_dir(packages).unwrap() {
        let package = package.unwrap().path();
        let name = package.file_name().unwrap().to_str().unwrap().replace('%', "-");
        node.push(&package, &format!("/root/sos/{name}"));
    }
    node.sh("dpkg -i --force-depends /root/sos/*.deb >/dev/null 2>&1 || dpkg -s sosreport sos 2>/dev/null | grep -q installed");
    node.push(&source("packaging/sos-extras"), "/etc/sos/extras.d/vhost-accord");
    node.sh("chmod 0644 /etc/sos/extras.d/vhost-accord");
}

/// The report, unpacked here.
fn report(node: &Node) -> tempfile::TempDir {
    let plugins = plugins(node);
    node.sh(&format!(
        "rm -rf /root/report; mkdir /root/report; \
         sos report --batch --build --tmp-dir /root/report --only-plugins {plugins} >/root/sos.log 2>&1 || \
         {{ cat /root/sos.log; exit 1; }}; \
         cd /root/report/sos* && find . -type s -delete && tar cf /root/report.tar ."
    ));
    let here = tempfile::tempdir().unwrap();
    let packed = here.path().join("report.tar");
    node.pull("/root/report.tar", &packed);
    let status = Command::new("tar").arg("xf").arg(&packed).arg("-C").arg(here.path()).status().unwrap();
    assert!(status.success());
    here
}

/// The same report as it had been without the package's file: its outputs and copies taken out.
fn without_extras(report: &Path) {
    let path = report.join("sos_reports/manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let plugins = manifest["components"]["report"]["plugins"].as_object_mut().unwrap();
    let extras = plugins.remove("sos_extras").unwrap();
    let copies = |plugin: &Value| -> BTreeSet<String> {
        let files = plugin["files"].as_array().unwrap().iter();
        let copied = files.filter_map(|file| file["files_copied"].as_array()).flatten();
        copied.map(|file| file.as_str().unwrap().trim_start_matches('/').to_string()).collect()
    };
    let others: BTreeSet<String> = plugins.values().flat_map(copies).collect();
    for file in copies(&extras).difference(&others) {
        let path = report.join(file);
        let _ = std::fs::remove_dir_all(&path).or_else(|_| std::fs::remove_file(&path));
    }
    std::fs::remove_dir_all(report.join("sos_commands/sos_extras")).unwrap();
    std::fs::write(&path, manifest.to_string()).unwrap();
}

fn program(arguments: &[&str], report: &Path) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_vhost-accord"))
        .args(arguments)
        .arg("--sos")
        .arg(report)
        .output()
        .unwrap();
    Output {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Verdict, findings with what fixes them, and the verdict of each endpoint.
fn said(output: &Output) -> (String, BTreeSet<String>, BTreeSet<String>) {
    let json: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output}"));
    let lines = |list: &str, keys: &[&str]| -> BTreeSet<String> {
        let rows = json[list].as_array().unwrap().iter();
        rows.map(|row| keys.iter().map(|key| row[*key].to_string()).collect::<Vec<_>>().join(" ")).collect()
    };
    (
        json["verdict"].as_str().unwrap().to_string(),
        lines("findings", &["id", "subject", "seen", "fix"]),
        lines("endpoints", &["vm", "path", "state", "verdict", "connected", "listener"]),
    )
}

fn every_breakage_is_in_the_report(kind: &'static str) {
    let node = agreed(kind);
    install(&node);
    as_it_was(&node);
    let mut wrong = differences(&node, "a node that agrees");
    // A report takes a while; `make torture` breaks the node in every way.
    let step = if std::env::var_os("VHOST_ACCORD_TORTURE").is_some() { 1 } else { 3 };
    for (what, script, expected) in BREAKAGES.iter().step_by(step) {
        // libvirt 11.2 and later does not take such a definition.
        if node.kind == "trixie" && script.contains("access mode='shared'/>##") {
            continue;
        }
        as_it_was(&node);
        let script = script.replace("SWITCH", node.switch());
        node.sh(&script.replace("LISTEN", LISTEN).replace("STALE", STALE));
        settled(|| accused(&node).1, |seen| seen.iter().any(|line| line == expected));
        let different = differences(&node, what);
        eprintln!("{what}: {}", if different.is_empty() { "the same" } else { "different" });
        wrong.extend(different);
        fix(&node, what);
    }
    assert!(wrong.is_empty(), "on {kind}:\n{}", wrong.join("\n"));
}

/// The stock node has no configuration and no group; then VMs run, and the dataplane as whatever user it has here.
fn before_and_after_apply(kind: &'static str) {
    let node = Node::up(kind);
    install(&node);
    let mut wrong = differences(&node, "the stock node");
    node.configure(BOTH);
    node.apply("--restart");
    node.start("vmc", true);
    node.start("vms", true);
    wrong.extend(differences(&node, "after apply"));
    node.sh("ovs-vsctl del-port vhus0; chmod 0755 /var/lib/vhost_sockets");
    wrong.extend(differences(&node, "broken"));
    assert!(wrong.is_empty(), "on {kind}:\n{}", wrong.join("\n"));
}

/// Where what is said of the report is not what the node says, or, without what the package adds, more than that.
fn differences(node: &Node, what: &str) -> Vec<String> {
    let report = report(node);
    let mut wrong = Vec::new();
    let of_node = said(&node.accord("check --json"));
    let complete = program(&["check", "--json"], report.path());
    if said(&complete) != of_node {
        wrong.push(format!("{what}: {complete}\nand not {of_node:#?}"));
    }
    for command in ["plan", "convert"] {
        let (of_report, of_node) =
            (program(&[command, "--json"], report.path()), node.accord(&format!("{command} --json")));
        if (of_report.code, &of_report.stdout) != (of_node.code, &of_node.stdout) {
            wrong.push(format!("{what}, {command}: {of_report}\nand not {of_node}"));
        }
    }
    without_extras(report.path());
    let bare = program(&["check", "--json"], report.path());
    let (verdict, findings, _) = said(&bare);
    if verdict != "unknown" && verdict != of_node.0 || !findings.is_subset(&of_node.1) {
        wrong.push(format!("{what}, without what the package adds: {bare}\nand not {of_node:#?}"));
    }
    wrong
}
