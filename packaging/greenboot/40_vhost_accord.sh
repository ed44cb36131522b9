#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# For greenboot: logs at boot if this node is broken. A check in wanted.d never rolls a node back; a link to this file in
# /etc/greenboot/check/required.d does.
set -u
code=0
vhost-accord check || code=$?
# With advice, VMs work.
[ "$code" != 2 ] || exit 1
# A check that fails is no reason to roll back; it prints why.
exit 0
