// SPDX-License-Identifier: Apache-2.0
//! Nodes whose packaged files were patched in place, as deployers of 2016 to 2018 did.

use super::agree::qemu_cannot_drive_the_switch;
use super::steps::{BOTH, differences};
use super::support::Node;

/// `TripleO`'s and Apex' scripts, with the group of this node's QEMU; Debian's ovsdb-server has the mode in its own unit.
const PATCH: &str = "\
    unit=$(readlink -f $(systemctl show -P FragmentPath ovs-vswitchd.service)); \
    db=$(readlink -f $(systemctl show -P FragmentPath ovsdb-server.service)); \
    sed -i 's/RuntimeDirectoryMode=.*/RuntimeDirectoryMode=0775/' $db; \
    echo RuntimeDirectoryMode=0775 >>$unit; echo Group=@GROUP@ >>$unit; echo UMask=0002 >>$unit; \
    sed -i 's/start_daemon \"$OVS_VSWITCHD_PRIORITY\"/umask 0002 \\&\\& start_daemon \"$OVS_VSWITCHD_PRIORITY\"/' \
        /usr/share/openvswitch/scripts/ovs-ctl; \
    systemctl daemon-reload; systemctl restart @SWITCH@";
const SCRIPTS: &str = "/usr/share/openvswitch";
/// What the packages say of their own files.
const VERIFY: &str = "dpkg -V openvswitch-common openvswitch-switch openvswitch-switch-dpdk || :; \
    sha256sum $(systemctl show -P FragmentPath ovs-vswitchd.service ovsdb-server.service | grep .) \
        /usr/share/openvswitch/scripts/ovs-ctl";

fn patches_are_named_shown_undone_and_put_back(kind: &'static str) {
    let node = Node::up(kind);
    node.configure(BOTH);
    let packaged = node.sh(VERIFY);
    node.sh(&PATCH.replace("@GROUP@", node.qemu()).replace("@SWITCH@", node.switch()));
    node.wait_for("OVS", "ovs-appctl --timeout=5 version && ovs-vsctl --timeout=5 show");
    let patched = node.snapshot_with(&[SCRIPTS]);
    assert_ne!(node.sh(VERIFY), packaged, "nothing was patched?");
    if !node.is_rhel() {
        // That is what it was for.
        node.start("vmc", false);
        let control = node.sh("stat -c '%U:%G %a' /run/openvswitch/br-int.mgmt");
        assert_eq!(control.trim(), format!("root:{} 770", node.qemu()), "and that is its price");
    }

    let (code, findings) = node.check();
    assert_eq!(code, 2, "{findings:?}");
    let named: Vec<_> = findings.iter().filter(|line| line.starts_with("packaged-file-patched ")).collect();
    let units = if kind == "bookworm" { 2 } else { 1 };
    let units = if kind == "rhel-2.9" { units + 1 } else { units };
    assert_eq!(named.len(), units + 1, "{findings:?}");
    assert!(named.iter().any(|line| line.ends_with("/ovs-vswitchd.service")), "{named:?}");
    assert!(named.iter().any(|line| line.ends_with("/scripts/ovs-ctl")), "{named:?}");

    let plan = node.accord("plan").stdout;
    for line in [
        format!("\n-Group={}\n", node.qemu()),
        "\n-UMask=0002\n".to_string(),
        "\n-RuntimeDirectoryMode=0775\n".to_string(),
        "\n-        umask 0002 && start_daemon \"$OVS_VSWITCHD_PRIORITY\"".to_string(),
        "\n+        start_daemon \"$OVS_VSWITCHD_PRIORITY\"".to_string(),
    ] {
        assert!(plan.contains(&line), "{line:?} on {kind}: {plan}");
    }

    node.apply("--restart");
    assert_eq!(node.sh(VERIFY), packaged, "byte for byte as packaged");
    node.agrees("after apply");
    node.start("vmc", true);
    node.start("vms", true);
    assert_eq!(node.process("ovs-vswitchd").0.split(' ').next_back(), Some("0022"));
    qemu_cannot_drive_the_switch(&node);
    node.sh("virsh destroy vmc; virsh destroy vms; rm -f /var/lib/vhost_sockets/vhus0");

    let output = node.accord("revert --restart");
    assert_eq!(output.code, 0, "{output}");
    let differing = differences(&patched, &node.snapshot_with(&[SCRIPTS]));
    assert!(differing.is_empty(), "on {kind}: {differing:#?}");
}

/// The package came anew after apply: its files are no longer those that were patched.
#[test]
#[ignore = "needs a real node: make test"]
fn a_package_that_came_since_is_not_patched_again() {
    let node = Node::up("bookworm");
    node.configure(BOTH);
    node.sh(&PATCH.replace("@GROUP@", node.qemu()).replace("@SWITCH@", node.switch()));
    node.apply("--restart");
    node.sh("echo '# the next version' >>/usr/share/openvswitch/scripts/ovs-ctl");
    let output = node.accord("revert");
    assert_eq!(output.code, 1, "{output}");
    assert!(
        output.stdout.contains("ovs-ctl: left: the package has installed another file since"),
        "{output}"
    );
    let script = node.sh("cat /usr/share/openvswitch/scripts/ovs-ctl");
    assert!(!script.contains("umask 0002 &&") && script.ends_with("# the next version\n"));
}

mod bookworm {
    #[test]
    #[ignore = "needs a real node: make test"]
    fn patches_are_named_shown_undone_and_put_back() {
        super::patches_are_named_shown_undone_and_put_back("bookworm");
    }
}

mod trixie {
    #[test]
    #[ignore = "needs a real node: make test-all"]
    fn patches_are_named_shown_undone_and_put_back() {
        super::patches_are_named_shown_undone_and_put_back("trixie");
    }
}

mod rhel_2_9 {
    #[test]
    #[ignore = "needs a real node: make test-all"]
    fn patches_are_named_shown_undone_and_put_back() {
        super::patches_are_named_shown_undone_and_put_back("rhel-2.9");
    }
}
