// SPDX-License-Identifier: Apache-2.0
//! The lowest layer: what every layer needs. Nothing here knows what this program is for.

pub mod abort;
pub mod counters;
pub mod journald;
pub mod lock;
pub mod logging;
pub(crate) mod named;
pub mod notify;
pub mod parts;
pub mod paths;
pub mod privileges;
pub mod program;
pub mod progress;
pub mod root;
pub mod shell;
pub mod text;
pub mod time;
pub mod watchdog;
