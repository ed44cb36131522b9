// SPDX-License-Identifier: Apache-2.0
//! Readers of the node. A reader never writes, and says *unknown* rather than guess.

pub mod domains;
mod known;
pub mod mounts;
pub mod ovsdb;
pub mod processes;
pub mod sockets;

pub use known::Known;
