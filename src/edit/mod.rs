// SPDX-License-Identifier: Apache-2.0
//! Readers and byte-preserving editors of foreign text: pure functions over strings, no I/O.
//!
//! Each reads a file as the program that owns it does, its oddities included, and an edit leaves every byte alone that
//! is not the wanted key's.

pub mod domain;
pub mod logrotate;
pub mod shell;
pub mod unit;
pub mod virconf;
