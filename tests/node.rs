// SPDX-License-Identifier: Apache-2.0
//! What is seen on a real node: systemd, OVS-DPDK, libvirt and QEMU, from their stock state, for every kind of node.
//! Left out by a plain `cargo test`; `make test` builds the nodes and runs these.

#[path = "node/agree.rs"]
mod agree;
#[path = "node/hook.rs"]
mod hook;
#[path = "node/support.rs"]
mod support;
