// SPDX-License-Identifier: Apache-2.0
//! The service that watches among what lies, kills and starves: it touches nothing that is not a port's, says nothing that is
//! not so, and is there afterwards.

use super::fake_ovsdb::{self, LIES};
use super::hostile::{self, ACTS, ROLE};
use super::support::{Node, on_nodes};
use super::watch::{UNIT, settled, told, watched};

on_nodes!(later bookworm = "bookworm":
    lies_move_it_to_nothing
    killed_at_any_moment_it_leaves_nothing_half_done
    a_second_one_and_too_little_memory_harm_nothing);

const SOCKETS: &str = "/var/lib/vhost_sockets";

fn restarts(node: &Node) -> String {
    node.sh(&format!("systemctl show -P NRestarts {UNIT}")).trim().to_string()
}

fn grants(node: &Node, when: &str) {
    node.sh("ovs-vsctl --may-exist add-port br-int hp -- set interface hp type=dpdkvhostuser");
    let same = "test \"$(stat -c %g /run/openvswitch/hp)\" = \"$(stat -c %g /run/openvswitch/vhuc0)\"";
    node.wait_for(when, same);
    node.sh("ovs-vsctl del-port hp");
}

fn lies_move_it_to_nothing(kind: &'static str) {
    if let Ok(lie) = std::env::var(ROLE) {
        return fake_ovsdb::serve(&lie);
    }
    let node = hostile::prepared_with(kind, "[watch]\\ndrift = fix\\n");
    hostile::what_it_may_name(&node);
    let owners = node.sh(&format!("stat -c '%n %A %u:%g' {SOCKETS} /run/openvswitch/vhuc0"));
    let mut asked = 0;
    let long = std::env::var_os("VHOST_ACCORD_TORTURE").is_some();
    let told = |(number, lie): &(usize, &str)| long || ACTS.contains(lie) || number % 3 == 0;
    for (_, lie) in LIES.into_iter().enumerate().filter(told) {
        hostile::fake(&node, lie);
        let before = hostile::outside(&node);
        // A new session, and what comes after its first answer.
        node.sh(&format!("systemctl restart {UNIT}"));
        settled(&node);
        let connected = format!("systemctl show -P StatusText {UNIT} | grep -q 'database connected'");
        asked += u32::from(node.try_sh(&connected).code == 0);
        assert_eq!(hostile::outside(&node), before, "{lie}: what OVSDB alone says is nobody's to touch");
        assert_eq!(restarts(&node), "0", "{lie}");
    }
    assert!(asked > 2, "some of the lies were to be believed: {asked}");
    assert_eq!(node.sh(&format!("stat -c '%n %A %u:%g' {SOCKETS} /run/openvswitch/vhuc0")), owners);
    hostile::journal_is_clean(&node);
    node.sh("systemctl stop fake; rm -f /run/openvswitch/db.sock; mv /run/db.good /run/openvswitch/db.sock");
    grants(&node, "with the true database again");
    settled(&node);
    node.agrees("with the true database again");
}

fn killed_at_any_moment_it_leaves_nothing_half_done(kind: &'static str) {
    let node = watched(kind, "[watch]\\ndrift = fix\\n");
    let journal = node.sh("cat /var/lib/vhost-accord/journal.json");
    let hook = "/etc/libvirt/hooks/qemu.d/50-vhost-accord";
    let drop_in = "/etc/systemd/system/ovs-vswitchd.service.d/50-vhost-accord.conf";
    // Each time something is to be fixed, and a socket to be given; service and look die a little later than the last time.
    let script = format!(
        "for turn in $(seq 20); do
            case $((turn % 4)) in 0) chmod 700 {SOCKETS};; 1) rm -f {hook};; 2) rm -f {drop_in};;
            3) sed -i 's/^group = .*/group = \"kvm\"/' /etc/libvirt/qemu.conf;; esac
            ovs-vsctl -- --if-exists del-port k$((turn - 1)) -- add-port br-int k$turn -- set interface k$turn type=dpdkvhostuser
            until systemctl is-active -q {UNIT}; do sleep 0.02; done
            sleep 0.$(printf %02d $((turn * 97 % 90)))
            systemctl kill -s KILL {UNIT}
            python3 -m json.tool /var/lib/vhost-accord/journal.json >/dev/null || exit 1
        done"
    );
    node.sh(&script);
    node.wait_for("it was started again", &format!("systemctl is-active {UNIT}"));
    node.wait_for(
        "the socket of the last turn",
        "test \"$(stat -c %g /run/openvswitch/k20)\" = \"$(stat -c %g /run/openvswitch/vhuc0)\"",
    );
    node.sh("ovs-vsctl del-port k20");
    settled(&node);
    // What it left alone as a tug of war, a reload takes up again.
    node.sh(&format!("systemctl reload {UNIT}"));
    // libvirt reads qemu.conf when it starts.
    node.sh("systemctl restart libvirtd");
    node.wait_for("all is fixed", "vhost-accord check");
    let half = "find /etc /var/lib /usr/lib /run -xdev -name '*.vhost-accord-new'";
    assert_eq!(node.sh(half), "");
    assert_eq!(
        node.sh("cat /var/lib/vhost-accord/journal.json"),
        journal,
        "revert restores what was there at first"
    );
}

fn a_second_one_and_too_little_memory_harm_nothing(kind: &'static str) {
    let node = watched(kind, "");
    let second = node.accord("watch");
    assert_eq!((second.code, second.stderr.lines().count()), (1, 1), "{second}");
    assert!(second.stderr.contains("another 'vhost-accord watch' is running"), "{second}");
    grants(&node, "beside a second one that was refused");

    // Too little for a look at the node, enough for the rest: only the look dies.
    let pid = node.sh(&format!("systemctl show -P MainPID {UNIT}")).trim().to_string();
    node.sh(&format!(
        "prlimit --pid {pid} --as=$(($(awk '/^VmSize:/{{print $2}}' /proc/{pid}/status) * 1024 + 1000000))"
    ));
    node.sh(&format!("chmod 700 {SOCKETS}"));
    node.wait_for(
        "a look that failed",
        &format!("journalctl -q -u {UNIT} | grep -q 'the look at the node failed'"),
    );
    grants(&node, "with too little memory");
    let still = node.sh(&format!("systemctl show -P MainPID {UNIT}"));
    assert_eq!(still.trim(), pid, "it lives on");
    node.sh(&format!("systemctl restart {UNIT}"));
    told(&node, "VA_FINDING=socket-directory-mode VA_STATE=begun");
}
