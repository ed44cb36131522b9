// SPDX-License-Identifier: Apache-2.0
//! vhost-accord makes a vhost-user dataplane (OVS-DPDK) and QEMU agree on who owns sockets, directories and hugepages.
//! The library exists for the program's own tests and benchmarks; the program is the interface.

pub mod change;
pub mod edit;
pub mod facts;
pub mod root;
pub mod systemd;
