// SPDX-License-Identifier: Apache-2.0
//! What is printed for one card.

use serde::Serialize;

use crate::config::PortType;
use crate::dataplane::ovs::ovsdb::PortState;
use crate::items::{Card, Side};

/// Where libvirt keeps the memory of VMs that were saved (libvirt: src/qemu/qemu_conf.c, `saveDir`).
pub const SAVED: &str = "/var/lib/libvirt/qemu/save";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It has the type already.
    Done,
    /// It cannot be converted.
    Blocked,
    /// It can be converted without a pause: the VM is off.
    Ready,
    /// It runs with the type already: only the definition must change.
    DefinitionOnly,
    /// It runs on the port: it must be saved and restored, or shut off first.
    Pause,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Done => "done",
            Verdict::Blocked => "blocked",
            Verdict::Ready => "ready",
            Verdict::DefinitionOnly => "definition-only",
            Verdict::Pause => "pause",
        }
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
