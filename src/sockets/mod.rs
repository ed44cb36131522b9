// SPDX-License-Identifier: Apache-2.0
//! What is done to sockets and directories of a switch that runs. They live as long as the process that created them, so
//! none of it stands in the journal.

pub mod declared;
pub mod grant;
pub mod stale;
