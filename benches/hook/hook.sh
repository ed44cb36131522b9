#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The hook as it would be written in a shell with the usual tools: endpoints, roles, directory, identity, memory.
xml=$(cat)
[[ $2 == start ]] || exit 0
grep -q vhostuser <<<"$xml" || exit 0
label=$(sed -n "s/.*<label>+\([0-9]*\):+\([0-9]*\)<.*/\1 \2/p" <<<"$xml")
read -r uid gid <<<"$label"
grep -q "access mode='shared'" <<<"$xml" || { echo "memory is not shared" >&2; exit 1; }
pid=$(cat /run/openvswitch/ovs-vswitchd.pid) && ovs_gid=$(awk '/^Gid:/{print $3}' "/proc/$pid/status")
free=$(cat /sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages)
((free >= 2)) || { echo "no huge pages" >&2; exit 1; }
while read -r path mode; do
    name=${path##*/} directory=${path%/*}
    ((${#path} <= 107)) || exit 1
    read -r owner group bits <<<"$(stat -c '%u %g %a' "$directory")"
    [[ $owner == "$uid" || $group == "$gid" ]] || exit 1
    [[ $mode != server || $bits == 2* || $gid == "$ovs_gid" ]] || exit 1
    if [[ -S /run/openvswitch/db.sock ]]; then
        found=$(ovs-vsctl --timeout=2 get Interface "$name" type options:vhost-server-path) || exit 1
        [[ $found == *dpdkvhostuserclient*"$path"* ]] || exit 1
    fi
done < <(grep -o "<source type='unix' path='[^']*' mode='[^']*'" <<<"$xml" | sed "s/.*path='\([^']*\)' mode='\([^']*\)'/\1 \2/")
exit 0
