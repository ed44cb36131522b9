#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What nova-compute does with a card of a VM, by the os-vif that it does it with.

usage: compute.py native|vsctl client|server DIRECTORY plug|unplug VM
       compute.py native|vsctl client|server DIRECTORY attach VM TIMES

The mode is QEMU's side, as neutron's binding has it (vhostuser_mode): with `client` os-vif makes a dpdkvhostuser, with
`server` a dpdkvhostuserclient. `attach` does as nova's attach_interface: plug, then libvirt's attach at once, and unplug if
libvirt refuses; then the detach. It prints how many times libvirt took the card, and what it said last against it.
"""

import subprocess
import sys
import time

import os_vif
from os_vif import objects
from oslo_config import cfg
from vif_plug_ovs import privsep

PORT = "3f9c8a5e-7b1d-4a62-9d0e-5c2f8e6a4b17"
NETWORK = "8d4e2c61-0f5b-4e3a-b7c9-1a6d9f3e5b20"
MAC = "fa:16:3e:5a:17:c4"


def virsh(*words):
    return subprocess.run(["virsh", "-q", *words], text=True, capture_output=True, timeout=60, check=False)


class Card:
    def __init__(self, mode, directory, domain):
        self.domain = domain
        self.instance = objects.instance_info.InstanceInfo(
            uuid=virsh("domuuid", domain).stdout.strip(), name=domain
        )
        # nova/network/os_vif_util.py: the name is the port's, the path neutron's.
        name = ("vhu" + PORT)[:14]
        self.vif = objects.vif.VIFVHostUser(
            id=PORT,
            address=MAC,
            network=objects.network.Network(id=NETWORK, bridge="br-int", mtu=1500),
            plugin="ovs",
            mode=mode,
            path=f"{directory}/{name}",
            vif_name=name,
            port_profile=objects.vif.VIFPortProfileOpenVSwitch(interface_id=PORT, datapath_type="netdev"),
        )
        # nova/virt/libvirt/config.py: type, mode and path, and no <reconnect>.
        self.xml = "/root/card.xml"
        with open(self.xml, "w", encoding="utf-8") as file:
            file.write(
                f"<interface type='vhostuser'><mac address='{MAC}'/><model type='virtio'/>"
                f"<source type='unix' path='{self.vif.path}' mode='{mode}'/><alias name='ua-card'/></interface>"
            )

    def plug(self):
        os_vif.plug(self.vif, self.instance)

    def unplug(self):
        os_vif.unplug(self.vif, self.instance)

    def attach(self):
        self.plug()
        told = virsh("attach-device", self.domain, self.xml, "--live")
        if told.returncode == 0:
            # A guest without an operating system gives a card back when it is reset.
            virsh("detach-device-alias", self.domain, "ua-card", "--live")
            virsh("reset", self.domain)
            while "ua-card" in virsh("dumpxml", self.domain).stdout:
                time.sleep(0.05)
        self.unplug()
        return told.stderr.strip() if told.returncode else None


def main():
    driver, mode, directory, command, domain = sys.argv[1:6]
    privsep.vif_plug.set_client_mode(False)
    # As nova.conf has it.
    with open("/root/os-vif.conf", "w", encoding="utf-8") as file:
        file.write(f"[os_vif_ovs]\novsdb_interface = {driver}\novsdb_connection = unix:/run/openvswitch/db.sock\n")
    cfg.CONF([], default_config_files=["/root/os-vif.conf"])
    os_vif.initialize()
    card = Card(mode, directory, domain)
    if command != "attach":
        getattr(card, command)()
        return
    refused = [told for _ in range(int(sys.argv[6])) if (told := card.attach())]
    print(int(sys.argv[6]) - len(refused), *refused[-1:])


main()
