// SPDX-License-Identifier: Apache-2.0
//! The first boot of a node from an image: users have other numbers than in the image, and `/var` is the node's own.

use std::path::Path;

use super::support::{Node, on_nodes};

on_nodes!(later bookworm = "bookworm": numbers_that_differ_from_the_images_are_renewed_at_boot);

fn numbers_that_differ_from_the_images_are_renewed_at_boot(kind: &'static str) {
    let node = Node::up(kind);
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("units/vhost-accord.service");
    node.push(&unit, "/usr/lib/systemd/system/vhost-accord.service");
    node.sh("systemctl daemon-reload; systemctl enable vhost-accord");
    node.apply("--restart");
    renumber_qemu(&node, 971);
    let agreed = "grep -A1 '\"qemu\"' /etc/vhost-accord/agreed.json";
    assert!(node.sh(agreed).contains("\"uid\": 64055,"), "a node that is of no image keeps what was agreed");

    // As `apply --root` leaves it in the image.
    node.sh(
        "printf 'g hugetlbfs 42477\\n' >/usr/lib/sysusers.d/vhost-accord.conf; rm -r /var/lib/vhost-accord",
    );
    renumber_qemu(&node, 972);
    assert!(node.sh(agreed).contains("\"uid\": 972,"));
    assert_eq!(node.owner("/var/lib/vhost_sockets"), "libvirt-qemu:hugetlbfs 2775");
    node.agrees("after the first boot");
    node.start("vmc", false);
    node.start("vms", false);
}

fn renumber_qemu(node: &Node, uid: u32) {
    node.sh(&format!(
        "systemctl stop libvirtd libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket; \
         find / -xdev -user libvirt-qemu -exec chown -h {uid} {{}} +; usermod -u {uid} libvirt-qemu"
    ));
    node.reboot();
}
