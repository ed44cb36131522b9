#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The hook as it would be written in Python with the usual tools: endpoints, roles, directory, identity, memory."""
import os
import stat
import subprocess
import sys
import xml.etree.ElementTree as ET

domain = ET.parse(sys.stdin).getroot()
sockets = [
    (source.get("path"), source.get("mode"))
    for source in domain.findall("devices/interface[@type='vhostuser']/source")
]
if sys.argv[2] != "start" or not sockets:
    sys.exit(0)
label = domain.findtext("seclabel[@model='dac']/label")
uid, gid = (int(part.lstrip("+")) for part in label.split(":"))
if domain.find("memoryBacking/access[@mode='shared']") is None:
    sys.exit("memory is not shared")
try:
    with open("/run/openvswitch/ovs-vswitchd.pid") as file:
        pid = file.read().strip()
    with open(f"/proc/{pid}/status") as file:
        groups = next(line.split() for line in file if line.startswith("Gid:"))
except FileNotFoundError:
    groups = None
with open("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages") as file:
    if int(file.read()) < 2:
        sys.exit("no huge pages")
for path, mode in sockets:
    if len(path) > 107:
        sys.exit("too long")
    state = os.stat(os.path.dirname(path))
    if state.st_uid != uid and state.st_gid != gid:
        sys.exit("QEMU is kept out")
    if mode == "server" and not state.st_mode & stat.S_ISGID and groups and groups[2] != str(gid):
        sys.exit("the dataplane is kept out")
    if os.path.exists("/run/openvswitch/db.sock"):
        command = ["ovs-vsctl", "--timeout=2", "get", "Interface", os.path.basename(path)]
        answer = subprocess.run([*command, "type", "options:vhost-server-path"], capture_output=True, text=True)
        if "dpdkvhostuserclient" not in answer.stdout or path not in answer.stdout:
            sys.exit("no such port")
