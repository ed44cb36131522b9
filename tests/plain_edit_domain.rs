// SPDX-License-Identifier: Apache-2.0
//! Turning interfaces of domains of every shape: what has to hold is the fuzzer's property of conversions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "fuzz/properties.rs"]
#[allow(dead_code, reason = "the others' properties")]
mod properties;

use proptest::prelude::*;

/// An interface as libvirt, people and tools write one.
fn interface() -> impl Strategy<Value = String> {
    let path = "/[a-z/_.\u{e4}-]{1,30}(&amp;|&lt;|&quot;|&apos;|&#47;|>)?[a-z0-9]{0,5}";
    let mode = prop_oneof![Just("client"), Just("server")];
    let quote = prop_oneof![Just('"'), Just('\'')];
    let blank = prop_oneof![Just(" "), Just("\n\t"), Just("  ")];
    let content = prop_oneof![
        Just(""),
        Just("\n  <reconnect enabled='yes' timeout='1'/>\n"),
        Just("<!-- mode='client' --><reconnect enabled=\"no\"></reconnect>"),
    ];
    (path, mode, quote, blank, content, any::<bool>()).prop_map(
        |(path, mode, quote, blank, content, first)| {
            let (mode, path) = (format!("mode={quote}{mode}{quote}"), format!("path = {quote}{path}{quote}"));
            let (one, other) = if first { (mode, path) } else { (path, mode) };
            format!(
                "<interface type='vhostuser'><source{blank}{one}{blank}{other}>{content}</source></interface>"
            )
        },
    )
}

fn device() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => interface(),
        1 => Just("<interface type='vhostuser'><backend type='passt'/></interface>".to_string()),
        1 => Just("<interface type='bridge'><source bridge='br0' path='/x' mode='client'/></interface>\r\n".to_string()),
        1 => Just("<disk type='vhostuser'><source type='unix' path='/run/openvswitch/d'/></disk>".to_string()),
    ]
}

proptest! {
    #[test]
    fn only_what_is_meant_changes_and_it_can_be_taken_back(
        path in "/[a-z]{1,9}[a-z<>&'\" \u{e4}]{0,9}",
        devices in prop::collection::vec(device(), 1..5),
    ) {
        let xml = format!("{path}\n<domain id='1'><name>x</name><devices>{}</devices></domain>\n", devices.concat());
        properties::conversion(xml.as_bytes());
    }
}
