// SPDX-License-Identifier: Apache-2.0
//! Sections whose driver finds what they leave out. VPP and SPDK are imitated: what they say and how they create their sockets
//! is by their sources, and a real vhost-user disk is where they would have a port. virtiofsd is the real one.

use std::path::Path;

use super::support::{Node, on_nodes};

on_nodes!(later bookworm = "bookworm": drivers_find_what_a_section_leaves_out virtiofsd_of_a_unit_is_given);
// The one of rust-vmm; in bookworm it is part of QEMU.
on_nodes!(trixie = "trixie": virtiofsd_of_a_unit_is_given);

const SET_UP: &str = "
    groupadd -f -r vpp
    useradd --system --no-create-home spdk
    mkdir -p /etc/vpp /srv/shared
    chmod 0644 /usr/local/lib/vpp_spdk_imitation.py
    for name in vpp spdk; do truncate -s 16M /var/lib/$name.img; done
    chown spdk /var/lib/spdk.img
    printf '%s\\n' 'unix { nodaemon cli-listen /run/vpp/cli.sock gid vpp exec /etc/vpp/ports.cli }' 'socksvr { default }' \
        >/etc/vpp/startup.conf
    echo 'create vhost-user socket /run/vpp-ports/p0 server' >/etc/vpp/ports.cli
    units=/etc/systemd/system
    printf '%s\\n' '[Service]' 'ExecStart=/usr/bin/vpp -c /etc/vpp/startup.conf' >$units/vpp.service
    printf '%s\\n' '#!/bin/sh' 'exec python3 /usr/local/lib/vpp_spdk_imitation.py vpp /var/lib/vpp.img /run/vpp-ports/p0' \
        >/usr/bin/vpp
    install -d -o spdk -g spdk /run/spdk
    printf '%s\\n' '#!/bin/sh' 'exec python3 /usr/local/lib/vpp_spdk_imitation.py spdk /var/lib/spdk.img /run/spdk-ports/VhostBlk0' \
        >/usr/local/bin/vhost
    chmod 0755 /usr/bin/vpp /usr/local/bin/vhost
    printf '%s\\n' '[Service]' User=spdk 'ExecStart=/usr/local/bin/vhost -S /run/spdk-ports -r /run/spdk/rpc.sock' \
        >$units/spdk.service
    mkdir /run/vpp-ports; install -d -o spdk -g spdk /run/spdk-ports
    systemctl daemon-reload; systemctl start vpp spdk";

const DEFINE: &str = "
    define() {
        printf '%s\\n' \"<domain type='qemu'><name>$1</name><memory unit='MiB'>48</memory>\" \
            \"<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>\" \
            \"<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>$2<memballoon model='none'/></devices></domain>\" \
            >/root/$1.xml
        virsh -q define /root/$1.xml
    }
    disk() {
        define $1 \"<disk type='vhostuser' device='disk'><driver name='qemu' type='raw'/><source type='unix' path='$2'/>\
            <target dev='vda' bus='virtio'/></disk>\"
    }";

const SECTIONS: &str = "manage = accounts sockets hugepages dataplane hook\\n[dataplane vpp]\\ndriver = vpp\\n\
    [dataplane disks]\\ndriver = spdk\\nunit = spdk.service\\n";

fn listens(path: &str) -> String {
    format!("ss -xlH src {path} | grep -q .")
}

fn drivers_find_what_a_section_leaves_out(kind: &'static str) {
    let node = Node::up(kind);
    node.push(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/lib/vpp_spdk_imitation.py"),
        "/usr/local/lib/vpp_spdk_imitation.py",
    );
    node.sh(SET_UP);
    node.sh(&format!("{DEFINE}\ndisk vmvpp /run/vpp-ports/p0; disk vmspdk /run/spdk-ports/VhostBlk0"));
    let sockets = ["/run/vpp-ports/p0", "/run/spdk-ports/VhostBlk0"];
    for path in sockets {
        node.wait_for("the disk's socket", &listens(path));
    }
    for vm in ["vmvpp", "vmspdk"] {
        assert!(node.refuses(vm).contains("Permission denied"), "{vm}");
    }
    // A section whose unit is missing is told, and stops nothing.
    node.configure(&format!(
        "{SECTIONS}[dataplane none]\\ndriver = declared\\nunit = none.service\\nsockets = /run/none\\n"
    ));
    let plan = node.accord("plan");
    let told = "[dataplane none] does not count: unit = none.service: there is no such unit";
    assert!(plan.code == 2 && plan.stdout.contains(told) && plan.stdout.contains("/run/vpp-ports"), "{plan}");
    assert!(node.check().1.contains(&"dataplane-unit-missing [dataplane none]".to_string()));
    node.configure(SECTIONS);
    node.apply("");
    assert_eq!(node.owner(sockets[0]), format!("root:{} 0775", node.qemu()));
    assert_eq!(node.owner(sockets[1]), format!("spdk:{} 0775", node.qemu()));
    starts(&node);
    node.agrees("after apply");
    // What VPP itself says of another socket, which QEMU would create.
    node.sh("sed -i 's,/p0$,/p0 /run/vpp-ports/p1,' /usr/bin/vpp && systemctl restart vpp");
    node.wait_for("the disk's socket", &listens(sockets[0]));
    assert_eq!(node.check().1, ["dataplane-port-refused /run/vpp-ports/p1"]);
    node.sh("sed -i 's, /run/vpp-ports/p1,,' /usr/bin/vpp && systemctl restart vpp spdk");
    // UMask=0002: VPP's new socket is QEMU's, and what is its own is as before.
    node.wait_for("the disk's socket", &listens(sockets[0]));
    assert_eq!(node.owner("/run/vpp/cli.sock"), "root:vpp 0775");
    starts(&node);
    node.agrees("after a start of both");
    each_is_named(&node);
    what_is_not_answered_is_told(&node);
    node.sh("usermod -aG vpp libvirt-qemu && virsh -q start vmvpp");
    let (_, findings) = node.check();
    let reached = "qemu-reaches-control-socket /run/vpp/cli.sock".to_string();
    assert!(findings.contains(&reached), "{findings:?}");
    node.sh("virsh -q destroy vmvpp; gpasswd -d libvirt-qemu vpp");
    assert!([0, 1].contains(&node.accord("revert").code));
    assert_eq!(node.owner("/run/vpp-ports"), "root:root 0755");
    for vm in ["vmvpp", "vmspdk"] {
        assert!(node.refuses(vm).contains("Permission denied"), "{vm}");
    }
}

fn starts(node: &Node) {
    for (vm, path) in [("vmvpp", "/run/vpp-ports/p0"), ("vmspdk", "/run/spdk-ports/VhostBlk0")] {
        node.wait_for("the disk's socket", &listens(path));
        node.sh(&format!("timeout 30 virsh start {vm} && virsh destroy {vm}"));
    }
}

/// Silence is advice and accuses nobody; who does not run is not asked.
fn what_is_not_answered_is_told(node: &Node) {
    let unknown = "dataplane-ports-unknown [dataplane disks]";
    for (break_it, mend) in [
        ("systemctl kill -s STOP spdk", "systemctl kill -s CONT spdk"),
        ("mv /run/spdk/rpc.sock /run/spdk/away", "mv /run/spdk/away /run/spdk/rpc.sock"),
    ] {
        node.sh(break_it);
        assert_eq!(node.check(), (1, vec![unknown.to_string()]), "{break_it}");
        node.sh(mend);
        node.agrees("after its answer");
    }
    node.sh("systemctl stop spdk");
    assert!(!node.check().1.contains(&unknown.to_string()));
    node.sh("systemctl start spdk");
    node.wait_for("the disk's socket", &listens("/run/spdk-ports/VhostBlk0"));
}

/// Section and port, as the dataplane names it.
fn each_is_named(node: &Node) {
    let json: serde_json::Value = serde_json::from_str(&node.accord("check --json").stdout).unwrap();
    let rows = json["endpoints"].as_array().unwrap();
    for (vm, section, port) in [("vmvpp", "vpp", "VirtualEthernet0/0/0"), ("vmspdk", "disks", "VhostBlk0")] {
        let row = rows.iter().find(|row| row["vm"] == vm).unwrap();
        assert_eq!((&row["section"], &row["port"]["name"]), (&section.into(), &port.into()), "{row}");
    }
}

const VIRTIOFS: &str = "
    mkdir -p /srv/shared /run/vfs
    binary=/usr/libexec/virtiofsd; source=--shared-dir=/srv/shared
    if ! test -x $binary; then binary=/usr/lib/qemu/virtiofsd; source='-o source=/srv/shared'; fi
    printf '%s\\n' '[Unit]' StartLimitIntervalSec=0 '[Service]' \"ExecStart=$binary --socket-path=/run/vfs/s $source\" \
        Restart=always RestartSec=1 >/etc/systemd/system/vfs.service
    systemctl daemon-reload; systemctl start vfs";

/// systemctl comes back when the socket is given.
const WITH_GROUP: &str = "
    sed -i -e 's,^ExecStart=,&/usr/bin/strace -f -o /root/trace -e trace=/chown -e inject=/chown:delay_enter=100000 ,' \
        -e 's,--socket-path,--socket-group=nogroup &,' /etc/systemd/system/vfs.service
    systemctl daemon-reload; systemctl restart vfs";

/// Alone with its owner each time it is there again, until its unit gives it.
fn virtiofsd_of_a_unit_is_given(kind: &'static str) {
    let node = Node::up(kind);
    node.sh(VIRTIOFS);
    node.sh(&format!(
        "{DEFINE}\ndefine vmfs \"<filesystem type='mount'><driver type='virtiofs'/><source socket='/run/vfs/s'/>\
         <target dir='a'/></filesystem>\""
    ));
    node.wait_for("virtiofsd's socket", &listens("/run/vfs/s"));
    assert!(node.refuses("vmfs").contains("Permission denied"));
    node.configure(
        "manage = accounts sockets hugepages dataplane hook\\n[dataplane shares]\\ndriver = virtiofs\\nunit = vfs.service\\n",
    );
    node.apply("");
    for _ in 0..3 {
        node.wait_for(
            "QEMU's socket",
            &format!("{} && stat -c %G /run/vfs/s | grep -q {}", listens("/run/vfs/s"), node.qemu()),
        );
        node.sh("timeout 30 virsh start vmfs --paused && virsh destroy vmfs");
    }
    // It gives its socket to a group of its own, a little after it listens.
    node.sh(WITH_GROUP);
    node.wait_for("virtiofsd's socket", &listens("/run/vfs/s"));
    assert_eq!(node.owner("/run/vfs/s"), format!("root:{} 0770", node.qemu()));
    node.agrees("with --socket-group");
    node.sh("timeout 30 virsh start vmfs --paused && virsh destroy vmfs");
    assert!([0, 1].contains(&node.accord("revert").code));
    node.sh("systemctl restart vfs");
    node.wait_for("virtiofsd's socket", &listens("/run/vfs/s"));
    assert!(node.refuses("vmfs").contains("Permission denied"));
}
