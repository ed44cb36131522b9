// SPDX-License-Identifier: Apache-2.0
//! Readers of the node. A reader never writes, and says unknown rather than guess.

pub mod accounts;
pub mod carriers;
pub mod diag;
pub mod domains;
pub mod hooks;
pub mod hugepages;
mod known;
pub mod libvirt;
pub mod mounts;
pub mod owners;
pub mod paths;
pub mod processes;
pub mod sockets;
pub mod surroundings;
pub mod versions;

pub use known::Known;
