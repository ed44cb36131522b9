// SPDX-License-Identifier: Apache-2.0
//! What is seen on a real node: systemd, OVS-DPDK, libvirt and QEMU, from their stock state, for every kind of node.
//! Left out by a plain `cargo test`; `make test` builds a node of the kind bookworm and runs what is for it, `make test-all`
//! the others.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "node/against.rs"]
mod against;
#[path = "node/agree.rs"]
mod agree;
#[path = "node/ansible.rs"]
mod ansible;
#[path = "node/canary.rs"]
mod canary;
#[path = "node/check.rs"]
mod check;
#[path = "node/compare.rs"]
mod compare;
#[path = "node/container.rs"]
mod container;
#[path = "node/conversion.rs"]
mod conversion;
#[path = "node/convert.rs"]
mod convert;
#[path = "node/convert_faults.rs"]
mod convert_faults;
#[cfg(target_arch = "x86_64")]
#[path = "node/crash.rs"]
mod crash;
#[path = "node/declared.rs"]
mod declared;
#[path = "node/drivers.rs"]
mod drivers;
#[path = "node/explain.rs"]
mod explain;
#[path = "node/extremes.rs"]
mod extremes;
#[path = "node/fake_ovsdb.rs"]
mod fake_ovsdb;
#[path = "node/first_boot.rs"]
mod first_boot;
#[path = "node/fixes.rs"]
mod fixes;
#[path = "node/foreign.rs"]
mod foreign;
#[path = "node/groups.rs"]
mod groups;
#[path = "node/hook.rs"]
mod hook;
#[path = "node/hostile.rs"]
mod hostile;
#[path = "node/input.rs"]
mod input;
#[path = "node/legacy.rs"]
mod legacy;
#[path = "node/load.rs"]
mod load;
#[path = "node/migration.rs"]
mod migration;
#[path = "node/osvif.rs"]
mod osvif;
#[path = "node/packages.rs"]
mod packages;
#[cfg(feature = "probe")]
#[path = "node/probe.rs"]
mod probe;
#[path = "node/prometheus.rs"]
mod prometheus;
#[path = "node/races.rs"]
mod races;
#[path = "node/restart.rs"]
mod restart;
#[path = "node/second.rs"]
mod second;
#[path = "node/sections.rs"]
mod sections;
#[path = "node/service.rs"]
mod service;
#[path = "node/silent.rs"]
mod silent;
#[path = "node/socket_unit.rs"]
mod socket_unit;
#[path = "node/sos.rs"]
mod sos;
#[path = "node/steps.rs"]
mod steps;
#[path = "node/support.rs"]
mod support;
#[path = "node/swap.rs"]
mod swap;
#[path = "node/texts.rs"]
mod texts;
#[path = "node/twins.rs"]
mod twins;
#[path = "node/users.rs"]
mod users;
#[path = "node/watch.rs"]
mod watch;
#[path = "node/watch_faults.rs"]
mod watch_faults;
#[path = "node/watch_told.rs"]
mod watch_told;
