// SPDX-License-Identifier: Apache-2.0
//! Open vSwitch with DPDK: its database, its daemons, its places.

pub mod control;
pub mod database;
pub mod ovsdb;
pub mod paths;
pub mod sockets;
pub mod vswitchd;
