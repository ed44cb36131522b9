// SPDX-License-Identifier: Apache-2.0
//! VMs and ports from one port type to the other, at rest: a node with three VMs, what the table says and what happens,
//! and back. Frames are counted by flows: OVS 3.1 has no statistics of `dpdkvhostuser` ports.

use serde_json::Value;

use super::steps::BOTH;
use super::support::{Node, Output, on_nodes};

mod by_kind {
    use super::*;

    on_nodes!(bookworm = "bookworm": a_node_is_converted_and_goes_back);
    on_nodes!(trixie = "trixie": a_node_is_converted_and_goes_back);
    on_nodes!(rhel_3_6 = "rhel-3.6": a_node_is_converted_and_goes_back);
}

mod once {
    use super::*;

    on_nodes!(bookworm = "bookworm":
        every_refusal_is_named
        a_definition_follows_what_runs
        without_switch_or_libvirt_a_line_says_so
    );
    on_nodes!(rhel_3_6 = "rhel-3.6": every_refusal_is_named a_definition_follows_what_runs);
}

/// Where SeaBIOS clears memory when it starts: what is written there is gone after any reboot.
const CANARY: u32 = 0x4f0;

/// A third VM, off, with a port of its own that has settings; and a VM whose guest sends for ever.
fn three(node: &Node) {
    node.sh(
        "ovs-vsctl add-port br-int vhuc1 tag=7 -- set Interface vhuc1 type=dpdkvhostuser external_ids:note=mine \
         ingress_policing_rate=1000 -- set Interface vhus0 external_ids:iface-id=x; \
         dump() { virsh dumpxml --inactive --security-info $1; }; \
         dump vmc | sed 's#<name>vmc#<name>vmd#; s#<uuid>.*##; s#vhuc0#vhuc1#; s#:0c:01#:0c:02#' > /tmp/vmd.xml; \
         dump vms | sed \"s#<boot dev='network'/>#<boot dev='network'/><bios rebootTimeout='0'/>#\" > /tmp/vms.xml; \
         virsh define /tmp/vmd.xml && virsh define /tmp/vms.xml",
    );
}

/// All that going back has to give back: definitions and rows.
pub(super) fn holdings(node: &Node) -> String {
    node.sh(
        "for vm in vmc vmd vms; do virsh dumpxml --inactive --security-info $vm; done; \
         ovs-vsctl --columns=name,type,options,external_ids,ofport,ofport_request,ingress_policing_rate list Interface; \
         ovs-vsctl --columns=name,tag,qos,external_ids list Port",
    )
}

pub(super) fn convert(node: &Node, arguments: &str, code: i32) -> Output {
    let output = node.accord(&format!("convert {arguments}"));
    assert_eq!(output.code, code, "convert {arguments} on {}: {output}", node.kind);
    output
}

/// What the list says of a VM: its verdict, and why.
pub(super) fn verdict(node: &Node, vm: &str) -> (String, String) {
    let json: Value = serde_json::from_str(&convert(node, "--json", 0).stdout).unwrap();
    let rows = json["cards"].as_array().unwrap();
    let row = rows.iter().find(|row| row["vm"] == vm).unwrap_or_else(|| panic!("{vm}: {json}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    (text(&row["verdict"]), text(&row["blocked"]))
}

fn count_frames(node: &Node) {
    node.sh("for port in vhuc0 vhuc1 vhus0; do \
         ovs-ofctl add-flow br-int \"in_port=$(ovs-vsctl get Interface $port ofport),actions=NORMAL\"; done");
}

/// Frames of the guest that came in at a port since its flow was made.
fn frames(node: &Node, port: &str) -> u32 {
    let script = format!(
        "ovs-ofctl dump-flows br-int in_port=$(ovs-vsctl get Interface {port} ofport) | sed -n 's/.*n_packets=\\([0-9]*\\).*/\\1/p'"
    );
    node.sh(&script).trim().parse().unwrap()
}

fn more_frames(node: &Node, port: &str, than: u32) {
    let script = format!(
        "test $(ovs-ofctl dump-flows br-int in_port=$(ovs-vsctl get Interface {port} ofport) | \
         sed -n 's/.*n_packets=\\([0-9]*\\).*/\\1/p') -gt {than}"
    );
    node.wait_for(&format!("a frame at {port}"), &script);
}

/// Writes into the guest's memory where a reboot would clear it.
pub(super) fn mark(node: &Node, vm: &str) {
    node.sh(&format!(
        "pid=$(pgrep -f guest={vm}, | head -1); at=$(grep -m1 hugepages /proc/$pid/maps | cut -d- -f1); \
         python3 -c \"f=open('/proc/$pid/mem','r+b',buffering=0); f.seek(0x$at+{CANARY}); f.write(b'ACCORD!!')\""
    ));
    assert!(is_marked(node, vm), "the mark was not written");
}

pub(super) fn is_marked(node: &Node, vm: &str) -> bool {
    let told = node.sh(&format!("virsh qemu-monitor-command {vm} --hmp 'xp /8xb {CANARY}'"));
    told.contains("0x41 0x43 0x43 0x4f 0x52 0x44 0x21 0x21")
}

/// The very connection between switch and QEMU.
pub(super) fn connection(node: &Node, vm: &str) -> Value {
    let json: Value = serde_json::from_str(&node.accord("check --json").stdout).unwrap();
    let rows = json["endpoints"].as_array().unwrap();
    let row = rows.iter().find(|row| row["vm"] == vm).unwrap();
    assert_eq!(row["connected"], true, "{row}");
    row["connections"].clone()
}

pub(super) fn state(node: &Node, vm: &str) -> String {
    node.sh(&format!("virsh domstate {vm}")).trim().to_string()
}

pub(super) fn prepared(kind: &'static str) -> Node {
    let node = Node::up(kind);
    node.configure(BOTH);
    three(&node);
    node.apply("--restart");
    node
}

fn a_node_is_converted_and_goes_back(kind: &'static str) {
    let node = Node::up(kind);
    node.configure(BOTH);
    three(&node);
    let (stock, held) = (node.snapshot(), holdings(&node));
    node.apply("--restart");
    node.start("vms", true);
    count_frames(&node);
    let verdicts = ["vmc", "vmd", "vms"].map(|vm| verdict(&node, vm).0);
    assert_eq!(verdicts, ["ready", "ready", "done"]);

    convert(&node, "vmd", 0);
    node.agrees("after the VM that is off was turned");
    assert_eq!(node.sh("ovs-vsctl get Port vhuc1 tag; ovs-vsctl get Interface vhuc1 external_ids:note ingress_policing_rate"), "7\nmine\n1000\n");
    node.start("vmc", true);
    node.sh("timeout 30 virsh start vmd");
    node.agrees("with VMs of both types running");
    node.sh("virsh destroy vmd");

    let said = convert(&node, "", 0).stdout;
    assert!(said.contains("VM vmc (running), 52:54:00:00:0c:01: pause\n"), "{said}");
    assert!(said.contains("pauses the VM while its"), "{said}");
    assert!(convert(&node, "vmc", 1).stdout.contains("VM vmc: left: the VM runs on its port"));
    assert!(convert(&node, "vmc --dry-run", 0).stdout.contains("+ port vhuc0  dpdkvhostuserclient"));
    assert_eq!(verdict(&node, "vmc").0, "pause", "nothing was to be changed");

    more_frames(&node, "vhuc0", 0);
    mark(&node, "vmc");
    let (third, of_third) = (connection(&node, "vms"), frames(&node, "vhus0"));
    let before = frames(&node, "vhuc0");
    let said = convert(&node, "--pause vmc", 0);
    assert!(said.stdout.contains("paused for"), "{said}");
    assert!(is_marked(&node, "vmc"), "the guest was started anew");
    more_frames(&node, "vhuc0", before);
    assert_eq!(connection(&node, "vms"), third, "the VM that was not named lost its connection");
    more_frames(&node, "vhus0", of_third);
    node.agrees("after the running VM was turned");
    assert!(convert(&node, "--all", 0).stdout.contains("3 nothing."));

    convert(&node, "--all --to dpdkvhostuser", 1);
    assert_eq!(node.sh("ovs-vsctl get Interface vhuc1 type"), "dpdkvhostuser\n");
    let way_back = convert(&node, "--all --to dpdkvhostuser --pause", 0);
    assert!(way_back.stdout.contains("2 converted, 1 nothing."), "{way_back}");
    node.agrees("after the way back");
    let kept = node.sh("grep -c '\"kind\": \"conversion\"' /var/lib/vhost-accord/journal.json");
    assert_eq!(kept, "1\n", "of what is as it was nothing is kept");

    convert(&node, "vmd", 0);
    let waits = node.accord("revert");
    assert!(waits.code == 1 && waits.stdout.contains("in use: VM vms runs (shut it off"), "{waits}");
    assert!(waits.stdout.contains("pending restart: systemctl restart libvirtd.service"), "{waits}");
    node.sh(
        "virsh destroy vmc; virsh destroy vms; rm -f /var/lib/vhost_sockets/*; systemctl restart libvirtd",
    );
    let output = node.accord("revert --restart");
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(holdings(&node), held);
    node.same_as(&stock, "after revert");
}

fn every_refusal_is_named(kind: &'static str) {
    let node = Node::up(kind);
    node.configure("modes = dpdkvhostuserclient\\n");
    three(&node);
    let refused = |arguments: &str, code: i32, why: &str| {
        let output = convert(&node, arguments, code);
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(said.contains(why), "convert {arguments}: {output}");
    };
    refused("vmd", 1, "run 'vhost-accord apply' first");
    refused("--to dpdkvhostuser vmd", 1, "modes = dpdkvhostuserclient dpdkvhostuser");
    node.configure(BOTH);
    node.apply("--restart");
    refused("nosuch", 1, "no VM 'nosuch'");
    let unprivileged = node.try_sh("setpriv --reuid 65534 --clear-groups vhost-accord convert");
    assert!(unprivileged.code == 1 && unprivileged.stderr.contains("must run as root"), "{unprivileged}");

    // What libvirt cannot save runs on.
    let shmem = "<shmem name='s'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>";
    node.sh(&format!(
        "virsh dumpxml --inactive vmc | sed \"s#<memballoon#{shmem}<memballoon#\" > /tmp/s.xml; virsh define /tmp/s.xml"
    ));
    node.start("vmc", true);
    let of_switch = connection(&node, "vmc");
    refused("--pause vmc", 2, "Migration is disabled when using");
    assert_eq!((state(&node, "vmc").as_str(), connection(&node, "vmc")), ("running", of_switch));
    node.agrees("after a VM that cannot be saved");
    node.sh("virsh destroy vmc");

    // Room for its memory.
    node.sh("mount -t tmpfs -o size=16m none /var/lib/libvirt/qemu/save");
    node.start("vmc", true);
    refused("--pause vmc", 2, "MiB free, but the VM has 48 MiB of memory");
    node.sh("umount /var/lib/libvirt/qemu/save; virsh destroy vmc");

    node.sh("ovs-vsctl set Interface vhuc1 external_ids:vm-uuid=11111111-2222-4333-8444-555555555555");
    refused("vmd", 1, "port vhuc1 is managed by nova");
    node.sh("ovs-vsctl remove Interface vhuc1 external_ids vm-uuid");

    node.sh("sed 's#<name>vmd#<name>clone#; s#<uuid>.*##; s#:0c:02#:0c:03#' /tmp/vmd.xml > /tmp/c.xml; virsh define /tmp/c.xml");
    refused("vmd clone", 1, "port vhuc1 is in the definition of VM clone as well");
    node.sh("virsh undefine clone");

    node.sh("virsh create /tmp/c.xml");
    assert!(verdict(&node, "clone").1.contains("in no definition"));
    refused("vmd", 1, "port vhuc1 is in use by VM clone");
    node.sh("virsh destroy clone");

    node.sh("ovs-vsctl del-port vhuc0");
    refused("vmc", 1, "OVS has no port vhuc0");
    node.sh("kill -STOP $(pgrep -o ovsdb-server)");
    refused("vmd", 1, "OVSDB does not answer");
    node.sh("kill -CONT $(pgrep -o ovsdb-server)");
    node.sh("systemctl stop libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket");
    refused("vmd", 2, "virsh");
    node.sh("systemctl start libvirtd.socket libvirtd.service");
    convert(&node, "vmd", 0);
}

/// As after a live migration that was turned on its way: the VM runs so, and its definition came over as it was.
fn a_definition_follows_what_runs(kind: &'static str) {
    let node = prepared(kind);
    node.sh("virsh dumpxml --inactive --security-info vmc > /tmp/old.xml");
    convert(&node, "vmc", 0);
    node.sh("timeout 30 virsh start vmc && virsh define /tmp/old.xml");
    let (code, mut findings) = node.check();
    findings.retain(|line| !line.starts_with("group-not-the-contract"));
    assert_eq!((code, findings), (1, vec!["next-start-fails VM vmc".to_string()]));
    let of_switch = connection(&node, "vmc");
    assert_eq!(verdict(&node, "vmc").0, "definition-only");
    convert(&node, "vmc", 0);
    assert_eq!(connection(&node, "vmc"), of_switch, "it was not to be paused");
    node.agrees("after the definition followed");
    // Memory that is saved goes over as well.
    node.sh("virsh destroy vmc; virsh start vmc; virsh managedsave vmc");
    convert(&node, "--to dpdkvhostuser vmc", 0);
    node.sh("timeout 30 virsh start vmc");
    node.agrees("after a saved VM was turned");

    // What someone else changed since is not lost by going back.
    node.sh("virsh destroy vmc; rm -f /var/lib/vhost_sockets/*");
    convert(&node, "vmc", 0);
    node.sh("virsh dumpxml --inactive --security-info vmc | sed 's#<vcpu.*#<vcpu>2</vcpu>#' > /tmp/e.xml; virsh define /tmp/e.xml");
    let output = node.accord("revert");
    assert!(output.stdout.contains("only its network cards were restored"), "{output}");
    let now = node.sh("virsh dumpxml --inactive vmc");
    assert!(
        now.contains(">2</vcpu>") && now.contains("path='/run/openvswitch/vhuc0' mode='client'"),
        "{now}"
    );
}

fn without_switch_or_libvirt_a_line_says_so(kind: &'static str) {
    let node = Node::up_with(kind, &["--no-setup"]);
    assert_eq!(convert(&node, "", 0).stdout, "No VM has a vhost-user network card.\n");
    let says = |arguments: &str, why: &str| {
        let output = convert(&node, arguments, 1);
        assert!(output.stdout.is_empty() && output.stderr.lines().count() == 1, "{output}");
        assert!(output.stderr.contains(why), "{output}");
    };
    node.sh("rm /usr/lib/systemd/system/ovs-vswitchd.service; systemctl daemon-reload");
    says("", "Open vSwitch is not installed on this node");
    says("vmc", "Open vSwitch is not installed on this node");
    node.sh("systemctl stop libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd.service; \
             rm -f /usr/lib/systemd/system/libvirtd.service /usr/sbin/libvirtd; systemctl daemon-reload");
    says("--all", "libvirt is not installed on this node");
}
