// SPDX-License-Identifier: Apache-2.0
//! Pages of what `check` alone sees of both sides of a socket.

use super::{Page, page};

pub(super) const PAGES: &[Page] = &[
    page(
        "switch-unknown",
        "none of itself; VMs whose port is wrong are not named either",
        "ovs-vsctl --timeout=5 show",
        "systemctl status ovsdb-server; then what its log says",
        "ovsdb-server(7); a database that compacts or whose disk is stuck does not answer for seconds",
    ),
    page(
        "dataplane-hung",
        "no VM starts: QEMU waits for ever, or libvirt's own call of ovs-vsctl does",
        "ovs-appctl --timeout=5 version; ps -o pid,stat,wchan,comm -C ovs-vswitchd",
        "kill -CONT where it is stopped by a signal; else restart the switch, which cuts its network for a moment",
        "ovs-appctl(8); a stopped ovs-vswitchd still has its pid file and OVSDB still says what it wrote last (seen with OVS 3.1)",
    ),
    page(
        "port-not-in-datapath",
        "the guest runs and its network card is dead; OVSDB has ofport, status=connected and no error",
        "ovs-appctl dpif/show lacks the port; ovs-vsctl get Interface PORT link_state is down",
        "grep ERR /var/log/openvswitch/ovs-vswitchd.log names the cause, mostly memory for its mbufs or a DPDK library that is not installed; then make the port over again",
        "'Failed to create memory pool', 'Failed to set interface ... new configuration' in its log; seen with OVS 3.1 and 4.0 without DPDK's mempool_ring",
    ),
    page(
        "hot-plug-waits",
        "virsh attach-device hangs, and with it each command of libvirt that asks this VM's monitor",
        "ss -xlp shows QEMU's socket; virsh dumpxml does not name it",
        "add the port: QEMU goes on as soon as OVS is connected. Add ports before cards from now on",
        "QEMU's netdev_add waits for a vhost-user server's peer in the monitor; seen with QEMU 7.2 and libvirt 9.0",
    ),
    page(
        "domain-unreadable",
        "none of itself; its endpoints are not in the table",
        "virsh dumpxml, and the file that is named",
        "what the finding says of the file: libvirt cannot read it either when it starts again",
        "libvirt src/conf/virdomainobjlist.c reads the same files",
    ),
    page(
        "port-without-vm",
        "none; a VM that was to have this port hangs or has no network",
        "ovs-vsctl find Interface type=dpdkvhostuserclient; virsh dumpxml of the VM that is meant",
        "remove the port if no VM and no application is to have it; else the path in the VM's XML",
        "os-vif and neutron leave ports behind when a VM's clean-up fails",
    ),
    page(
        "listener-is-foreign",
        "the VM's frames go to another program, or nowhere; QEMU or OVS never learns of it",
        "ss -xlp, and the socket's inode: ls -i",
        "end that program if it is not meant to be there; then the socket is made anew by whom it belongs to",
        "unix(7): a path can be unlinked and bound again while the old socket goes on",
    ),
    page(
        "client-socket-gone",
        "network until OVS restarts or the port is touched; then none, for good",
        "ls -l of the path; ss -xl shows QEMU's socket without a file",
        "start the VM again: QEMU binds its socket only when it starts",
        "DPDK lib/vhost/socket.c connects by the path each second; seen with OVS 3.1",
    ),
    page(
        "nic-dead-after-restart",
        "the guest runs and its network card is dead; nothing is logged",
        "ps -o lstart of ovs-vswitchd and of QEMU; ss -xp shows no peer",
        "start the VM again; for good: <reconnect enabled='yes' timeout='1'/> in its XML, or a dpdkvhostuserclient port",
        "seen with OVS 3.1 and QEMU 7.2: a client without reconnect never comes back",
    ),
    page(
        "next-start-fails",
        "none as long as it runs; then it does not start, or the hook refuses it",
        "virsh dumpxml --inactive beside virsh dumpxml; ovs-vsctl get Interface PORT type",
        "vhost-accord convert makes the definition follow the port, without a pause",
        "virsh migrate --persistent brings the source's definition over as it is there; virsh edit changes only the next start",
    ),
    page(
        "not-connected",
        "the guest runs without network",
        "ss -xp; grep VHOST /var/log/openvswitch/ovs-vswitchd.log",
        "the finding has the command: the port is made over again, or the VM started again",
        "DPDK lib/vhost/socket.c; seen with OVS 3.1 after a foreign program had held the connection",
    ),
];
