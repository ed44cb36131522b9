// SPDX-License-Identifier: Apache-2.0
//! What runs and says nothing, what does not run, and what is another's: none of it is accused, none of it is woken, and
//! what is truly dead is found.

use super::steps::BOTH;
use super::support::{Node, on_nodes};

on_nodes!(bookworm = "bookworm":
    what_says_nothing_and_what_is_anothers_is_not_accused
    a_stopped_database_is_not_woken
);
on_nodes!(later bookworm = "bookworm": what_is_dead_is_found);

const HOOK: &str = "/etc/libvirt/hooks/qemu.d/50-vhost-accord";

fn agreed(kind: &'static str) -> Node {
    let node = Node::up(kind);
    node.configure(BOTH);
    node.apply("--restart");
    node.sh("for vm in vmc vms; do virsh dumpxml --inactive $vm > /root/$vm.xml; done");
    node
}

fn what_says_nothing_and_what_is_anothers_is_not_accused(kind: &'static str) {
    let node = agreed(kind);
    node.start("vmc", true);
    node.start("vms", true);
    node.sh("kill -STOP $(cat /run/openvswitch/ovsdb-server.pid)");
    let silent = node.check();
    node.sh("kill -CONT $(cat /run/openvswitch/ovsdb-server.pid)");
    assert_eq!(silent, (1, vec!["switch-unknown Open vSwitch".to_string()]));
    a_vms_broken_status_file(&node);
    a_second_database(&node);
    another_dataplane(&node);
    memory_of_a_memfd(&node);
}

/// The running VM's own socket and ports stay its own.
fn a_vms_broken_status_file(node: &Node) {
    node.sh(
        "cp -p /run/libvirt/qemu/vms.xml /root/status.xml; echo '<domstatus' > /run/libvirt/qemu/vms.xml",
    );
    let seen = node.check();
    node.sh("cp -p /root/status.xml /run/libvirt/qemu/vms.xml");
    assert_eq!(seen, (1, vec!["domain-unreadable /run/libvirt/qemu/vms.xml".to_string()]));
}

/// As OVN has one: another user, another socket, the same name.
fn a_second_database(node: &Node) {
    node.sh("useradd -r ovnx; install -d -o ovnx /run/ovnx; cd /run/ovnx; \
         ovsdb-tool create ovnx.db /usr/share/openvswitch/vswitch.ovsschema; chown -R ovnx .; \
         systemd-run -q --unit=ovnx --uid=ovnx ovsdb-server --remote=punix:/run/ovnx/db.sock --no-chdir \
         --unixctl=/run/ovnx/ctl /run/ovnx/ovnx.db");
    node.wait_for("the other database", "test -S /run/ovnx/db.sock");
    node.agrees("beside another ovsdb-server");
    node.sh("systemctl stop ovnx");
    // By its unit, where there is no pid file.
    node.sh("mkdir /root/pids; mv /run/openvswitch/*.pid /root/pids");
    node.agrees("without pid files");
    let table = node.accord("check").stdout;
    node.sh("mv /root/pids/*.pid /run/openvswitch");
    assert!(table.contains("ovs-vswitchd("), "{table}");
}

/// It is where the accord has nothing, and OVS-DPDK is beside it.
fn another_dataplane(node: &Node) {
    node.sh("install -d -m 0777 /run/otherdp; virsh destroy vms; \
         sed 's#/var/lib/vhost_sockets/vhus0#/run/otherdp/v0#' /root/vms.xml > /root/other.xml");
    for mode in ["server", "client"] {
        node.sh(&format!("sed \"s#mode='server'#mode='{mode}'#\" /root/other.xml | virsh define /dev/stdin"));
        if mode == "client" {
            node.sh(
                "systemd-run -q --unit=otherdp socat UNIX-LISTEN:/run/otherdp/v0,mode=0777,fork /dev/null",
            );
            node.wait_for("the other dataplane", "test -S /run/otherdp/v0");
        }
        let hook = node.try_sh(&format!("virsh dumpxml --inactive vms | {HOOK} vms start begin -"));
        assert_eq!((hook.code, hook.stderr.as_str()), (0, ""), "mode={mode}: {hook}");
        // OVS's own port has no VM now.
        let (code, findings) = node.check();
        assert_eq!((code, findings), (1, vec!["port-without-vm port vhus0".to_string()]), "mode={mode}");
    }
    node.sh("systemctl stop otherdp; virsh define /root/vms.xml");
    // In the agreed directory no other dataplane is meant: QEMU would wait there for ever.
    node.sh("ovs-vsctl del-port vhus0");
    let refused = node.refuses("vms");
    assert!(refused.contains("port-missing: /var/lib/vhost_sockets/vhus0"), "{refused}");
    node.sh("ovs-vsctl add-port br-int vhus0 -- set Interface vhus0 type=dpdkvhostuserclient \
         options:vhost-server-path=/var/lib/vhost_sockets/vhus0");
}

/// libvirt 9.0 tells QEMU nothing, and QEMU shares it.
fn memory_of_a_memfd(node: &Node) {
    for backing in ["<source type='memfd'/>", "<hugepages/><source type='memfd'/>"] {
        node.sh(&format!(
            "virsh destroy vms 2>/dev/null; tr -d '\\n' < /root/vms.xml | \
             sed \"s#<memoryBacking>.*</memoryBacking>#<memoryBacking>{backing}</memoryBacking>#\" | \
             virsh define /dev/stdin"
        ));
        node.agrees(&format!("with {backing}"));
        node.start("vms", true);
        node.sh("grep -q 'rw-s.*memfd:' /proc/$(cat /run/libvirt/qemu/vms.pid)/maps");
        node.agrees(&format!("with {backing}, running"));
    }
}

/// systemd has the socket, as with OVS 4.0: a connection would start a server. Nobody makes one.
fn a_stopped_database_is_not_woken(kind: &'static str) {
    let node = agreed(kind);
    node.sh("vhost-accord check --json > /root/this-node");
    node.sh(&format!("systemctl stop {} ovsdb-server ovs-vswitchd", node.switch()));
    node.sh("cd /run/systemd/system; \
         printf '[Socket]\\nListenStream=/run/openvswitch/db.sock\\nAccept=yes\\n' > woken.socket; \
         printf '[Service]\\nExecStart=/bin/sh -c \"echo woken >> /run/woken\"\\n' > woken@.service; \
         systemctl daemon-reload; mkdir -p /run/openvswitch; systemctl start woken.socket");
    let woken = || node.try_sh("sleep 1; cat /run/woken").stdout;
    // All that look at the switch, and most of them would ask it.
    for command in [
        "check",
        "check --json",
        "check --prometheus",
        "check --against /root/this-node",
        "plan",
        "config",
        "apply",
        "convert",
        "convert --dry-run vmc",
        "convert vmc",
        "convert --all",
        "inspect /root/vms.xml",
        "explain",
        "probe",
        "service boot",
        "service dataplane-pre",
        "service vswitchd-pre",
        "service vswitchd-post",
    ] {
        let output = node.accord(command);
        assert_eq!(woken(), "", "{command}: {output}");
    }
    node.configure(&format!("{BOTH}incoming = dpdkvhostuserclient\\n"));
    for (operation, vm) in
        [("prepare", "vms"), ("start", "vms"), ("migrate", "vmc"), ("restore", "vmc"), ("release", "vms")]
    {
        let when = if operation == "release" { "end" } else { "begin" };
        let output = node.try_sh(&format!("{HOOK} {vm} {operation} {when} - < /root/{vm}.xml"));
        assert_eq!(woken(), "", "{operation}: {output}");
    }
    let output = node.accord("revert");
    assert_eq!(woken(), "", "revert: {output}");
    // Whoever does connect is seen.
    node.sh("socat -u OPEN:/dev/null UNIX-CONNECT:/run/openvswitch/db.sock");
    node.wait_for("the recorder", "grep -q woken /run/woken");
}

fn what_is_dead_is_found(kind: &'static str) {
    let node = agreed(kind);
    node.sh("sed -i 's#<devices>#<features><acpi/></features><devices>#' /root/vms.xml; virsh define /root/vms.xml");
    node.start("vms", true);
    node.agrees("at first");
    a_plugged_card_without_a_port(&node);
    a_stopped_switch(&node);
    a_port_that_could_not_be_configured(&node);
}

fn a_plugged_card_without_a_port(node: &Node) {
    node.sh(
        "printf \"<interface type='vhostuser'><mac address='52:54:00:00:05:77'/><source type='unix' \
         path='/var/lib/vhost_sockets/vhus9' mode='server'/><model type='virtio'/></interface>\" > /root/card.xml; \
         systemd-run -q --unit=attach virsh attach-device vms /root/card.xml --live",
    );
    node.wait_for("QEMU's socket", "test -S /var/lib/vhost_sockets/vhus9");
    let (code, findings) = node.check();
    let waits = "hot-plug-waits /var/lib/vhost_sockets/vhus9".to_string();
    assert_eq!((code, findings), (2, vec![waits]));
    node.sh(&fix(node, "hot-plug-waits"));
    node.wait_for("the card", "grep -q vhus9 /run/libvirt/qemu/vms.xml");
    node.wait_for("agreement", "vhost-accord check");
}

fn a_stopped_switch(node: &Node) {
    let pid = node.sh("cat /run/openvswitch/ovs-vswitchd.pid").trim().to_string();
    node.wait_for("a switch that is no longer young", &format!("test $(ps -o etimes= -p {pid}) -gt 31"));
    node.sh(&format!("kill -STOP {pid}"));
    assert_eq!(node.check(), (2, vec![format!("dataplane-hung ovs-vswitchd (pid {pid})")]));
    node.sh(&fix(node, "dataplane-hung"));
    node.agrees("after SIGCONT");
    // It runs, and its main loop takes no questions.
    let listens = "import socket,sys,time; s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); time.sleep(999)";
    let ctl = format!("/run/openvswitch/ovs-vswitchd.{pid}.ctl");
    node.sh(&format!("rm {ctl}; systemd-run -q --unit=deaf python3 -c '{listens}' {ctl}"));
    node.wait_for("the deaf socket", &format!("test -S {ctl}"));
    assert_eq!(node.check(), (2, vec![format!("dataplane-hung ovs-vswitchd (pid {pid})")]));
    node.sh(&fix(node, "dataplane-hung"));
    node.wait_for("agreement", "vhost-accord check");
    node.sh("systemctl stop deaf");
}

/// Without its library DPDK makes no pool of buffers.
fn a_port_that_could_not_be_configured(node: &Node) {
    node.sh(&format!(
        "virsh destroy vms; mkdir /root/so; mv /usr/lib/*/dpdk/pmds-*/librte_mempool_ring.so* /root/so; \
         systemctl restart {}; ovs-vsctl del-port vhus9; virsh start vms",
        node.switch()
    ));
    node.wait_for("the finding", "vhost-accord check | grep -q port-not-in-datapath");
    let (code, findings) = node.check();
    let dead = "port-not-in-datapath /var/lib/vhost_sockets/vhus0".to_string();
    assert_eq!((code, findings), (2, vec![dead]), "{}", node.sh("ovs-appctl dpif/show"));
    node.sh(&format!(
        "virsh destroy vms; mv /root/so/* /usr/lib/*/dpdk/pmds-*/; systemctl restart {}",
        node.switch()
    ));
    node.start("vms", true);
    node.agrees("with the library back");
}

/// The command that is printed under a finding.
fn fix(node: &Node, id: &str) -> String {
    let output = node.accord("check --json");
    let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    let found = json["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == id);
    found.unwrap_or_else(|| panic!("{output}"))["fix"].as_str().unwrap().to_string()
}
