// SPDX-License-Identifier: Apache-2.0
//! What the logs of a real node say, before and after; and rules about what else has a say on it.

use super::steps::BOTH;
use super::support::Node;

/// The failures that `explain` finds in the usual places: id, what it is about, and how it is now.
fn explained(node: &Node) -> (i32, Vec<(String, String, String)>) {
    let output = node.accord("explain --json");
    let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output}"));
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
    let line = |event: &serde_json::Value| {
        let now = event["now"].as_object().unwrap().keys().next().unwrap().clone();
        (text(&event["id"]), text(&event["subject"]), now)
    };
    (output.code, json["explained"].as_array().unwrap().iter().map(line).collect())
}

fn is_there(found: &[(String, String, String)], id: &str, subject: &str, now: &str) {
    let wanted = (id.to_string(), subject.to_string(), now.to_string());
    assert!(found.contains(&wanted), "{wanted:?} is not in {found:#?}");
}

#[test]
#[ignore = "needs a real node: make test"]
fn the_usual_places_name_the_cause_and_say_when_it_is_over() {
    let node = Node::up("bookworm");
    node.configure(BOTH);
    node.refuses("vmc");
    node.refuses("vms");
    let (code, found) = explained(&node);
    assert_eq!(code, 2);
    is_there(&found, "qemu-connect-denied", "/run/openvswitch/vhuc0", "still-so");
    is_there(&found, "qemu-bind-no-directory", "/var/lib/vhost_sockets/vhus0", "still-so");
    let text = node.accord("explain").stdout;
    assert!(text.contains("read: /var/log/libvirt/qemu/vmc.log") && text.contains("the journal"), "{text}");
    assert!(text.contains("now: still so: server-socket-refuses-qemu"), "{text}");

    node.apply("--restart");
    let (_, found) = explained(&node);
    is_there(&found, "qemu-connect-denied", "/run/openvswitch/vhuc0", "agrees");
    is_there(&found, "qemu-bind-no-directory", "/var/lib/vhost_sockets/vhus0", "agrees");
    let log = node.sh("vhost-accord explain - </var/log/libvirt/qemu/vmc.log");
    assert!(log.contains("agrees, the log is older"), "{log}");
    let page = node.sh("vhost-accord explain hook-missing");
    assert!(page.contains("confirm  ls -l /etc/libvirt/hooks/qemu.d"), "{page}");
    let typo = node.accord("explain hook-mising");
    assert_eq!(typo.code, 1);
    assert!(typo.stderr.contains("did you mean hook-missing?"), "{typo}");
}

/// Each is made by hand after `apply`, named alone, and taken away again.
#[test]
#[ignore = "needs a real node: make test"]
fn what_else_has_a_say_is_named_alone() {
    let node = Node::up("bookworm");
    node.configure(BOTH);
    node.apply("--restart");
    node.agrees("after apply");
    let later = "/etc/systemd/system/ovs-vswitchd.service.d/99-later.conf";
    let drop_in = format!("printf '[Service]\\nExecStartPost=\\n' >{later}; systemctl daemon-reload");
    let no_drop_in = format!("rm {later}; systemctl daemon-reload");
    let line = "d /var/lib/vhost_sockets 0755 root root -";
    for (breaks, fixes, finding) in [
        (drop_in.as_str(), no_drop_in.as_str(), "drop-in-without-effect ovs-vswitchd.service"),
        (
            "setfacl -d -m g::rx /var/lib/vhost_sockets",
            "setfacl -k /var/lib/vhost_sockets",
            "socket-directory-default-acl /var/lib/vhost_sockets",
        ),
        (
            &format!("echo '{line}' >/usr/lib/tmpfiles.d/vhost.conf"),
            "rm /usr/lib/tmpfiles.d/vhost.conf",
            "tmpfiles-undoes /usr/lib/tmpfiles.d/vhost.conf",
        ),
        (
            "ovs-vsctl set Open_vSwitch . other_config:vhost-sock-dir=../x",
            "ovs-vsctl remove Open_vSwitch . other_config vhost-sock-dir",
            "vhost-sock-dir-invalid other_config:vhost-sock-dir",
        ),
        (
            "ovs-vsctl set Open_vSwitch . other_config:vhost-iommu-support=true",
            "ovs-vsctl remove Open_vSwitch . other_config vhost-iommu-support",
            "vhost-iommu-support other_config:vhost-iommu-support",
        ),
        (
            "mount -o remount,ro /dev/hugepages",
            "mount -o remount,rw /dev/hugepages",
            "hugepages-read-only /dev/hugepages",
        ),
        (
            "cp -p /etc/libvirt/qemu.conf /tmp/q; echo 'namespaces = [ ]' >>/etc/libvirt/qemu.conf; systemctl restart libvirtd",
            "cp -p /tmp/q /etc/libvirt/qemu.conf; systemctl restart libvirtd",
            "qemu-namespaces-off /etc/libvirt/qemu.conf",
        ),
    ] {
        node.sh(breaks);
        assert_eq!(node.check().1, [finding], "{breaks}");
        node.sh(fixes);
        node.agrees(fixes);
    }
    node.configure("qemu-group = nosuch\\n");
    assert_eq!(node.check(), (2, vec!["group-missing configuration".to_string()]));
}
