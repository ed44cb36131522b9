// SPDX-License-Identifier: Apache-2.0
//! What Open vSwitch's database says, over its own JSON-RPC (RFC 7047) on `db.sock`.
//!
//! Everything is bounded, for the other end may hang, babble or lie: one deadline for the whole conversation by the
//! monotonic clock, one limit for all bytes received.

mod client;
mod index;
mod join;
mod monitor;
mod ports;
pub mod report;
mod switch;
#[cfg(test)]
mod tests;
mod value;

pub use client::Ovsdb;
pub use index::PortIndex;
pub use join::{Join, Question};
pub use monitor::{Changed, ChangedPort, Monitor};
pub use ports::{PortState, VhostPort};
pub use switch::SwitchConfig;

use std::time::Duration;

/// OVSDB answers in milliseconds; a node that takes longer is reported as unknown.
pub const OVSDB_LIMIT: Duration = Duration::from_secs(2);
