// SPDX-License-Identifier: Apache-2.0
//! The one thing that is ever written to Open vSwitch's database.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::facts::ovsdb::Ovsdb;

/// Sets a key of the switch's `other_config`, or removes it (`None`). One transaction: readers never see it missing in
/// between. ovs-vswitchd reads most of these keys only when it starts.
pub fn set_other_config(ovsdb: &mut Ovsdb, key: &str, value: Option<&str>) -> Result<()> {
    ovsdb
        .transact(&[other_config_mutation(key, value)])
        .with_context(|| format!("setting other_config:{key}"))?;
    Ok(())
}

/// The operation that does it: an insert alone leaves a key that is there as it is.
fn other_config_mutation(key: &str, value: Option<&str>) -> Value {
    let mut mutations = vec![json!(["other_config", "delete", ["set", [key]]])];
    if let Some(value) = value {
        mutations.push(json!(["other_config", "insert", ["map", [[key, value]]]]));
    }
    json!({"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": mutations})
}
