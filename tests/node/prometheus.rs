// SPDX-License-Identifier: Apache-2.0
//! Debian's Prometheus and node_exporter scrape a node: metrics arrive, each alert fires for the break that it is for, none on
//! a sound node and while packages are upgraded, and the dashboard's queries have an answer.
//!
//! The rules are the shipped ones, with shorter patience (`hurried`). `VHOST_ACCORD_PICTURE=FILE` keeps what the dashboard's
//! queries say over the whole run, for `tests/monitoring/picture`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::packages::{says, stock};
use super::support::{Node, on_nodes};

on_nodes!(later bookworm = "bookworm": each_alert_fires_for_its_break_alone);

const RULES: &str = include_str!("../../packaging/monitoring/alerts.yml");
const DASHBOARD: &str = include_str!("../../packaging/monitoring/dashboard.json");
const SERVER: &str = "http://localhost:9090";

/// The shipped rules for a node that is checked each second: every time in them is that much shorter.
fn hurried() -> String {
    let shorter = [("for: 10m", "for: 20s"), ("for: 1d", "for: 5s"), ("> 900", "> 10")];
    shorter.iter().fold(RULES.to_string(), |rules, (from, to)| {
        assert!(rules.contains(from), "{from}");
        rules.replace(from, to)
    })
}

fn fetched() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/monitoring/fetch");
    let output = Command::new(script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// A node with the package, whose metrics are scraped each second.
fn scraped(kind: &'static str) -> Node {
    let node = stock(kind, "deb");
    says(&node, "dpkg -i /root/earlier.deb");
    // Debian's own package, as it comes: its user, its unit, its directory.
    let place = fetched();
    let exporter = std::fs::read_dir(place.join("deb")).unwrap().next().unwrap().unwrap().path();
    node.push(&exporter, "/root/exporter.deb");
    says(&node, "dpkg -i /root/exporter.deb");
    for program in ["prometheus", "promtool"] {
        node.push(&place.join("bin").join(program), &format!("/usr/bin/{program}"));
    }
    let files = tempfile::tempdir().unwrap();
    let configuration = "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [/root/alerts.yml]\n\
                         scrape_configs: [{job_name: node, static_configs: [{targets: [\"localhost:9100\"]}]}]\n";
    for (name, text) in [("alerts.yml", hurried()), ("prometheus.yml", configuration.to_string())] {
        std::fs::write(files.path().join(name), text).unwrap();
        node.push(&files.path().join(name), &format!("/root/{name}"));
    }
    node.sh(
        "mkdir -p /etc/systemd/system/vhost-accord-metrics.timer.d; cd /etc/systemd/system; \
         printf '[Timer]\\nOnUnitInactiveSec=\\nOnUnitInactiveSec=1s\\nOnActiveSec=0\\nAccuracySec=100ms\\n' \
         > vhost-accord-metrics.timer.d/test.conf; systemctl daemon-reload; \
         systemctl restart libvirtd; systemctl enable --now vhost-accord-metrics.timer; \
         systemd-run -q --unit=prometheus prometheus --config.file=/root/prometheus.yml --storage.tsdb.path=/root/data",
    );
    node.wait_for("metrics", &said("vhost_accord_check_success == 1"));
    node
}

/// A script that succeeds if the query has a result, and prints it.
fn said(query: &str) -> String {
    format!("promtool query instant {SERVER} '{query}' | grep .")
}

/// The alerts that have fired at any time so far, and for what.
fn fired(node: &Node) -> Vec<String> {
    let query = "count by (alertname, id, unit) (max_over_time(ALERTS{alertstate=\"firing\"}[1h]))";
    let text = node.sh(&format!("promtool query instant -o json {SERVER} '{query}'"));
    let found: Value = serde_json::from_str(&text).unwrap();
    let label = |alert: &Value, name: &str| alert["metric"][name].as_str().unwrap_or_default().to_string();
    let line = |alert: &Value| {
        let of = ["alertname", "id", "unit"].map(|name| label(alert, name));
        of.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" ")
    };
    let mut alerts: Vec<String> = found.as_array().unwrap().iter().map(line).collect();
    alerts.sort();
    alerts
}

/// Breaks the node, waits for the alert, and expects that nothing else has fired but what was expected before.
fn fires(node: &Node, expected: &mut Vec<String>, alert: &str, broken: impl FnOnce()) {
    assert_eq!(fired(node), *expected, "before {alert}");
    broken();
    expected.push(alert.to_string());
    expected.sort();
    let name = alert.split(' ').next().unwrap();
    node.wait_for(alert, &said(&format!("ALERTS{{alertname=\"{name}\", alertstate=\"firing\"}}")));
    assert_eq!(fired(node), *expected, "after {alert}");
}

fn each_alert_fires_for_its_break_alone(kind: &'static str) {
    let node = scraped(kind);
    node.start("vms", true);
    node.start("vmc", false);
    let unit =
        node.sh("grep -v timestamp /var/lib/prometheus/node-exporter/vhost-accord.prom | grep findings");
    let hand = node.accord("check --prometheus").stdout;
    assert!(unit.lines().all(|line| hand.contains(line)), "the unit's rights are enough: {unit}\n{hand}");
    let starts = "vhost_accord_hook_checks_total{operation=\"start\",result=\"passed\"} == 2";
    node.wait_for("the hook's counters", &said(starts));

    // An upgrade of this package, and of the switch under a running VM.
    says(&node, "dpkg -i /root/now.deb");
    says(&node, "dpkg -i /root/debs/openvswitch-switch_*.deb");
    let connected = "vhost-accord check | grep -E '^vms +vhus0 .* ok$'";
    node.wait_for("the VM after the upgrade", connected);
    assert_eq!(fired(&node), Vec::<String>::new(), "on a sound node and during an upgrade");

    let mut all = Vec::new();
    fires(&node, &mut all, "VhostAccordRefused", || {
        node.sh("ovs-vsctl del-port vhuc0");
        node.refuses("vmc");
        node.sh("ovs-vsctl add-port br-int vhuc0 -- set interface vhuc0 type=dpdkvhostuser");
    });
    fires(&node, &mut all, "VhostAccordUnchecked", || {
        let hook = "/etc/libvirt/hooks/qemu.d/50-vhost-accord vms prepare begin -";
        node.sh(&format!("echo \"<domain><interface type='vhostuser'>\" | {hook}"));
    });
    fires(&node, &mut all, "VhostAccordChangedByOthers", || {
        node.configure("[watch]\\ndrift = fix\\n");
        let drop_in = "/etc/systemd/system/ovs-vswitchd.service.d/50-vhost-accord.conf";
        let hook = "/etc/libvirt/hooks/qemu.d/50-vhost-accord";
        let open = ("chmod 700 /var/lib/vhost_sockets", "test $(stat -c %a /var/lib/vhost_sockets) = 2775");
        for (change, fixed) in [
            open,
            (&format!("rm {drop_in}"), &format!("test -e {drop_in}")),
            (&format!("rm {hook}"), &format!("test -e {hook}")),
            open,
        ] {
            node.sh(change);
            node.wait_for(change, fixed);
        }
    });
    fires(&node, &mut all, "VhostAccordRestartPending libvirtd.service", || {
        node.sh("touch /etc/libvirt/qemu.conf");
    });
    fires(&node, &mut all, "VhostAccordBroken port-missing", || {
        node.sh("ovs-vsctl del-port vhuc0");
    });
    // The queries, while there is something of each to see.
    let panels = queries();
    for (title, query) in &panels {
        assert!(node.try_sh(&said(query)).code == 0, "{title}: {query} has no result");
    }
    node.sh("ovs-vsctl add-port br-int vhuc0 -- set interface vhuc0 type=dpdkvhostuser");
    fires(&node, &mut all, "VhostAccordNotChecked", || {
        node.sh("systemctl stop vhost-accord-metrics.timer");
    });
    keep(&node, &panels);
    says(&node, "dpkg --purge vhost-accord");
    let left = "ls /run/vhost-accord.counters /var/lib/prometheus/node-exporter/* /usr/lib/nagios \
                /etc/systemd/system/timers.target.wants/vhost-accord-metrics.timer 2>/dev/null || :";
    assert_eq!(node.sh(left), "");
}

/// Titles and queries of the dashboard.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut all = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap().replace("$instance", ".*");
            all.push((panel["title"].as_str().unwrap().to_string(), query));
        }
    }
    all
}

/// What each query said over the last minutes, for the picture.
fn keep(node: &Node, panels: &[(String, String)]) {
    let Some(file) = std::env::var_os("VHOST_ACCORD_PICTURE") else { return };
    let said = |(title, query): &(String, String)| {
        let ask = format!(
            "promtool query range -o json --step=1s --start=$(($(date +%s) - 150)) --end=$(date +%s) {SERVER} '{query}'"
        );
        let series: Value = serde_json::from_str(&node.sh(&ask)).unwrap();
        serde_json::json!({"title": title, "query": query, "series": series})
    };
    let all: Vec<Value> = panels.iter().map(said).collect();
    std::fs::write(file, serde_json::to_vec(&all).unwrap()).unwrap();
}
