// SPDX-License-Identifier: Apache-2.0
//! Pages of what `check` alone sees of both sides of a socket.

use super::{Page, page};

pub(super) const PAGES: &[Page] = &[
    page(
        "switch-unknown",
        "check reports no port as wrong, even if one is",
        "ovs-vsctl --timeout=5 show",
        "systemctl status ovsdb-server, then fix what its log reports",
        "ovsdb-server(7): while it compacts the database, or waits for its disk, it does not answer for seconds",
    ),
    page(
        "dataplane-hung",
        "no VM starts: QEMU hangs, or libvirt's call of ovs-vsctl hangs",
        "ovs-appctl --timeout=5 version; ps -o pid,stat,wchan,comm -C ovs-vswitchd",
        "kill -CONT if a signal stopped it; else restart the dataplane, which interrupts its network for a moment",
        "ovs-appctl(8); a stopped ovs-vswitchd keeps its pid file, and OVSDB keeps its last state (seen with OVS 3.1)",
    ),
    page(
        "port-not-in-datapath",
        "the VM runs without network; OVSDB has ofport, status=connected and no error",
        "ovs-appctl dpif/show lacks the port; ovs-vsctl get Interface PORT link_state is down",
        "fix the cause in /var/log/openvswitch/ovs-vswitchd.log (grep ERR), mostly too little memory or a missing DPDK library; then create the port again",
        "'Failed to create memory pool', 'Failed to set interface ... new configuration' in its log; seen with OVS 3.1 and 4.0 without DPDK's mempool_ring",
    ),
    page(
        "hot-plug-waits",
        "virsh attach-device hangs, and so does each libvirt command that uses this VM's monitor",
        "ss -xlp shows QEMU's socket; virsh dumpxml does not name it",
        "add the port: QEMU continues as soon as OVS connects. Always add the port before the network card",
        "QEMU's netdev_add blocks the monitor until OVS connects; seen with QEMU 7.2 and libvirt 9.0",
    ),
    page(
        "domain-unreadable",
        "the endpoints of this VM are missing in the table of check",
        "virsh dumpxml VM; the file that the finding names",
        "correct the file as the finding says; libvirt cannot read it either when it starts again",
        "libvirt src/conf/virdomainobjlist.c reads the same files",
    ),
    page(
        "port-without-vm",
        "usually nothing; if a VM should use this port, that VM hangs or has no network",
        "ovs-vsctl find Interface type=dpdkvhostuserclient; virsh dumpxml of the VM that should use it",
        "remove the port if no VM and no application needs it; else correct the path in the VM's XML",
        "os-vif and neutron leave ports behind if they fail to delete them with the VM",
    ),
    page(
        "listener-is-foreign",
        "the VM has no network: its frames go to another program; QEMU and OVS report nothing",
        "ss -xlp; ls -i PATH (the socket's inode)",
        "stop that program if it should not listen there, then have QEMU or OVS create the socket again",
        "unix(7): a path can be unlinked and bound again while the old socket stays in use",
    ),
    page(
        "client-socket-gone",
        "the VM has network until OVS restarts or the port is changed; then it has none",
        "ls -l PATH (missing); ss -xl (QEMU's socket still exists)",
        "start the VM again: QEMU binds its socket only when it starts",
        "DPDK lib/vhost/socket.c connects by the path each second; seen with OVS 3.1",
    ),
    page(
        "nic-dead-after-restart",
        "the VM runs without network; nothing is logged",
        "ps -o lstart of ovs-vswitchd and of QEMU; ss -xp shows no peer",
        "start the VM again; to prevent it: <reconnect enabled='yes' timeout='1'/> in its XML, or a dpdkvhostuserclient port",
        "seen with OVS 3.1 and QEMU 7.2: a client without reconnect never connects again",
    ),
    page(
        "next-start-fails",
        "nothing while the VM runs; its next start fails, or the hook refuses it",
        "virsh dumpxml --inactive VM; virsh dumpxml VM; ovs-vsctl get Interface PORT type",
        "vhost-accord convert VM changes the definition to fit the port; the VM does not pause",
        "virsh migrate --persistent copies the definition of the source unchanged; virsh edit changes only the next start",
    ),
    page(
        "not-connected",
        "the VM runs without network",
        "ss -xp; grep VHOST /var/log/openvswitch/ovs-vswitchd.log",
        "run the command of the finding: it creates the port again, or starts the VM again",
        "DPDK lib/vhost/socket.c; seen with OVS 3.1 after a foreign program had held the connection",
    ),
];
