// SPDX-License-Identifier: Apache-2.0
//! Readers of the node. A reader never writes, and says unknown rather than guess.

pub mod accounts;
pub mod carriers;
pub mod control;
pub mod conversion;
pub mod database;
pub mod domains;
pub mod endpoints;
pub mod hooks;
pub mod hugepages;
mod known;
pub mod libvirt;
pub mod live;
pub mod mounts;
pub mod ovsdb;
pub mod paths;
pub mod processes;
pub mod sockets;
pub mod state;
pub mod surroundings;
pub mod versions;
pub mod vswitchd;

pub use known::Known;
