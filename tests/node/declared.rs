// SPDX-License-Identifier: Apache-2.0
//! A dataplane that only the configuration tells of, beside OVS-DPDK: qemu-storage-daemon with a disk for a VM.

use std::path::Path;

use super::support::{Node, on_nodes};

on_nodes!(later bookworm = "bookworm":
    a_declared_dataplane_and_qemu_agree
    alone_on_its_node_it_is_watched);

/// qemu-storage-daemon as a user of its own: its disk, its control socket, and a VM that has the disk.
const STORAGE: &str = "
    useradd --system --no-create-home storage
    truncate -s 16M /var/lib/storage.img && chown storage /var/lib/storage.img
    install -d -o storage -g storage /run/storage
    printf '%s\\n' '[Service]' User=storage RuntimeDirectory=storage-control \
        'ExecStart=/usr/bin/qemu-storage-daemon --blockdev driver=file,node-name=f,filename=/var/lib/storage.img \
         --export type=vhost-user-blk,id=e,node-name=f,writable=on,addr.type=unix,addr.path=/run/storage/disk \
         --chardev socket,id=c,path=/run/storage-control/qmp,server=on,wait=off --monitor chardev=c' \
        > /etc/systemd/system/storage.service
    systemctl daemon-reload && systemctl start storage
    cat > /root/vmd.xml <<XML
<domain type='qemu'>
  <name>vmd</name>
  <memory unit='MiB'>48</memory>
  <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <disk type='vhostuser' device='disk'>
      <driver name='qemu' type='raw'/>
      <source type='unix' path='/run/storage/disk'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <memballoon model='none'/>
  </devices>
</domain>
XML
    virsh define /root/vmd.xml";

const SECTION: &str = "manage = accounts sockets hugepages dataplane hook\\n\
    [dataplane storage]\\ndriver = declared\\nunit = storage.service\\nsockets = /run/storage\\n\
    control = /run/storage-control/qmp\\n";

const LISTENS: &str = "ss -xlH src /run/storage/disk | grep -q .";

/// Stock it fails; the directory, its drop-in and its tmpfiles line make it work, now and after each start; what is its own
/// stays closed; all goes back.
fn a_declared_dataplane_and_qemu_agree(kind: &'static str) {
    let node = Node::up(kind);
    node.sh(STORAGE);
    node.wait_for("the disk's socket", LISTENS);
    let told = node.refuses("vmd");
    assert!(told.contains("Permission denied"), "{told}");
    node.configure(
        "modes = dpdkvhostuserclient\\n[dataplane storage]\\ndriver = declared\\nunit = storage\\n",
    );
    let wrong = node.accord("plan");
    let expected =
        "vhost-accord.conf:5: unit = storage: expected the name of a service, such as storage.service";
    assert!(wrong.code == 1 && wrong.stderr.contains(expected), "{wrong}");

    node.sh("rm -r /etc/vhost-accord");
    let stock = node.snapshot_with(&["/run/storage"]);
    node.configure(SECTION);
    node.apply("");
    assert_eq!(node.owner("/run/storage"), format!("storage:{} 2750", node.qemu()));
    assert_eq!(node.owner("/run/storage/disk"), format!("storage:{} 0775", node.qemu()));
    starts(&node);
    node.agrees("after apply");
    // Made anew, by a program whose umask gives its group nothing.
    node.sh("systemctl restart storage");
    assert_eq!(node.owner("/run/storage/disk"), format!("storage:{} 0775", node.qemu()));
    starts(&node);
    node.agrees("after a start of the dataplane");
    node.sh("rm -r /run/storage && systemd-tmpfiles --create vhost-accord-storage.conf && systemctl restart storage");
    starts(&node);
    node.agrees("after a boot");

    node.sh("chmod 0777 /run/storage-control/qmp");
    assert_eq!(node.check().1, ["qemu-reaches-control-socket /run/storage-control/qmp"]);
    node.sh("chmod 0755 /run/storage-control/qmp");
    node.sh("chown root:root /run/storage");
    assert!(
        node.check().1.contains(&"socket-directory-owner /run/storage".to_string()),
        "{:?}",
        node.check()
    );
    node.apply("");
    node.agrees("after the directory was taken away");

    assert!([0, 1].contains(&node.accord("revert").code));
    assert_eq!(node.owner("/run/storage/disk"), "storage:storage 0755");
    node.sh("rm -r /etc/vhost-accord");
    let now = node.snapshot_with(&["/run/storage"]);
    let ours = |path: &&String| path.contains("storage") || path.contains("vhost");
    for path in stock.keys().chain(now.keys()).filter(ours) {
        assert!(path.ends_with("/disk") || stock.get(path) == now.get(path), "{path}: {:?}", now.get(path));
    }
    assert!(node.refuses("vmd").contains("Permission denied"));
}

fn starts(node: &Node) {
    node.wait_for("the disk's socket", LISTENS);
    node.sh("timeout 30 virsh start vmd && virsh destroy vmd");
}

/// Another socket, as a program creates it long after its start. It is closed to its group, and listened at a little later.
const LATE: &str = "systemd-run -q -p User=storage -p UMask=0077 python3 -c \
    'import socket, time; s = socket.socket(socket.AF_UNIX); s.bind(\"/run/storage/late\"); time.sleep(0.05); s.listen(); time.sleep(600)'";

/// Without Open vSwitch: all commands work, and the watcher, which its unit brings, gives what comes later.
fn alone_on_its_node_it_is_watched(kind: &'static str) {
    let node = Node::up(kind);
    node.sh("systemctl stop openvswitch-switch; dpkg --purge --force-depends openvswitch-switch openvswitch-switch-dpdk; \
        rm -rf /run/openvswitch /etc/openvswitch; systemctl daemon-reload; virsh undefine vmc; virsh undefine vms");
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("units/vhost-accord-watch.service");
    node.push(&unit, "/usr/lib/systemd/system/vhost-accord-watch.service");
    node.sh(STORAGE);
    node.wait_for("the disk's socket", LISTENS);
    let stock = node.snapshot_with(&["/run/storage"]);
    assert!(node.refuses("vmd").contains("Permission denied"));
    let proposed = "    [dataplane storage]\n    driver = declared\n    unit = storage.service\n    sockets = /run/storage/disk*\n";
    let plan = node.accord("plan");
    assert!(plan.stdout.contains(proposed), "{plan}");
    node.configure(SECTION);
    assert!(!node.accord("plan").stdout.contains("[dataplane"));
    assert_eq!(node.accord("plan").code, 2);
    node.apply("");
    let output = node.accord("check");
    assert!(output.code <= 1 && !output.stdout.contains("openvswitch"), "{output}");
    starts(&node);
    node.sh("systemctl restart storage");
    node.wait_for("the watcher", "systemctl is-active vhost-accord-watch");
    starts(&node);
    assert_eq!(node.accord("watch --settle").code, 0);
    node.sh(LATE);
    let given = format!("stat -c '%U:%G %a' /run/storage/late | grep -qx 'storage:{} 760'", node.qemu());
    node.wait_for("the grant of the new socket", &given);
    // What another user puts there is not the dataplane's.
    node.sh("systemd-run -q python3 -c 'import socket, time; s = socket.socket(socket.AF_UNIX); s.bind(\"/run/storage/other\"); s.listen(); time.sleep(600)'");
    node.wait_for("another's socket", "ss -xlH src /run/storage/other | grep -q .");
    assert_eq!(node.accord("watch --settle").code, 0);
    assert_eq!(node.sh("stat -c %a /run/storage/other").trim(), "755");
    node.sh("rm /run/storage/other /run/storage/late");
    assert!([0, 1].contains(&node.accord("revert").code));
    node.sh("rm -r /etc/vhost-accord");
    assert!(node.refuses("vmd").contains("Permission denied"));
    let now = node.snapshot_with(&["/run/storage"]);
    let ours = |path: &&String| path.contains("storage") || path.contains("vhost");
    for path in stock.keys().chain(now.keys()).filter(ours) {
        assert!(path.ends_with("/disk") || stock.get(path) == now.get(path), "{path}: {:?}", now.get(path));
    }
}
