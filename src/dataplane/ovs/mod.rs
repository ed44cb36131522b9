// SPDX-License-Identifier: Apache-2.0
//! Open vSwitch with DPDK: its database, its daemons, its places.

pub mod control;
pub mod database;
pub mod fixes;
pub mod legacy;
pub mod modes;
pub mod ovsdb;
pub mod paths;
pub mod port;
pub mod remains;
pub mod second;
pub mod sockets;
pub mod units;
pub mod vswitchd;
