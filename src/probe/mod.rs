// SPDX-License-Identifier: Apache-2.0
//! Tests the node for real: children take the identities of dataplane and QEMU. One creates a socket where the accord says, the
//! other connects; they negotiate vhost-user, share memory and pass a frame each way. Sockets of ports are never connected to;
//! the kernel is asked whether the other side may.

mod child;
mod order;
mod party;
pub mod plan;
mod stage;
mod switch;
mod traces;
mod trial;
mod who;

pub use child::serve;
pub use order::{Side, Step};
pub use stage::run;
pub use switch::Switch;
pub use traces::{NAME, sweep};
pub use trial::{Done, Failed, Huge, Report, Signals, Trial};
pub use who::Who;
