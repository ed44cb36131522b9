// SPDX-License-Identifier: Apache-2.0
//! Changes to sockets and directories of a running switch. They live as long as the process that created them, so none of
//! these changes is in the journal.

pub mod declared;
pub mod grant;
pub mod stale;
