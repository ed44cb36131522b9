// SPDX-License-Identifier: Apache-2.0
//! A second OVS-DPDK, with a database, a run directory, a network and a unit of its own, as in a container: the configuration has
//! sections for it. On the node of `foreign`.

use super::foreign::starts;
use super::support::Node;

/// Both types of its ports, in a section each: its database, its run directory and its unit are its own.
const SECTIONS: &str = "manage = accounts sockets hugepages dataplane hook\\n\
    [dataplane ovs2]\\ndriver = ovs\\nunit = ovs2.service\\nsockets = /run/ovs2/vhx*\\n\
    [dataplane ovs2-client]\\ndriver = ovs\\nunit = ovs2.service\\nsockets = /run/ovs2-vms\\nmade-by = qemu\\n";

const VSCTL: &str = "ovs-vsctl --db=unix:/run/ovs2/db.sock";

/// As it would be on a node that knows of no section: neither VM starts. With the sections both do, what is wrong with them is
/// named and mended in that switch, and all goes back.
pub fn a_second_switch_has_sections(node: &Node) {
    node.sh("for vm in fpc fblk ffs fac; do virsh -q destroy $vm; done; virsh -q define /root/fovs.xml");
    node.sh("setfacl -b /run/ovs2/vhx0; chmod 0755 /run/ovs2/vhx0");
    assert!([0, 1].contains(&node.accord("revert").code));
    node.sh("rm -r /etc/vhost-accord");
    node.sh(&format!(
        "{VSCTL} add-port br2 vhy0 -- set Interface vhy0 type=dpdkvhostuserclient options:vhost-server-path=/run/ovs2-vms/vhy0
        for new in 'fovc /run/ovs2-vms/vhy0 server' 'fov9 /run/ovs2/vhx9 client'; do
            set -- $new
            sed -e \"s/fovs/$1/; s,/run/ovs2/vhx0,$2,; s/mode='client'/mode='$3'/\" /root/fovs.xml >/root/$1.xml
            virsh -q define /root/$1.xml
        done"
    ));
    let told = node.refuses("fovs");
    assert!(told.contains("Permission denied"), "{told}");
    node.refuses("fovc");
    let plan = node.accord("plan");
    let proposed =
        "    [dataplane ovs2]\n    driver = ovs\n    unit = ovs2.service\n    sockets = /run/ovs2/vhx*\n";
    assert!(plan.stdout.contains(proposed), "{plan}");
    let stock = node.snapshot_with(&["/run/ovs2", "/run/ovs2-vms"]);
    node.configure(SECTIONS);
    node.apply("");
    for _ in 0..2 {
        starts(node, "fovs");
        starts(node, "fovc");
        let row = connected(node, "fovs");
        assert_eq!(
            (&row["section"], &row["backend"]["unit"]),
            (&"ovs2".into(), &"ovs2.service".into()),
            "{row}"
        );
        let port = |row: &serde_json::Value| (row["port"]["name"].clone(), row["port"]["type"].clone());
        assert_eq!(port(&row), ("vhx0".into(), "dpdkvhostuser".into()), "{row}");
        // Whoever is connected to QEMU's socket is in another network namespace: the kernel does not tell who.
        let row = row_of(node, "fovc");
        assert_eq!(
            (&row["section"], port(&row)),
            (&"ovs2-client".into(), ("vhy0".into(), "dpdkvhostuserclient".into())),
            "{row}"
        );
        node.sh("virsh -q destroy fovs; virsh -q destroy fovc; systemctl restart ovs2");
    }
    what_is_wrong_is_named(node);
    each_command_names_it(node);
    assert!([0, 1].contains(&node.accord("revert").code));
    node.sh("rm -r /etc/vhost-accord");
    assert!(node.refuses("fovs").contains("Permission denied"));
    node.refuses("fovc");
    let now = node.snapshot_with(&["/run/ovs2", "/run/ovs2-vms"]);
    let ours = |path: &&String| path.contains("ovs2") || path.contains("vhost-accord");
    let own = |path: &&String| {
        [".ctl", ".pid", ".log", "conf.db", "journal.json"].iter().any(|part| path.contains(part))
    };
    for path in stock.keys().chain(now.keys()).filter(ours).filter(|path| !own(path)) {
        assert_eq!(stock.get(path), now.get(path), "{path}");
    }
}

fn row_of(node: &Node, vm: &str) -> serde_json::Value {
    let json: serde_json::Value = serde_json::from_str(&node.accord("check --json").stdout).unwrap();
    json["endpoints"].as_array().unwrap().iter().find(|row| row["vm"] == vm).unwrap().clone()
}

fn connected(node: &Node, vm: &str) -> serde_json::Value {
    let rows = (0..50).map(|_| row_of(node, vm));
    rows.into_iter()
        .find(|row| row["verdict"] == "ok")
        .unwrap_or_else(|| panic!("{vm}: {}", node.accord("check")))
}

/// What `check` says of the second switch.
fn of_second(node: &Node) -> Vec<String> {
    node.check().1.into_iter().filter(|finding| finding.contains("ovs2")).collect()
}

fn what_is_wrong_is_named(node: &Node) {
    let refused = |vm: &str, says: &str| {
        let told = node.refuses(vm);
        assert!(told.contains(says), "{vm}: {told}");
        let fix = told.rsplit("; fix: ").next().unwrap().trim().to_string();
        assert!(fix.starts_with(VSCTL), "{vm}: {fix}");
        node.sh(fix.split(" (also: ").next().unwrap());
    };
    refused("fov9", "port-missing: /run/ovs2/vhx9: OVSDB of [dataplane ovs2] has no port for it");
    node.apply("");
    starts(node, "fov9");
    node.sh(&format!("virsh -q destroy fov9; virsh -q undefine fov9; {VSCTL} del-port vhx9"));
    node.sh(&format!("{VSCTL} set Interface vhy0 type=dpdkvhostuser"));
    assert_eq!(of_second(node), ["both-ends-server /run/ovs2-vms/vhy0"]);
    refused("fovc", "port vhy0 of [dataplane ovs2-client] is a dpdkvhostuser at /run/ovs2/vhy0");
    starts(node, "fovc");
    node.sh("virsh -q destroy fovc; chmod 0777 /run/ovs2/db.sock");
    assert_eq!(of_second(node), ["qemu-reaches-control-socket /run/ovs2/db.sock"]);
    node.sh("chmod 0750 /run/ovs2/db.sock");
}

fn each_command_names_it(node: &Node) {
    node.sh("virsh dumpxml fovc >/root/fovc.xml; virsh dumpxml vmc >/root/vmc.xml");
    for (file, name) in [("fovc", "ovs2-client"), ("vmc", "ovs-vswitchd")] {
        let inspected = node.accord(&format!("inspect /root/{file}.xml --json"));
        let json: serde_json::Value = serde_json::from_str(&inspected.stdout).unwrap();
        assert_eq!(json["dataplanes"], serde_json::json!([name]), "{inspected}");
    }
    let line = "qemu-system-x86_64: -chardev socket,id=charnet0,path=/run/ovs2/vhx0: Failed to connect to '/run/ovs2/vhx0': Permission denied";
    let explained = node.accord(&format!("explain - <<'X'\n{line}\nX"));
    assert!(explained.stdout.contains("\n    dataplane: ovs2\n"), "{explained}");
    let metrics =
        node.sh("vhost-accord check --prometheus=/root/m.prom >/dev/null || true; cat /root/m.prom");
    assert!(
        metrics.contains("vhost_accord_endpoints{dataplane=\"ovs2\",verdict=\"ready\"} 1\n"),
        "{metrics}"
    );
}
