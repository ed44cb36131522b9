// SPDX-License-Identifier: Apache-2.0
//! What is printed for one card.

use serde::Serialize;

use crate::base::named::named;
use crate::config::PortType;
use crate::dataplane::ovs::ovsdb::PortState;
use crate::items::{Card, Side};

/// Where libvirt keeps the memory of VMs that were saved (libvirt: src/qemu/qemu_conf.c, `saveDir`).
pub const SAVED: &str = "/var/lib/libvirt/qemu/save";

named! {
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Verdict {
        /// It has the type already.
        Done = "done",
        /// It cannot be converted.
        Blocked = "blocked",
        /// It can be converted without a pause: the VM is off.
        Ready = "ready",
        /// It runs with the type already: only the definition must change.
        DefinitionOnly = "definition-only",
        /// It runs on the port: it must be saved and restored, or shut off first.
        Pause = "pause",
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub vm: String,
    /// `off`, `saved` or `running`.
    pub state: &'static str,
    /// The guest's address.
    pub mac: Option<String>,
    pub definition: Option<Side>,
    pub running: Option<Side>,
    pub port: Option<PortRow>,
    pub verdict: Verdict,
    pub blocked: Option<String>,
    /// What to do, or what will be done.
    pub steps: Vec<String>,
    #[serde(skip)]
    pub turn: Option<(Card, Option<PortState>)>,
}

#[derive(Debug, Clone, Serialize)]
pub struct PortRow {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: PortType,
    /// `nova` (os-vif made it) or `hand`.
    pub made_by: &'static str,
}
