// SPDX-License-Identifier: Apache-2.0
//! Readers and editors of foreign text.

pub mod unit;
