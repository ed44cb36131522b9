// SPDX-License-Identifier: Apache-2.0
//! `compare` against the hook: thirty VMs of differing shapes, and what each node's hook does when they come from the other.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use serde_json::{Value, json};
use vhost_accord::facts::domains::parse_domain;

use super::steps::PATIENT;
use super::support::{Node, on_nodes};

// The other node is of a kind that `make test` does not build.
on_nodes!(later bookworm = "bookworm": what_is_compared_is_what_the_hooks_do);

const SHARED: &str = "<hugepages/><access mode='shared'/>";

/// Sides and paths of the cards, what the memory is made of, and whom QEMU runs as.
type Shape = (&'static [(&'static str, &'static str)], &'static str, &'static str);

const SHAPES: [Shape; 32] = [
    (&[("client", "/run/openvswitch/c1")], SHARED, ""),
    (&[("client", "/run/openvswitch/c2")], SHARED, ""),
    (&[("client", "/run/openvswitch/c3")], SHARED, ""),
    (&[("client", "/run/openvswitch/none")], SHARED, ""),
    (&[("client", "/var/run/openvswitch/c1")], SHARED, ""),
    (&[("client", "/srv/vhost/c1")], SHARED, ""),
    (&[("client", "/var/lib/vhost_sockets/s1")], SHARED, ""),
    (&[("server", "/var/lib/vhost_sockets/s1")], SHARED, ""),
    (&[("server", "/var/lib/vhost_sockets/s2")], SHARED, ""),
    (&[("server", "/var/lib/vhost_sockets/s3")], SHARED, ""),
    (&[("server", "/var/lib/vhost_sockets/s4")], SHARED, ""),
    (&[("server", "/var/lib/vhost_sockets/none")], SHARED, ""),
    (&[("server", "/var/lib/vhost_sockets/br-int")], SHARED, ""),
    (&[("server", "/var/lib/vhost_sockets/stale")], SHARED, ""),
    (&[("server", "/var/lib/vhost_sockets/file")], SHARED, ""),
    (&[("server", "/srv/vhost/s1")], SHARED, ""),
    (&[("server", "/srv/vhost/s2")], SHARED, ""),
    (&[("server", "/srv/vhost/s3")], SHARED, ""),
    (&[("server", "/srv/vhost/c1")], SHARED, ""),
    (&[("server", "/run/openvswitch/s2")], SHARED, ""),
    (&[("server", "/nowhere/s9")], SHARED, ""),
    (&[("server", "/var/lib/vhost_sockets/s1"), ("client", "/run/openvswitch/c1")], SHARED, ""),
    (&[("server", "/srv/vhost/s3"), ("client", "/run/openvswitch/c2")], SHARED, ""),
    (&[("server", "/srv/vhost/s3"), ("server", "/srv/vhost/s4")], SHARED, ""),
    (&[("server", "/srv/vhost/s3")], "<hugepages/>", ""),
    (&[("server", "/srv/vhost/s3")], "", ""),
    (&[("server", "/srv/vhost/s3")], "<source type='memfd'/><access mode='shared'/>", ""),
    (
        &[("server", "/srv/vhost/s3")],
        "<hugepages><page size='1' unit='GiB'/></hugepages><access mode='shared'/>",
        "",
    ),
    (&[("client", "/run/openvswitch/c2")], "<hugepages/>", ""),
    (&[("server", "/srv/vhost/s3")], SHARED, "<label>+0:+0</label>"),
    (&[("server", "/var/lib/vhost_sockets/s4")], SHARED, "<label>+54321:+54321</label>"),
    (&[("client", "/run/openvswitch/c2")], SHARED, "<label>+54321:+54321</label>"),
];

fn xml(number: usize) -> String {
    let (cards, memory, label) = SHAPES[number];
    let mut devices = String::new();
    for (side, path) in cards {
        let _ = write!(
            devices,
            "<interface type='vhostuser'><source type='unix' path='{path}' mode='{side}'/><model type='virtio'/></interface>"
        );
    }
    let label = match label {
        "" => String::new(),
        label => format!("<seclabel type='static' model='dac' relabel='no'>{label}</seclabel>"),
    };
    format!(
        "<domain type='qemu'><name>shape{number}</name><uuid>96d532df-b60c-4c4a-8e22-0000000000{number:02}</uuid>\
         <memory unit='MiB'>48</memory><memoryBacking>{memory}</memoryBacking><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='pc'>hvm</type></os><devices>{devices}</devices>{label}</domain>"
    )
}

/// The VMs are defined here; each as libvirt would send it.
fn define(node: &Node) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let all: String = (0..SHAPES.len()).map(|number| format!("{}\n", xml(number))).collect();
    let file = directory.path().join("all");
    std::fs::write(&file, all).unwrap();
    node.push(&file, "/root/all");
    let told = node.sh(
        "n=0; while read -r line; do printf '%s' \"$line\" >/root/one.xml; virsh -q define /root/one.xml >&2; \
         virsh dumpxml --migratable shape$n; echo ----; n=$((n + 1)); done </root/all",
    );
    let told: Vec<String> =
        told.split("----\n").filter(|text| !text.trim().is_empty()).map(str::to_string).collect();
    assert_eq!(told.len(), SHAPES.len());
    told
}

/// What the node says of itself, with these VMs as if they ran there.
fn fingerprint(node: &Node, vms: &[String]) -> Value {
    let output = node.accord("check --json");
    let mut told: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output}"));
    let vm = |xml: &String| {
        let mut domain = parse_domain(xml).unwrap();
        domain.running = true;
        json!({"domain": domain, "nova_ports": []})
    };
    told["fingerprint"]["vms"] = vms.iter().map(vm).collect();
    told
}

/// The word for each VM on the other node.
fn compared(there: &Value, here: &Value) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let empty = {
        let mut here = here.clone();
        here["fingerprint"]["vms"] = json!([]);
        here
    };
    for (name, node) in [("there", there), ("here", &empty)] {
        std::fs::write(directory.path().join(name), node.to_string()).unwrap();
    }
    let mut compare = Command::new(env!("CARGO_BIN_EXE_vhost-accord"));
    compare.args(["compare", "there", "here", "--json"]).current_dir(directory.path());
    let output = compare.output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let word = |vm: &Value| match vm["targets"].as_u64().unwrap() {
        0 => vm["obstacles"][0]["id"].as_str().unwrap().to_string(),
        _ => "yes".to_string(),
    };
    told["vms"].as_array().unwrap().iter().map(word).collect()
}

fn against(target: &Node, there: &Value) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("there"), there.to_string()).unwrap();
    target.push(&directory.path().join("there"), "/root/there");
    let output = target.accord("check --against /root/there --json");
    let told: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output}"));
    let words = told["vms"].as_array().unwrap().iter();
    words.map(|vm| vm["starts_here"].as_str().unwrap().to_string()).collect()
}

/// What the node's hook says when libvirt receives the VM and starts it: nothing, or why not. What QEMU may is known at the last
/// step alone, so each step is asked, even where libvirt would have stopped.
fn hooks(target: &Node, vms: &[String]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("coming");
    std::fs::write(&file, vms.join("----\n")).unwrap();
    target.push(&file, "/root/coming");
    let said = target.sh(
        "cd /root; rm -rf xx*; csplit -sz coming '/^----$/' '{*}'; n=0; for file in xx*; do \
           sed -i '/^----$/d' $file; said=; \
           for step in migrate prepare start; do \
             told=$(/etc/libvirt/hooks/qemu.d/50-vhost-accord shape$n $step begin - <$file 2>&1 >/dev/null) || said=\"$said $told\"; \
           done; \
           printf '%s\\n' \"$said\" | tr '\\n' ' '; echo; n=$((n + 1)); done",
    );
    let lines: Vec<String> = said.lines().map(|line| line.trim().to_string()).collect();
    assert_eq!(lines.len(), SHAPES.len(), "{said}");
    lines
}

fn judge(source: (&Value, &[String]), target: (&Node, &Value)) {
    let (there, vms) = source;
    let (node, here) = target;
    let (compared, against) = (compared(there, here), against(node, there));
    let said = hooks(node, vms);
    let mut wrong = BTreeMap::new();
    for (number, said) in said.iter().enumerate() {
        let (compared, against) = (compared[number].as_str(), against[number].as_str());
        let fits = match against {
            "yes" | "unknown" => said.is_empty(),
            word => said.contains(&format!(" {word}")),
        };
        // A fingerprint has no directories that only such a VM has, and no accounts but the usual ones.
        let (cards, _, label) = SHAPES[number];
        let is_alone = cards.iter().any(|(_, path)| path.starts_with("/nowhere/")) || !label.is_empty();
        if !fits || !(compared == against || (is_alone && compared == "unknown")) {
            wrong.insert(number, (SHAPES[number], compared, against, said));
        }
    }
    assert!(wrong.is_empty(), "coming to {}: {wrong:#?}", node.kind);
    let yes = compared.iter().filter(|word| *word == "yes").count();
    let words: std::collections::BTreeSet<&String> = compared.iter().collect();
    assert!(yes > 1 && words.len() > 6, "{words:?}, {yes} times yes");
}

fn what_is_compared_is_what_the_hooks_do(kind: &'static str) {
    let (one, two) = (Node::up(kind), Node::up("rhel-3.6"));
    let ports = |node: &Node, ports: &[(&str, &str)]| {
        let mut script = String::new();
        for (name, path) in ports {
            let kind = if path.is_empty() { "dpdkvhostuser" } else { "dpdkvhostuserclient" };
            let option =
                if path.is_empty() { String::new() } else { format!(" options:vhost-server-path={path}") };
            let _ = write!(
                script,
                "ovs-vsctl add-port br-int {name} -- set Interface {name} type={kind}{option} && "
            );
        }
        node.sh(&format!("{script} ovs-vsctl add-port br-int c3 -- set Interface c3 type=internal"));
    };
    one.configure(&format!("modes = dpdkvhostuser dpdkvhostuserclient\\n{PATIENT}"));
    two.configure(&format!(
        "modes = dpdkvhostuserclient\\nsocket-directory = /srv/vhost\\ngid = 4711\\n{PATIENT}"
    ));
    let sockets = "/var/lib/vhost_sockets";
    let at = |name: &str| format!("{sockets}/{name}");
    let (s1, s3, s4, stale, file) = (at("s1"), at("s3"), at("s4"), at("stale"), at("file"));
    ports(
        &one,
        &[
            ("c1", ""),
            ("c2", "/srv/vhost/c2"),
            ("s1", &s1),
            ("s2", ""),
            ("s3", &s3),
            ("s4", &s4),
            ("stale", &stale),
            ("file", &file),
        ],
    );
    ports(
        &two,
        &[
            ("c1", "/srv/vhost/c1"),
            ("c2", ""),
            ("s1", ""),
            ("s2", "/srv/vhost/s2"),
            ("s3", "/srv/vhost/s3"),
            ("s4", &s4),
        ],
    );
    one.apply("--restart");
    two.apply("--restart --renumber");
    one.sh(
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/var/lib/vhost_sockets/stale\")'; \
            touch /var/lib/vhost_sockets/file",
    );
    let (of_one, of_two) = (define(&one), define(&two));
    for node in [&one, &two] {
        // While it is young, the hook waits for what may still come.
        node.wait_for("a dataplane that is not young", "test $(ps -o etimes= -C ovs-vswitchd) -gt 31");
    }
    let (told_one, told_two) = (fingerprint(&one, &of_one), fingerprint(&two, &of_two));
    judge((&told_one, &of_one), (&two, &told_two));
    judge((&told_two, &of_two), (&one, &told_one));
}
