// SPDX-License-Identifier: Apache-2.0
//! The identity that asks for access.

use serde::Serialize;

/// Overrides owner, mode and ACL (linux/capability.h).
pub const CAP_DAC_OVERRIDE: u32 = 1;
/// Reads any file, searches and reads any directory.
pub const CAP_DAC_READ_SEARCH: u32 = 2;
/// Acts as the owner: here, removes from a sticky directory.
pub const CAP_FOWNER: u32 = 3;

/// Every capability that Linux has up to 6.x (`CAP_CHECKPOINT_RESTORE` is the last, number 40).
const ALL_CAPABILITIES: u64 = (1 << 41) - 1;

/// What the kernel looks at in a process when it decides on a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// The filesystem uid (fourth of `Uid:` in /proc/PID/status), which follows the effective one.
    pub uid: u32,
    /// The filesystem gid (fourth of `Gid:`).
    pub gid: u32,
    /// The supplementary groups, in any order.
    pub groups: Vec<u32>,
    /// The effective capabilities (`CapEff:`) as held in the initial user namespace: a process in another one has none
    /// over files whose ids are not mapped there, and the caller passes 0.
    pub capabilities: u64,
}

impl Identity {
    /// A process without any capability.
    pub fn unprivileged(uid: u32, gid: u32, groups: Vec<u32>) -> Identity {
        Identity { uid, gid, groups, capabilities: 0 }
    }

    /// Root as systemd starts it, with every capability.
    pub fn root() -> Identity {
        Identity { uid: 0, gid: 0, groups: Vec::new(), capabilities: ALL_CAPABILITIES }
    }

    /// True when `gid` is its group or one of its supplementary groups.
    pub fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }

    /// True when it holds the capability of this number.
    pub fn has(&self, capability: u32) -> bool {
        capability < u64::BITS && self.capabilities & (1 << capability) != 0
    }

    /// True with `CAP_DAC_OVERRIDE`.
    pub fn has_dac_override(&self) -> bool {
        self.has(CAP_DAC_OVERRIDE)
    }
}
