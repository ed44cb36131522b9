// SPDX-License-Identifier: Apache-2.0
//! Metrics and rules as Prometheus' own promtool sees them.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use vhost_accord::report::prometheus::{self, Measured};

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs promtool; what it said, where it found nothing wrong.
fn promtool(arguments: &[&str], input: &str) -> String {
    let fetched = Command::new(source("tests/monitoring/fetch")).output().unwrap();
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    let place = PathBuf::from(String::from_utf8(fetched.stdout).unwrap().trim());
    let mut command = Command::new(place.join("bin/promtool"));
    command.args(arguments).current_dir(source("packaging/monitoring"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
    said
}

#[test]
#[ignore = "needs root: make test"]
fn metrics_follow_the_conventions_of_prometheus() {
    let found = Measured { accord: Some("0123456789abcdef".to_string()), ..Measured::default() };
    let counted = "hook start passed 1 1834\nwatch fixes 2\n";
    for text in [prometheus::text(Some(&found), counted), prometheus::text(None, "")] {
        assert_eq!(promtool(&["check", "metrics"], &text), "");
    }
}

/// As rules, since promtool reads queries there.
#[test]
#[ignore = "needs root: make test"]
fn the_queries_of_the_dashboard_are_queries() {
    let text = std::fs::read_to_string(source("packaging/monitoring/dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let rule = |target: &serde_json::Value| serde_json::json!({"record": "a:query", "expr": target["expr"]});
    let rules: Vec<_> = targets.map(rule).collect();
    assert!(rules.len() >= 10);
    // JSON is YAML. The same name for all would be a warning, were it not for their labels.
    let numbered = rules.into_iter().enumerate().map(|(number, mut rule)| {
        rule["labels"] = serde_json::json!({"number": number.to_string()});
        rule
    });
    let groups = serde_json::json!({"groups": [{"name": "a", "rules": numbered.collect::<Vec<_>>()}]});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), groups.to_string()).unwrap();
    promtool(&["check", "rules", file.path().to_str().unwrap()], "");
}

#[test]
#[ignore = "needs root: make test"]
fn alerts_fire_for_what_they_are_for() {
    promtool(&["check", "rules", "alerts.yml"], "");
    promtool(&["test", "rules", "tests.yml"], "");
}

/// What hook and watcher did on this machine is nothing that they did in an image.
#[test]
#[ignore = "needs root: make test"]
fn an_image_has_no_counters() {
    let image = tempfile::tempdir().unwrap();
    for directory in ["etc", "run"] {
        std::fs::create_dir(image.path().join(directory)).unwrap();
    }
    let script = "mount --make-rprivate / && mount -t tmpfs none /run && echo watch fixes 7 >/run/vhost-accord.counters && \
        for root in / \"$1\"; do \"$2\" check --prometheus --root \"$root\" | sed -n 's/^vhost_accord_watch_fixes_total //p'; done";
    let program = env!("CARGO_BIN_EXE_vhost-accord");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(image.path()).arg(program);
    assert_eq!(String::from_utf8_lossy(&command.output().unwrap().stdout), "7\n0\n");
}
