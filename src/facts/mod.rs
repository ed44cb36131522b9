// SPDX-License-Identifier: Apache-2.0
//! Readers of the node. A reader never writes, and says unknown rather than guess.

pub mod paths;
