// SPDX-License-Identifier: Apache-2.0
//! A second Open vSwitch: what is true of Open vSwitch is in its own folder.

pub use crate::dataplane::ovs::second::DRIVER;
