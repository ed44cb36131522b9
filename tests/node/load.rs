// SPDX-License-Identifier: Apache-2.0
//! Many at once: libvirt starts and stops VMs, people and packages apply, units call their entries, all at the same time.

use super::packages::{is_stock_again, says, stock};
use super::steps::{BOTH, PATIENT};
use super::support::{Node, on_nodes};

on_nodes!(bookworm = "bookworm": nobody_loses_a_change_to_a_lock);
on_nodes!(later bookworm = "bookworm": a_crowd_comes_through);

/// Domains of each port type for the hook's direct calls: with 4 operations, 40 calls in a round.
const DOMAINS: u32 = 5;
/// How often each does its part; `make torture` has more of them.
fn rounds() -> u32 {
    std::env::var("VHOST_ACCORD_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(5)
}

/// Much more than all of it takes on a busy machine.
const LIMIT: u32 = 400;

/// What everybody in the crowd does: `job NAME COMMAND` waits at the gate, and writes down how it ended.
const JOB: &str = "\
rm -rf /run/crowd; mkdir /run/crowd; mkfifo /run/crowd/gate\n\
job() { name=$1; shift; (: < /run/crowd/gate; code=0; timeout 300 \"$@\" > /run/crowd/$name.said 2>&1 < /dev/null || code=$?; \
date +%s.%N > /run/crowd/$name.end; echo $code > /run/crowd/$name.code) & }\n";

/// An `apply` of a configuration of its own. Who is told that another one is at work tries again, as it is told.
const APPLY: &str = "\
printf \"[accord]\\n$1\" > /etc/vhost-accord/vhost-accord.conf.new$2\n\
mv /etc/vhost-accord/vhost-accord.conf.new$2 /etc/vhost-accord/vhost-accord.conf\n\
until vhost-accord apply > /run/crowd/apply$2.try 2>&1; do\n\
    cat /run/crowd/apply$2.try; grep -q 'another vhost-accord' /run/crowd/apply$2.try || exit 1; sleep 0.2\n\
done\n";

/// Ports and domains of both kinds, beside those of the node: `/root/crowd/NAME.xml`.
fn people(node: &Node) {
    node.sh(&format!(
        "mkdir -p /root/crowd; for i in $(seq {DOMAINS}); do \
         ovs-vsctl add-port br-int crowds$i -- set Interface crowds$i type=dpdkvhostuserclient options:vhost-server-path=/var/lib/vhost_sockets/crowds$i \
             -- add-port br-int crowdc$i -- set Interface crowdc$i type=dpdkvhostuser; \
         virsh dumpxml --inactive vms | sed \"s/<name>vms/<name>crowds$i/; s/vhus0/crowds$i/\" > /root/crowd/crowds$i.xml; \
         virsh dumpxml --inactive vmc | sed \"s/<name>vmc/<name>crowdc$i/; s/vhuc0/crowdc$i/\" > /root/crowd/crowdc$i.xml; \
         for d in crowds$i crowdc$i; do sed -i '/<uuid>/d; /<mac /d' /root/crowd/$d.xml; virsh define /root/crowd/$d.xml; done; done"
    ));
}

fn script() -> String {
    let mut script = JOB.to_string();
    for round in 1..=rounds() {
        script.push_str(&format!(
            "for i in $(seq {DOMAINS}); do for d in crowds$i crowdc$i; do \
             for o in prepare:begin start:begin migrate:begin release:end; do \
             job hook-$d-${{o%:*}}-{round} sh -c \"exec /etc/libvirt/hooks/qemu.d/50-vhost-accord $d ${{o%:*}} ${{o#*:}} - < /root/crowd/$d.xml\"; \
             done; done; done\n"
        ));
        // The last word on errors differs, so that each has something to change in a drop-in.
        let error = if round % 2 == 0 { "warn" } else { "refuse" };
        let keys = format!("{BOTH}{PATIENT}on-error = {error}\\n");
        script.push_str(&format!("job apply{round} sh /root/crowd/apply '{keys}' {round}\n"));
        for entry in ["boot", "dataplane-pre", "vswitchd-pre", "vswitchd-post"] {
            script.push_str(&format!("job {entry}-{round} vhost-accord service {entry}\n"));
        }
        script.push_str(&format!("job check-{round} sh -c 'vhost-accord check; test $? -le 2'\n"));
    }
    for domain in ["vms", "vmc"] {
        let turn = format!("timeout 90 virsh start {domain} && virsh destroy {domain}");
        script.push_str(&format!("job {domain} sh -ec '{turn}; {turn}; {turn}'\n"));
    }
    script.push_str("job upgrade dpkg -i --force-confold /root/now.deb\n");
    // Open, it lets everybody go, those that are late as well.
    script.push_str("sleep 3; date +%s.%N > /run/crowd/begun; exec 9> /run/crowd/gate; wait\n");
    script
}

/// Everyone's exit code by name, those that are not 0.
fn failures(node: &Node) -> String {
    node.sh(
        "cd /run/crowd; for c in *.code; do n=${c%.code}; test $(cat $c) = 0 || { echo \"$n: $(cat $c)\"; cat $n.said; }; done",
    )
}

/// What the program told the journal of since then that is more than a notice, but for those who came to try again, and for
/// the watcher: a configuration that waits for its apply is a finding until then.
fn complaints(node: &Node, since: &str) -> String {
    node.sh(&format!(
        "journalctl -u vhost-accord-watch --since @{since} -o cat --no-pager -q > /run/watcher.said; \
         journalctl -t vhost-accord --since @{since} -p warning -o cat --no-pager -q | \
         grep -vxF -f /run/watcher.said | grep -v 'try again when it has ended$' || :"
    ))
}

fn a_crowd_comes_through(kind: &'static str) {
    let node = stock(kind, "deb");
    let before = node.snapshot();
    node.configure(&format!("{BOTH}{PATIENT}"));
    says(&node, "dpkg -i --force-confold /root/earlier.deb");
    node.apply("--restart");
    node.agrees("before the crowd");
    people(&node);
    // What OVS made meanwhile.
    node.apply("");
    node.sh(&format!("printf '%s' '{APPLY}' > /root/crowd/apply", APPLY = APPLY.replace('\'', "'\\''")));
    let since = node.sh("date +%s");
    let text = script();
    node.sh(&format!("cat > /root/crowd/all <<'END'\n{text}END\ntimeout {LIMIT} sh /root/crowd/all"));
    let figures = node.sh(
        "cd /run/crowd; b=$(cat begun); cat *.end | sort -n | tail -1 | awk -v b=$b '{printf \"%.1f s\", $1 - b}'; \
         echo \", $(ls *.code | wc -l) jobs, $(ls hook-*.code | wc -l) hooks, $(cat apply*.said | grep -c another || :) times busy, slowest hook $(cat hook-*.end | sort -n | tail -1 | awk -v b=$b '{printf \"%.1f\", $1 - b}') s\"",
    );
    eprintln!("{kind}: {figures}");

    assert_eq!(failures(&node), "", "{kind}");
    let jobs = 8 * DOMAINS * rounds() + 6 * rounds() + 3;
    assert_eq!(node.sh("ls /run/crowd/*.code | wc -l").trim(), jobs.to_string());
    let left = "pgrep -a -x 'vhost-accord|50-vhost-accord' | grep -v ' watch'";
    assert_eq!(node.try_sh(left).code, 1, "{}", node.try_sh(left));
    assert_eq!(complaints(&node, since.trim()), "");
    // The package's script did not give up before an apply that was at work.
    let upgrade = node.sh("cat /run/crowd/upgrade.said");
    assert!(!upgrade.contains("nothing agrees") && !upgrade.contains("another"), "{upgrade}");
    let half = "find /etc /var/lib /usr/lib /run -xdev -name '*.vhost-accord-new'";
    assert_eq!(node.sh(half), "");
    node.sh("python3 -m json.tool /var/lib/vhost-accord/journal.json");
    // Whoever came last has it.
    assert_eq!(node.accord("plan").code, 0, "{}", node.accord("plan"));
    let insists = "grep -q 'ExecStartPre=+' /etc/systemd/system/ovs-vswitchd.service.d/50-vhost-accord.conf";
    let refuses = "grep -q 'on-error = refuse' /etc/vhost-accord/vhost-accord.conf";
    assert_eq!(node.try_sh(insists).code, node.try_sh(refuses).code, "{}", node.accord("config"));
    let again = node.accord("apply");
    assert!(again.stdout.contains("Nothing to change."), "{again}");
    node.agrees("after the crowd");
    node.start("vms", false);
    node.start("vmc", false);

    node.sh(&format!("for i in $(seq {DOMAINS}); do ovs-vsctl del-port crowds$i -- del-port crowdc$i; virsh undefine crowds$i; virsh undefine crowdc$i; done; rm -r /root/crowd /run/crowd"));
    assert_eq!(node.accord("revert --restart").code, 0);
    says(&node, "dpkg --purge vhost-accord");
    is_stock_again(&node, &before, "after revert");
}

/// Another run that takes long, as far as its lock goes.
const HOLD: &str = "systemd-run -q --unit holder flock /run/vhost-accord.lock sleep 1000; until ! flock -n /run/vhost-accord.lock true; do sleep 0.1; done";

/// Runs a script beside, expects it to wait for the lock, and lets it have it; what it said.
fn waits(node: &Node, script: &str) -> String {
    node.sh(HOLD);
    node.sh(&format!(
        "rm -f /run/code; cat > /run/script <<'END'\n{script}\nEND\n\
         systemd-run -q --collect sh -c 'code=0; timeout 60 sh /run/script > /run/said 2>&1 || code=$?; echo $code > /run/code'"
    ));
    node.wait_for(script, "pgrep -x vhost-accord || { cat /run/code /run/said; false; }");
    node.sh("sleep 1; test ! -e /run/code || { cat /run/said; false; }; systemctl stop holder");
    node.wait_for("its end", "test -e /run/code");
    assert_eq!(node.sh("cat /run/code").trim(), "0", "{script}: {}", node.sh("cat /run/said"));
    let said = node.sh("cat /run/said");
    node.sh("rm /run/said /run/code /run/script");
    said
}

/// Those whom nobody tells to try again wait: a package's script, the unit at boot, the dataplane's first entry.
fn nobody_loses_a_change_to_a_lock(kind: &'static str) {
    let node = stock(kind, "deb");
    node.configure(&format!("{BOTH}service-deadline = 30\\n"));
    let said = waits(&node, "dpkg -i --force-confold /root/now.deb");
    assert!(!said.contains("nothing agrees"), "{said}");
    assert_ne!(node.accord("plan").code, 1);
    node.apply("--restart");
    node.agrees("after an installation that had to wait");

    node.sh("rmdir /var/lib/vhost_sockets");
    waits(&node, "vhost-accord service boot");
    assert_eq!(node.owner("/var/lib/vhost_sockets"), "libvirt-qemu:hugetlbfs 2775");

    // Whoever restarts the switch knows nothing of the other run, and that one does not hand the switch's files over.
    node.configure(&format!("{BOTH}service-deadline = 30\\ndataplane-user = openvswitch\\n"));
    node.apply("--restart");
    node.sh("chown root:root /var/log/openvswitch");
    waits(&node, &format!("systemctl restart {}", node.switch()));
    node.wait_for("ovs-vswitchd", "ovs-appctl --timeout=5 version");
    assert_eq!(node.owner("/var/log/openvswitch").split(':').next(), Some("openvswitch"));

    let said = waits(&node, "vhost-accord service package-removing || test $? = 1");
    assert!(said.contains("revert --restart"), "{said}");
    assert_eq!(node.accord("revert --restart").code, 0);
    waits(&node, "dpkg -r vhost-accord");
}
