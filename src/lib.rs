// SPDX-License-Identifier: Apache-2.0
//! vhost-accord gives sockets, directories and hugepages the owners and modes that a vhost-user dataplane (OVS-DPDK) and QEMU need.
//! The library exists for the program's own tests and benchmarks; the program is the interface.

pub mod access;
pub mod accord;
pub mod arrivals;
pub mod base;
pub mod cli;
pub mod command;
pub mod config;
pub mod convert;
pub mod dataplane;
#[cfg(feature = "probe")]
mod demo;
pub mod edit;
pub mod explain;
pub mod facts;
pub mod fingerprint;
pub mod fixes;
pub mod fleet;
pub mod hook;
pub mod items;
pub mod journal;
pub mod node;
#[cfg(feature = "probe")]
pub mod probe;
pub mod profile;
pub mod report;
pub mod rules;
pub mod sockets;
pub mod survey;
pub mod systemd;
#[cfg(feature = "probe")]
mod vhost_user;
pub mod watch;
pub mod write;
