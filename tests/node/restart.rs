// SPDX-License-Identifier: Apache-2.0
//! Restarts by `apply` and `revert` that are kept from succeeding, in the middle as well: afterwards the switch runs, VMs that
//! can reconnect are connected, and `revert` gives the stock node back.

use std::collections::BTreeMap;

use super::steps::{BOTH, same_as};
use super::support::{Node, Output, on_nodes};

on_nodes!(bookworm = "bookworm":
    what_does_not_work_is_put_back
    what_cannot_be_written_stops_nothing
    a_killed_restart_is_ended);
on_nodes!(rhel_3_6 = "rhel-3.6":
    what_does_not_work_is_put_back
    a_killed_restart_is_ended);

/// Both VMs run, and QEMU connects again; another user of the switch waits for its restart.
struct Scene {
    node: Node,
    stock: BTreeMap<String, String>,
    before: String,
}

impl Scene {
    fn new(kind: &'static str) -> Scene {
        let node = Node::up(kind);
        node.sh(
            "virsh dumpxml vmc | sed \"s#mode='client'/>#mode='client'><reconnect enabled='yes' timeout='1'/></source>#\" \
             > /root/vmc.xml; grep -q reconnect /root/vmc.xml && virsh define /root/vmc.xml",
        );
        let stock = node.snapshot();
        node.configure(BOTH);
        node.apply("--restart");
        let before = node.process("ovs-vswitchd").0;
        node.start("vmc", true);
        node.start("vms", true);
        let scene = Scene { node, stock, before };
        scene.want(30);
        scene
    }

    /// Asks for the other user.
    fn want(&self, limit: u32) {
        let user = if self.node.is_rhel() { "root" } else { "openvswitch" };
        self.node.configure(&format!("{BOTH}dataplane-user = {user}\\nrestart-deadline = {limit}\\n"));
    }

    /// A drop-in of ovs-vswitchd's; none: it goes.
    fn drop_in(&self, lines: &str) {
        let file = "/etc/systemd/system/ovs-vswitchd.service.d/zz-test.conf";
        let write = if lines.is_empty() {
            format!("rm -f {file}")
        } else {
            format!("mkdir -p $(dirname {file}) && cat > {file} <<'END'\n[Service]\n{lines}\nEND\n")
        };
        self.node.sh(&format!("{write}\nsystemctl daemon-reload"));
    }

    fn works(&self, when: &str) {
        let node = &self.node;
        let switch = node.switch();
        node.sh(&format!(
            "systemctl is-active {switch} ovs-vswitchd ovsdb-server && ovs-appctl --timeout=10 version"
        ));
        for (vm, port) in [("vms", "vhus0"), ("vmc", "vhuc0")] {
            let connected = format!(
                "vhost-accord check | grep -E '^{vm} +{port} +[a-z]+ +[a-z]+ +yes ' || {{ vhost-accord check; false; }}"
            );
            node.wait_for(&format!("{vm} connected {when}"), &connected);
        }
    }

    /// All is as before the restart, and it was told why.
    fn is_put_back(&self, output: &Output, why: &str) {
        assert_eq!(output.code, 2, "{output}");
        assert!(output.stdout.contains("failed: the switch was put back as it was: "), "{output}");
        assert!(output.stdout.contains(why) && !output.stdout.contains("DOES NOT RUN"), "{why}: {output}");
        assert_eq!(self.node.process("ovs-vswitchd").0, self.before, "{output}");
        self.works(why);
    }

    /// The new user's switch, then the stock node.
    fn ends_well(self) {
        self.drop_in("");
        self.want(30);
        self.node.apply("--restart");
        assert_ne!(self.node.process("ovs-vswitchd").0, self.before);
        self.works("with the new user");
        let node = &self.node;
        node.sh("virsh destroy vmc; virsh destroy vms");
        let output = node.accord("revert --restart");
        assert_eq!(output.code, 0, "{output}");
        assert!(node.try_sh("systemctl is-active ovs-vswitchd").code == 0);
        node.sh("rm -r /etc/vhost-accord; rmdir /etc/systemd/system/ovs-vswitchd.service.d 2>/dev/null; systemctl daemon-reload");
        same_as(node, &self.stock, "after revert");
    }
}

const NEW: &str = "test -e /etc/vhost-accord/dataplane.env";

fn what_does_not_work_is_put_back(kind: &'static str) {
    let scene = Scene::new(kind);
    let apply = || scene.node.accord("apply --restart");

    scene.drop_in(&format!("ExecStartPre=/bin/sh -c '! {NEW}'"));
    scene.is_put_back(&apply(), "ovs-vswitchd.service does not run (journalctl -u ovs-vswitchd.service)");

    scene.want(10);
    scene.drop_in(&format!(
        "ExecStartPre=/bin/sh -c '! {NEW} || {{ trap \"\" TERM; sleep 600; sleep 600; }}'"
    ));
    scene.is_put_back(&apply(), "not done after");

    // It runs, and a VM is cut off.
    scene.want(20);
    let away = "cd /var/lib/vhost_sockets; mv";
    scene.drop_in(&format!(
        "ExecStartPre=+/bin/sh -c '! {NEW} || {{ {away} vhus0 away; }}'\n\
         ExecStartPre=+/bin/sh -c '{NEW} || {{ {away} away vhus0; }}'"
    ));
    let output = scene.node.try_sh("script -qec 'vhost-accord apply --restart' /dev/null");
    scene.is_put_back(
        &output,
        "1 of 2 endpoints were not connected again: VM vms (/var/lib/vhost_sockets/vhus0)",
    );
    assert!(output.stdout.contains("\r1 of 2 endpoints of VMs connected again, 9 s left"), "{output}");

    // The old switch does not stop: it is killed, and leaves its sockets behind.
    scene.want(20);
    scene.drop_in("ExecStop=\nExecStop=/bin/sleep 600");
    let output = apply();
    assert_eq!(output.code, 0, "{output}");
    scene.works("after a stop that hung");

    // And back: a stock switch that does not start, and a VM that it could not serve.
    scene.want(30);
    scene.drop_in(&format!("ExecStartPre=/bin/sh -c '{NEW}'"));
    let revert = || scene.node.accord("revert --restart");
    let put_back = |output: &Output, why: &str| {
        assert_eq!(output.code, 2, "{output}");
        assert!(output.stdout.contains(why) && !output.stdout.contains("DOES NOT RUN"), "{output}");
        scene.works(why);
        assert_ne!(scene.node.process("ovs-vswitchd").0, scene.before, "{output}");
        scene.node.agrees(why);
    };
    put_back(&revert(), "did not start");
    // A disk that is full once the switch is down.
    let state = "/var/lib/vhost-accord";
    scene.node.sh(&format!(
        "mkdir /root/keep; cp -a {state}/. /root/keep/; mount -t tmpfs -o size=4m,mode=0700 none {state}; cp -a /root/keep/. {state}/"
    ));
    scene.drop_in(&format!("ExecStopPost=-+/bin/sh -c 'cat /dev/zero > {state}/fill'"));
    put_back(&revert(), "No space left on device");
    scene.drop_in("");
    scene.node.sh(&format!("umount {state}; rm -r /root/keep"));
    if !scene.node.is_rhel() {
        scene.want(20);
        put_back(&revert(), "1 of 2 endpoints were not connected again: VM vmc (/run/openvswitch/vhuc0)");
    }
    scene.ends_well();
}

fn what_cannot_be_written_stops_nothing(kind: &'static str) {
    let scene = Scene::new(kind);
    let node = &scene.node;
    // The drop-ins are written; what is left is the restart.
    node.apply_anyway("");
    let pid = node.sh("pgrep -o ovs-vswitchd");
    let small = |path: &str| {
        format!(
            "mkdir -p /run/keep && cp -a {path}/. /run/keep/ && mount -t tmpfs -o size=1m,mode=0755 none {path} && cp -a /run/keep/. {path}/ && {{ cat /dev/zero > {path}/fill 2>/dev/null; true; }}"
        )
    };
    let state = "/var/lib/vhost-accord";
    let away = |path: &str| format!("umount {path}; rm -rf /run/keep");
    let cases = [
        ("full", small(state), away(state)),
        (
            "read-only",
            format!("mount --bind {state} {state} && mount -o remount,ro,bind {state}"),
            away(state),
        ),
        ("full", small("/etc/systemd/system"), away("/etc/systemd/system")),
        ("read-only", "mount --bind /etc /etc && mount -o remount,ro,bind /etc".to_string(), away("/etc")),
    ];
    for (why, fault, fix) in cases {
        node.sh(&fault);
        for command in ["apply --restart", "revert --restart"] {
            let output = node.accord(command);
            assert_eq!(output.code, 1, "{command}, {fault}: {output}");
            assert!(output.stderr.contains(why), "{command}: {output}");
            assert_eq!(node.sh("pgrep -o ovs-vswitchd"), pid, "{command}, {fault}: {output}");
        }
        node.sh(&fix);
        scene.works(why);
    }
    scene.ends_well();
}

fn a_killed_restart_is_ended(kind: &'static str) {
    let scene = Scene::new(kind);
    let node = &scene.node;
    let kill = "-+/usr/bin/pkill -9 -x -f \"/usr/bin/vhost-accord apply --restart\"";
    let killed = || {
        let output = node.try_sh("/usr/bin/vhost-accord apply --restart");
        assert!(output.code > 128 || output.code == -1, "{output}");
    };
    // While the switch is stopped. The next apply starts it.
    scene.drop_in(&format!("ExecStopPost={kill}"));
    killed();
    scene.drop_in("");
    let output = node.accord("apply");
    assert!(output.stdout.contains("an earlier run was killed"), "{output}");
    assert_eq!(node.process("ovs-vswitchd").0, scene.before);
    scene.works("after a kill at the stop");

    // While it starts, and does not come up.
    scene.drop_in(&format!("ExecStartPre={kill}\nExecStartPre=/bin/sh -c '! {NEW}'"));
    killed();
    scene.drop_in(&format!("ExecStartPre=/bin/sh -c '! {NEW}'"));
    let output = node.accord("apply");
    assert!(output.stdout.contains("an earlier run was killed"), "{output}");
    scene.works("after a kill at the start");

    // After it started: the next one finds nothing to put back.
    scene.drop_in(&format!("ExecStartPost={kill}"));
    killed();
    scene.drop_in("");
    node.apply("");
    assert_ne!(node.process("ovs-vswitchd").0, scene.before);
    scene.works("after a kill behind the start");

    // A revert that was killed, and a boot.
    scene.drop_in("ExecStopPost=-+/usr/bin/pkill -9 -x -f \"/usr/bin/vhost-accord revert --restart\"");
    let output = node.try_sh("/usr/bin/vhost-accord revert --restart");
    assert!(output.code > 128 || output.code == -1, "{output}");
    scene.drop_in("");
    node.sh("virsh destroy vmc; virsh destroy vms; vhost-accord service boot");
    assert_eq!(node.sh("grep -c restarting /var/lib/vhost-accord/journal.json || :").trim(), "0");
    node.sh(&format!("systemctl start {}", node.switch()));
    node.start("vmc", true);
    node.start("vms", true);
    scene.works("after a boot");
    scene.ends_well();
}
