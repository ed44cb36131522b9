// SPDX-License-Identifier: Apache-2.0
//! What `check` says of both sides: of a node that agrees every field, of one that was broken by hand one cause, and a
//! command that fixes it.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::steps::BOTH;
use super::support::{Node, on_nodes};

on_nodes!(bookworm = "bookworm": every_field_is_what_other_tools_say every_breakage_is_named_and_fixed);
on_nodes!(rhel_2_9 = "rhel-2.9": every_field_is_what_other_tools_say);

pub fn agreed(kind: &'static str) -> Node {
    let node = Node::up(kind);
    node.configure(BOTH);
    node.apply("--restart");
    node.sh("for vm in vmc vms; do virsh dumpxml --inactive $vm > /root/$vm.xml; done");
    node
}

fn json(node: &Node) -> Value {
    let output = node.accord("check --json");
    serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output}"))
}

fn rows(json: &Value) -> &[Value] {
    json["endpoints"].as_array().unwrap()
}

fn row<'a>(json: &'a Value, vm: &str) -> &'a Value {
    rows(json).iter().find(|row| row["vm"] == vm).unwrap_or_else(|| panic!("no row of {vm}: {json:#}"))
}

fn text(node: &Node, script: &str) -> String {
    node.sh(script).trim().to_string()
}

fn every_field_is_what_other_tools_say(kind: &'static str) {
    let node = agreed(kind);
    for (vm, mode) in [("vmc", "client"), ("vms", "server")] {
        let json = json(&node);
        let row = row(&json, vm);
        assert_eq!((&row["state"], &row["verdict"]), (&"off".into(), &"ready".into()), "{row:#}");
        assert_eq!((&row["mode"], &row["qemu"]), (&mode.into(), &Value::Null));
    }
    node.start("vmc", true);
    node.start("vms", true);
    let json = json(&node);
    assert_eq!(json["version"], 1);
    let switch = text(&node, "cat /run/openvswitch/ovs-vswitchd.pid");
    for (vm, port, path) in
        [("vmc", "vhuc0", "/run/openvswitch/vhuc0"), ("vms", "vhus0", "/var/lib/vhost_sockets/vhus0")]
    {
        let row = row(&json, vm);
        let guest = text(&node, &format!("cat /run/libvirt/qemu/{vm}.pid"));
        assert_eq!((&row["state"], &row["verdict"]), (&"running".into(), &"ok".into()), "{row:#}");
        assert_eq!(row["path"], path);
        assert_eq!(row["port"]["name"], port);
        for (key, column) in [("type", "type"), ("ofport", "ofport")] {
            let wanted = text(&node, &format!("ovs-vsctl get Interface {port} {column} | tr -d '\"'"));
            assert_eq!(row["port"][key].to_string().trim_matches('"'), wanted, "{row:#}");
        }
        let file = text(&node, &format!("stat -c '%u %g %U %G %04a' {path}"));
        let socket = &row["socket"];
        let seen: Vec<String> = ["uid", "gid", "user", "group", "mode"]
            .iter()
            .map(|key| socket[*key].to_string().trim_matches('"').to_string())
            .collect();
        assert_eq!(seen.join(" "), file, "{row:#}");
        assert_eq!((&socket["liveness"], &row["connected"]), (&"listening".into(), &true.into()));
        // ss: State Recv-Q Send-Q path inode * peer, users:(("name",pid=N,fd=M)).
        let listens = text(&node, &format!("ss -xlp | grep '/{port} '"));
        let listener = &row["listener"];
        assert!(listens.contains(&format!(" {} ", listener["inode"])), "{listens}: {row:#}");
        assert!(listens.contains(&format!("pid={},", listener["owner"]["pid"])), "{listens}: {row:#}");
        let (server, client) = if vm == "vms" { (&guest, &switch) } else { (&switch, &guest) };
        assert_eq!(listener["owner"]["pid"].to_string(), *server);
        let ends = &row["connections"][0];
        let connected = text(&node, &format!("ss -xp | grep '/{port} '"));
        let (own, peer) = (ends[0]["inode"].to_string(), ends[1]["inode"].to_string());
        assert!(
            connected.contains(&format!("/{port} {own}")) && connected.contains(&peer),
            "{connected}: {row:#}"
        );
        assert_eq!(ends[0]["owner"]["pid"].to_string(), *server);
        assert_eq!(ends[1]["owner"]["pid"].to_string(), *client);
        process(&node, &row["qemu"], &guest);
        process(&node, &row["dataplane"], &switch);
    }
    table(&node);
    metrics(&node);
}

fn process(node: &Node, seen: &Value, pid: &str) {
    assert_eq!(seen["pid"].to_string(), pid);
    let wanted = text(node, &format!("ps -o euid=,egid=,comm= -p {pid} | tr -s ' '"));
    let told = format!("{} {} {}", seen["uid"], seen["gid"], seen["name"].as_str().unwrap());
    assert_eq!(told, wanted.trim());
    let groups = text(node, &format!("sed -n 's/^Groups:[[:space:]]*//p' /proc/{pid}/status"));
    let told: Vec<String> = seen["groups"].as_array().unwrap().iter().map(Value::to_string).collect();
    assert_eq!(told.join(" "), groups);
    let umask = text(node, &format!("sed -n 's/^Umask:[[:space:]]*//p' /proc/{pid}/status"));
    assert_eq!(seen["umask"], umask);
}

fn table(node: &Node) {
    let table = node.accord("check").stdout;
    let lines: Vec<&str> = table.lines().collect();
    // The findings below it are prose, and as long as they are.
    let fits = lines.iter().take(8).all(|line| line.chars().count() <= 100);
    assert!(fits && !table.contains('\u{1b}'), "{table}");
    let words = |line: &str| line.split_whitespace().map(str::to_string).collect::<Vec<_>>().join(" ");
    assert_eq!(words(lines[0]), "VM PORT OVS QEMU CONNECTED VERDICT");
    assert_eq!(words(lines[1]), "vmc vhuc0 server client yes ok");
    assert!(lines[2].trim_start().starts_with("/run/openvswitch/vhuc0 "), "{table}");
    assert!(
        lines[2].contains(&node.owner("/run/openvswitch/vhuc0")) && lines[2].contains("ovs-vswitchd("),
        "{table}"
    );
    assert_eq!(words(lines[3]), "vms vhus0 client server yes ok");
    assert!(
        lines[4].contains(&node.owner("/var/lib/vhost_sockets/vhus0")) && lines[4].contains("qemu-system-"),
        "{table}"
    );
    // A terminal gets colour, unless it says that it has none.
    let script = "script -qec 'vhost-accord check' /dev/null";
    assert!(node.sh(&format!("{script} || test $? = 1")).contains("\u{1b}[32mok"), "no colour on a terminal");
    assert!(!node.sh(&format!("NO_COLOR=1 {script} || test $? = 1")).contains('\u{1b}'));
}

fn metrics(node: &Node) {
    let output = node.accord("check --prometheus");
    let text = output.stdout;
    assert!(text.contains("vhost_accord_endpoints{dataplane=\"ovs-vswitchd\",verdict=\"ok\"} 2\n"), "{text}");
    assert!(text.contains("vhost_accord_check_success 1\n"), "{text}");
    assert!(text.contains("vhost_accord_findings{id=\"port-missing\",level=\"broken\"} 0\n"), "{text}");
    let monitor = |node: &Node| {
        let output = node.accord("check --monitor");
        (output.code, output.stdout)
    };
    let (code, text) = monitor(node);
    let word = if code == 0 { "OK" } else { "WARNING" };
    assert!(code < 2 && text.starts_with(&format!("VHOST-ACCORD {word} - 0 broken, ")), "{code}: {text}");
    assert!(text.lines().next().unwrap().ends_with(" endpoints=2"), "{text}");
    node.sh("ovs-vsctl del-port vhus0");
    let (code, text) = monitor(node);
    assert!(code == 2 && text.starts_with("VHOST-ACCORD CRITICAL - 1 broken, "), "{code}: {text}");
    assert!(text.contains("\nport-missing: "), "{text}");
    let output = node.accord("check --prometheus");
    assert_eq!(output.code, 2);
    assert!(
        output.stdout.contains("vhost_accord_findings{id=\"port-missing\",level=\"broken\"} 1\n"),
        "{output}"
    );
    assert!(
        output
            .stdout
            .contains("vhost_accord_endpoints{dataplane=\"ovs-vswitchd\",verdict=\"port-missing\"} 1\n"),
        "{output}"
    );
    node.sh("echo nonsense > /etc/vhost-accord/vhost-accord.conf");
    let output = node.accord("check --prometheus");
    assert_eq!(
        (output.code, output.stdout.contains("vhost_accord_check_success 0\n")),
        (1, true),
        "{output}"
    );
    let (code, text) = monitor(node);
    assert!(code == 3 && text.starts_with("VHOST-ACCORD UNKNOWN - /etc/vhost-accord"), "{code}: {text}");
}

/// What is broken, how, which finding it is.
pub const BREAKAGES: [(&str, &str, &str); 22] = [
    (
        "A02 mode of a live socket",
        "chmod 0755 /run/openvswitch/vhuc0",
        "server-socket-refuses-qemu /run/openvswitch/vhuc0",
    ),
    (
        "A02 mask of a live socket",
        "setfacl -m u:daemon:rw,m::r /run/openvswitch/vhuc0",
        "server-socket-refuses-qemu /run/openvswitch/vhuc0",
    ),
    ("A19 OVS restarted", "systemctl restart SWITCH", "nic-dead-after-restart /run/openvswitch/vhuc0"),
    (
        "A11 type swapped under a client",
        "ovs-vsctl set Interface vhuc0 type=dpdkvhostuserclient options:vhost-server-path=/var/lib/vhost_sockets/vhuc0",
        "both-ends-client /run/openvswitch/vhuc0",
    ),
    (
        "A10 type swapped under a server",
        "ovs-vsctl set Interface vhus0 type=dpdkvhostuser",
        "both-ends-server /var/lib/vhost_sockets/vhus0",
    ),
    ("A12 port deleted", "ovs-vsctl del-port vhus0", "port-missing /var/lib/vhost_sockets/vhus0"),
    (
        "A15 vhost-server-path mistyped",
        "ovs-vsctl set Interface vhus0 options:vhost-server-path=/var/lib/vhost_socket/vhus0",
        "port-path-differs /var/lib/vhost_sockets/vhus0",
    ),
    (
        "A07 socket removed",
        "rm /var/lib/vhost_sockets/vhus0",
        "client-socket-gone /var/lib/vhost_sockets/vhus0",
    ),
    (
        "A01 mask of the directory",
        "setfacl -m u:daemon:rwx,m::rx /var/lib/vhost_sockets",
        "socket-directory-mode /var/lib/vhost_sockets",
    ),
    ("A12 switch stopped", "systemctl stop SWITCH", "dataplane-not-running ovs-vswitchd"),
    (
        "A09 foreign listener",
        "virsh destroy vms; python3 -c 'LISTEN' /var/lib/vhost_sockets/vhus0",
        "client-socket-in-use /var/lib/vhost_sockets/vhus0",
    ),
    (
        "A08 foreign listener in the switch's place",
        "virsh destroy vmc; rm /run/openvswitch/vhuc0; python3 -c 'LISTEN' /run/openvswitch/vhuc0",
        "listener-is-foreign /run/openvswitch/vhuc0",
    ),
    (
        "B04 private memory",
        "virsh destroy vms; sed \"s#<access mode='shared'/>##\" /root/vms.xml > /tmp/x.xml; virsh define /tmp/x.xml",
        "memory-not-shared vms",
    ),
    (
        "A15 leftover port",
        "ovs-vsctl add-port br-int vhulost -- set Interface vhulost type=dpdkvhostuserclient options:vhost-server-path=/var/lib/vhost_sockets/vhulost",
        "port-without-vm port vhulost",
    ),
    (
        "A11 domain in client mode",
        "virsh destroy vms; sed \"s#mode='server'#mode='client'#\" /root/vms.xml > /tmp/x.xml; virsh define /tmp/x.xml",
        "both-ends-client /var/lib/vhost_sockets/vhus0",
    ),
    (
        "A08 the switch's socket removed",
        "virsh destroy vmc; rm /run/openvswitch/vhuc0",
        "server-socket-missing /run/openvswitch/vhuc0",
    ),
    (
        "A08 stale socket",
        "virsh destroy vmc; rm /run/openvswitch/vhuc0; python3 -c 'STALE' /run/openvswitch/vhuc0",
        "server-socket-stale /run/openvswitch/vhuc0",
    ),
    (
        "A01 label of its own",
        "virsh destroy vms; sed \"s#</domain>#<seclabel type='static' model='dac' relabel='yes'><label>+1234:+1234</label></seclabel></domain>#\" /root/vms.xml > /tmp/x.xml; virsh define /tmp/x.xml",
        "socket-directory-refuses-qemu /var/lib/vhost_sockets",
    ),
    (
        "A12 port of another type",
        "ovs-vsctl set Interface vhus0 type=internal",
        "port-of-other-type /var/lib/vhost_sockets/vhus0",
    ),
    ("B12 hugepages re-owned", "chgrp root /dev/hugepages", "hugepages-owner /dev/hugepages"),
    (
        "C06 hook taken away",
        "rm /etc/libvirt/hooks/qemu.d/50-vhost-accord",
        "hook-missing /etc/libvirt/hooks/qemu.d/50-vhost-accord",
    ),
    (
        "C03 db.sock open to all",
        "chmod 0777 /run/openvswitch/db.sock",
        "qemu-reaches-control-socket /run/openvswitch/db.sock",
    ),
];

pub const LISTEN: &str = "import socket,os,sys,time; s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); os.chmod(sys.argv[1],0o777); s.listen(); os.fork() and os._exit(0); os.setsid(); os.closerange(0,3); time.sleep(300)";
pub const STALE: &str = "import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])";

fn every_breakage_is_named_and_fixed(kind: &'static str) {
    let node = agreed(kind);
    for (what, script, expected) in BREAKAGES {
        as_it_was(&node);
        let script = script.replace("SWITCH", node.switch());
        node.sh(&script.replace("LISTEN", LISTEN).replace("STALE", STALE));
        let level = if expected.starts_with("port-without-vm") { 1 } else { 2 };
        let named = (level, vec![expected.to_string()]);
        assert_eq!(settled(|| accused(&node), |seen| *seen == named), named, "{what} on {kind}");
        fix(&node, what);
        for vm in ["vmc", "vms"] {
            if node.try_sh(&format!("virsh domstate {vm} | grep -q running")).code != 0 {
                let started = node.try_sh(&format!("timeout 30 virsh start {vm}"));
                assert_eq!(started.code, 0, "{vm} after fixing '{what}' on {kind}: {started}");
            }
        }
        let fine = |json: &Value| rows(json).iter().all(|row| row["verdict"] == "ok");
        let json = settled(|| json(&node), fine);
        assert!(fine(&json), "{what}: {json:#}");
        node.agrees(&format!("after fixing '{what}'"));
    }
}

/// What is accused, and the exit code.
pub fn accused(node: &Node) -> (i32, Vec<String>) {
    let (code, mut findings) = node.check();
    findings.retain(|line| !line.starts_with("group-not-the-contract"));
    (code, findings)
}

/// What is seen once it is as wanted, or after the time that QEMU and DPDK may take on a busy machine to notice.
pub fn settled<T>(look: impl Fn() -> T, is_wanted: impl Fn(&T) -> bool) -> T {
    let end = Instant::now() + Duration::from_secs(40);
    loop {
        let seen = look();
        if is_wanted(&seen) || Instant::now() > end {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Both VMs as they were defined first, running.
pub fn as_it_was(node: &Node) {
    node.sh(
        "for vm in vmc vms; do virsh destroy $vm; virsh define /root/$vm.xml; done >/dev/null 2>&1; \
         ovs-vsctl set Interface vhuc0 type=dpdkvhostuser -- remove Interface vhuc0 options vhost-server-path",
    );
    node.wait_for("the switch's socket", "test -S /run/openvswitch/vhuc0");
    node.apply("");
    node.start("vmc", true);
    node.start("vms", true);
}

/// Follows the printed commands to the letter.
pub fn fix(node: &Node, what: &str) {
    for _ in 0..4 {
        let json = json(node);
        let findings = json["findings"].as_array().unwrap();
        let Some(finding) = findings.iter().find(|finding| finding["id"] != "group-not-the-contract") else {
            return;
        };
        let command = finding["fix"].as_str().unwrap();
        let output = node.try_sh(&format!("timeout 60 sh -c '{}'", command.replace('\'', "'\\''")));
        assert!(output.code == 0 || output.code == 2, "{what}: {command}: {output}");
        node.wait_for("the switch", "ovs-vsctl --timeout=5 show || ! systemctl is-active ovs-vswitchd");
    }
}
