// SPDX-License-Identifier: Apache-2.0
//! The only code that writes.

pub mod ovsdb;
