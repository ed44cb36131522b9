// SPDX-License-Identifier: Apache-2.0
//! One look at the node: what runs on it, and both ends of every socket.

pub mod endpoints;
pub mod live;
