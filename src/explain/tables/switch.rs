// SPDX-License-Identifier: Apache-2.0
//! What Open vSwitch says of its ports and of DPDK in it. Formats: lib/netdev-dpdk.c, lib/dpdk*.c, vswitchd/bridge.c,
//! utilities/ovs-vsctl.c of OVS 2.5 to 4.0.

use super::*;

pub(super) const SIGNATURES: &[Signature] = &[
    known("build-without-dpdk", Unsupported, &[
        "DPDK not supported in this copy of Open vSwitch",
        "DPDK support not built into this copy of Open vSwitch",
        "DPDK was not enabled",
        "dpdk-init is set but",
        "could not open network device {} (Address family not supported by protocol)",
        "could not create netdev {} of unknown type",
        "netdev type '{}' is unknown",
        "unknown netdev type",
    ], &[
        "this ovs-vswitchd is the build without DPDK: on Debian and Ubuntu update-alternatives chooses it before openvswitch-switch-dpdk's; on Fedora and RHEL the package is another",
        "DPDK did not come up, or other_config:dpdk-init is not set: then the port's type is unknown too",
    ])
    .findings(&["dpdk-not-initialized"])
    .decide("ovs-vswitchd --version | grep DPDK; update-alternatives --display ovs-vswitchd; ovs-vsctl get Open_vSwitch . dpdk_initialized")
    .fix("update-alternatives --set ovs-vswitchd /usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk, ovs-vsctl set Open_vSwitch . other_config:dpdk-init=true, then restart the switch")
    .source("OVS lib/dpdk-stub.c, lib/netdev.c"),
    known("dpdk-disabled", Setting, &["DPDK Disabled - Use other_config:dpdk-init to enable", "DPDK is disabled"], &[
        "other_config:dpdk-init is not set: the switch has no DPDK and no vhost-user ports",
    ])
    .findings(&["dpdk-not-initialized"])
    .decide("ovs-vsctl get Open_vSwitch . other_config")
    .fix("ovs-vsctl set Open_vSwitch . other_config:dpdk-init=true, then restart the switch")
    .source("OVS lib/dpdk.c"),
    known("port-removed-while-attached", Stale, &[
        "Removing port '{}' while vhost device still attached",
        "To restore connectivity after re-adding of port, VM on socket '{}' must be restarted",
    ], &["a dpdkvhostuser port was taken away under a running VM: it has no network until it is started again"])
        .decide("virsh list; ovs-vsctl show")
        .fix("start the VM again; dpdkvhostuserclient ports do not need it")
        .source("OVS lib/netdev-dpdk.c"),
    known("deprecated-port", Harmless, &["dpdkvhostuser ports are considered deprecated"], &[
        "advice of the switch: QEMU does not connect again to such a port after a restart of the switch",
    ])
    .fix("nothing now; dpdkvhostuserclient ports when it suits")
    .source("OVS lib/netdev-dpdk.c"),
    known("sock-dir-missing", Missing, &["vhost-user sock directory '{}' does not exist", "vhost-user sock directory request '{}' has invalid"], &[
        "other_config:vhost-sock-dir names a directory below the switch's run directory that does not exist, or has '..' in it",
    ])
    .findings(&["vhost-sock-dir-invalid"])
    .decide("ovs-vsctl get Open_vSwitch . other_config:vhost-sock-dir")
    .fix("create it by tmpfiles.d, or take the setting back")
    .source("OVS lib/dpdk.c"),
    known("port-not-made", Stale, &[
        "vhost-user socket device setup failure for socket {}",
        "vhost-user device setup failure for device {}",
        "rte_vhost_driver_register failed",
        "rte_vhost_driver_start failed",
        "rte_vhost_driver_callback_register failed",
        "Starting of vhost driver for port {} failed",
    ], &["the switch could not make the port's socket: the line before says why (file in the way, permission, limit)"])
        .findings(&["server-socket-stale", "run-directory-owner"])
        .decide("the VHOST_CONFIG line before")
        .fix("what the line before says, then plug the port again")
        .source("OVS lib/netdev-dpdk.c"),
    known("port-without-device", Missing, &[
        "could not open network device {} (No such device)",
        "could not set configuration (No such device)",
    ], &[
        "a port of the database whose device is not there: the network device of a container or VM that is gone (left in the database), or not there yet",
        "a port of type dpdk whose card is not bound to a driver that DPDK can use (options:dpdk-devargs)",
    ])
    .decide("ovs-vsctl --columns=name,type,options,error find Interface; ip link; driverctl list-devices")
    .fix("ovs-vsctl --if-exists del-port for one that is left over; bind the card for a dpdk port. A vhost-user port has no device, and is not meant")
    .source("OVS vswitchd/bridge.c"),
    known("port-mtu", Setting, &["MTU ({*}) setup error", "Requested MTU"], &[
        "the port cannot have this MTU: more than the card or DPDK's buffers take (mtu_request), or no memory for packets of that size",
    ])
    .decide("ovs-vsctl --columns=name,mtu,mtu_request find Interface")
    .fix("a smaller mtu_request, or more dpdk-socket-mem")
    .source("OVS lib/netdev-dpdk.c"),
    known("port-refused", Setting, &[
        "could not set configuration ({*})",
        "could not add network device {} to ofproto ({*})",
        "could not open network device {} (Invalid argument)",
        "could not open network device {} (Cannot allocate memory)",
        "Error detected while setting up '{}'",
        "failed to set up vhost",
        "is not a valid vhost-user port name",
        "Invalid port name",
    ], &[
        "the switch took the port's row and could not make the port: the lines just before in ovs-vswitchd.log say why (DPDK not up, no memory, wrong option, path in use)",
        "the bridge has not datapath_type=netdev, which such ports need",
    ])
    .decide("ovs-vsctl --columns=name,type,error find Interface; ovs-vsctl --columns=name,datapath_type list Bridge; ovs-vswitchd.log")
    .fix("what the column error says; ovs-vsctl set Bridge NAME datapath_type=netdev")
    .source("OVS vswitchd/bridge.c, utilities/ovs-vsctl.c"),
    known("no-bridge", Missing, &["no bridge named {}", "no port named {}", "no row \"{}\" in table", "no interface named {}"], &[
        "the command names something that this switch does not have: another switch's (container), or not made yet",
    ])
    .decide("ovs-vsctl show; ss -xlp | grep db.sock")
    .fix("create it, or ask the right switch (--db=unix:PATH)")
    .source("OVS utilities/ovs-vsctl.c"),
    known("port-exists", Setting, &["cannot create a port named {} because", "cannot create a bridge named {} because", "could not create {*} (File exists)"], &[
        "a port of this name is there already, perhaps on another bridge or left from an earlier VM",
    ])
    .decide("ovs-vsctl port-to-br NAME")
    .fix("--may-exist, or ovs-vsctl --if-exists del-port if no VM uses it")
    .source("OVS utilities/ovs-vsctl.c"),
    known("controller-denied", Permission, &["|WARN|unix:{}: connection failed (Permission denied)", "unix:{}: connection failed (Permission denied)"], &[
        "a third program (ovn-controller, an agent) lost its way into the switch's run directory when that changed its owner",
    ])
    .findings(&["run-directory-owner"])
    .decide("ls -ld /run/openvswitch; ls -l /run/openvswitch/*.mgmt")
    .fix("leave the run directory as the package has it (vhost-user sockets belong into a directory of their own), or run that program with the switch's group")
    .source("OVS lib/rconn.c"),
    known("controller-missing", Harmless, &["rconn|WARN|{}: connection failed", "rconn|WARN|{}: connection dropped", "reconnect|WARN|{}: connection"], &[
        "the switch or an agent tries to reach its controller or database: not a vhost-user port",
    ])
    .decide("ovs-vsctl get-controller BRIDGE")
    .fix("nothing for vhost-user")
    .source("OVS lib/rconn.c"),
    known("ovs-command-timeout", Transient, &["ovs-vsctl timed out", "terminating with signal 14 (Alarm clock)", "ovs-vsctl: {*}timeout", "Command exceeded timeout"], &[
        "ovs-vsctl waited for ovs-vswitchd, which did not take the change in time: it is down, starting, or blocked (DPDK's start and many ports take long)",
    ])
    .decide("systemctl status ovs-vswitchd; ovs-appctl -t ovs-vswitchd version")
    .fix("start the switch, or wait for it; --no-wait only if nobody needs the result")
    .source("OVS lib/timeval.c"),
];
