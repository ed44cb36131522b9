// SPDX-License-Identifier: Apache-2.0
#![no_main]

#[path = "../properties.rs"]
#[allow(dead_code, reason = "the others' targets")]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::netlink(data));
