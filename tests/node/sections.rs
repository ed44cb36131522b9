// SPDX-License-Identifier: Apache-2.0
//! Sections for the other dataplanes of `foreign.rs`, with their VMs: each thing that can break is named alone, and its own fix
//! ends it.

use super::support::Node;

/// qemu-storage-daemon as a user of its own, and a directory of its own for the sockets that testpmd connects to.
const SET_UP: &str = "
    useradd --system --no-create-home storage; useradd --system --no-create-home other
    cp /root/disk.raw /var/lib/disk.raw; chown storage /var/lib/disk.raw /run/qsd; rm -f /run/qsd/blk; mkdir /run/tpmc
    sed -i -e 's,^ExecStart,User=storage\\nRuntimeDirectory=qsd-control\\n&,' -e 's,/root/disk,/var/lib/disk,' \
        -e 's,^    --export,    --chardev socket\\,id=c\\,path=/run/qsd-control/qmp\\,server=on\\,wait=off --monitor chardev=c &,' \
        /etc/systemd/system/qsd.service
    sed -i s,/run/tpmd/c1,/run/tpmc/c1, /etc/systemd/system/testpmd.service
    virsh dumpxml fps | sed s,/run/tpmd/c1,/run/tpmc/c1, >/root/x.xml; virsh -q define /root/x.xml
    for vm in fas fovs; do virsh -q undefine $vm; done
    for path in /run/tpmd/s0 /run/qsd /run/tpmd; do setfacl -b $path || :; done
    systemctl daemon-reload; systemctl restart testpmd qsd";

const SECTIONS: &str = "modes = dpdkvhostuserclient dpdkvhostuser\\n\
    [dataplane disks]\\ndriver = declared\\nunit = qsd.service\\nsockets = /run/qsd\\ncontrol = /run/qsd-control/qmp\\n\
    [dataplane cards]\\ndriver = declared\\nunit = testpmd.service\\nsockets = /run/tpmd\\n\
    [dataplane clients]\\ndriver = declared\\nunit = testpmd.service\\nsockets = /run/tpmc\\nmade-by = qemu\\n\
    [dataplane shares]\\ndriver = virtiofs\\nunit = vfs.service\\n";

const DISK: &str = "until ss -xlH src /run/qsd/blk | grep -q .; do sleep 0.1; done";
const DROP_IN: &str = "/etc/systemd/system/qsd.service.d/50-vhost-accord-declared.conf";
const REFUSED: &str = "server-socket-refuses-qemu /run/qsd/blk";

/// What breaks, what `check` says of it and nothing else, and what mends it; none: the command that is told.
type Breakage<'a> = (&'a str, &'a str, Option<&'a str>);

pub fn each_breakage_is_named_alone(node: &Node) {
    node.sh(SET_UP);
    node.configure(SECTIONS);
    node.apply("");
    node.sh("systemctl restart testpmd qsd");
    node.sh(&format!(
        "{DISK}; for s in /run/tpmd/s0 /var/lib/vhost_sockets/tp0; do until test -S $s; do sleep 0.1; done; done; \
         setfacl -m u:{}:rw /var/lib/vhost_sockets/tp0",
        node.qemu()
    ));
    node.agrees("with sections");
    for vm in ["fpc", "fps", "fblk", "ffs"] {
        node.sh(&format!("timeout 30 virsh start {vm} --paused"));
    }
    node.agrees("with their VMs");
    node.sh("virsh destroy ffs; until ss -xlH src /run/vfs/s | grep -q .; do sleep 0.1; done");
    node.sh("until stat -c %G /run/vfs/s | grep -q libvirt-qemu; do sleep 0.1; done");
    let later = format!("{}99-x.conf", DROP_IN.trim_end_matches("50-vhost-accord-declared.conf"));
    let breakages: [Breakage<'_>; 25] = [
        // Their VMs run.
        ("chmod g-x /run/tpmc", "socket-directory-mode /run/tpmc", None),
        ("chgrp root /run/tpmd/s0", "server-socket-refuses-qemu /run/tpmd/s0", None),
        ("chgrp root /run/qsd/blk", REFUSED, None),
        ("virsh destroy fblk; chmod g-w /run/qsd/blk", REFUSED, None),
        (
            "setfacl -m u:other:rw,m::r /run/qsd/blk",
            REFUSED,
            Some("setfacl -b /run/qsd/blk; vhost-accord apply"),
        ),
        ("chown root:root /run/qsd/blk", REFUSED, None),
        (
            "setfacl -b /var/lib/vhost_sockets/tp0",
            "server-socket-refuses-qemu /var/lib/vhost_sockets/tp0",
            None,
        ),
        ("chgrp root /run/vfs/s", "server-socket-refuses-qemu /run/vfs/s", None),
        ("chgrp root /run/qsd", "socket-directory-owner /run/qsd", None),
        ("chmod o+rx /run/qsd", "socket-directory-mode /run/qsd", None),
        ("chmod g-s /run/qsd", "socket-directory-mode /run/qsd", None),
        (&format!("rm {DROP_IN}; systemctl daemon-reload"), &format!("file-missing {DROP_IN}"), None),
        (&format!("sleep 1.1; touch {DROP_IN}"), "daemon-reload-missing qsd.service", None),
        (
            &format!("printf '[Service]\\nExecStartPost=\\n' >{later}; systemctl daemon-reload"),
            "drop-in-without-effect qsd.service",
            None,
        ),
        (
            "rm /etc/tmpfiles.d/vhost-accord-disks.conf",
            "file-missing /etc/tmpfiles.d/vhost-accord-disks.conf",
            None,
        ),
        (
            "sed -i s/=storage/=other/ /etc/systemd/system/qsd.service; systemctl daemon-reload",
            "socket-directory-owner /run/qsd",
            Some("sed -i s/=other/=storage/ /etc/systemd/system/qsd.service; systemctl daemon-reload"),
        ),
        (
            "mv /etc/systemd/system/vfs.service /root; systemctl daemon-reload; vhost-accord apply || :",
            "dataplane-unit-missing [dataplane shares]",
            Some("mv /root/vfs.service /etc/systemd/system; systemctl daemon-reload"),
        ),
        (
            "sed -i 's/^control.*/&\\nmade-by = qemu/' /etc/vhost-accord/vhost-accord.conf",
            "socket-directory-owner /run/qsd",
            Some("sed -i '/^control/{n;d}' /etc/vhost-accord/vhost-accord.conf"),
        ),
        (
            "chgrp libvirt-qemu /run/qsd-control/qmp; chmod g+w /run/qsd-control/qmp",
            "qemu-reaches-control-socket /run/qsd-control/qmp",
            None,
        ),
        (
            "virsh destroy fpc; virsh dumpxml fpc | sed '/<memoryBacking>/,/<.memoryBacking>/d' | virsh define /dev/stdin",
            "memory-not-shared fpc",
            None,
        ),
        (
            "virsh dumpxml fpc | sed \"s/mode='client'/mode='server'/\" | virsh define /dev/stdin",
            "socket-directory-refuses-qemu /run/tpmd",
            None,
        ),
        ("chgrp root /dev/hugepages", "hugepages-owner /dev/hugepages", None),
        ("systemctl kill -s KILL qsd; sleep 0.2", "server-socket-stale /run/qsd/blk", None),
        ("systemctl stop qsd", "server-socket-missing /run/qsd/blk", None),
        (
            "systemctl stop qsd; touch /run/qsd/blk",
            "not-a-socket /run/qsd/blk",
            Some("rm /run/qsd/blk; systemctl start qsd"),
        ),
    ];
    for (script, expected, mend) in breakages {
        let found = found_after(node, script);
        let lines: Vec<&String> = found.iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [expected], "{script}");
        let mend = mend.unwrap_or(&found[0].1);
        assert_eq!(found_after(node, &format!("{mend}\n{DISK}")), [], "after {mend}");
    }
    for vm in ["fpc", "fblk", "ffs", "fac"] {
        node.sh(&format!("timeout 30 virsh start {vm} --paused"));
    }
    node.agrees("with the VMs again");
}

/// Findings, and the fix of each.
fn found_after(node: &Node, script: &str) -> Vec<(String, String)> {
    let output = node.try_sh(&format!("({script}\n) >/dev/null 2>&1; vhost-accord check --json"));
    let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output}"));
    let text = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap().to_string();
    let found = |finding: &serde_json::Value| {
        (format!("{} {}", text(finding, "id"), text(finding, "subject")), text(finding, "fix"))
    };
    json["findings"].as_array().unwrap().iter().map(found).collect()
}
