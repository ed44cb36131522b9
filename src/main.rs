// SPDX-License-Identifier: Apache-2.0
//! The program's entry.

fn main() {}
