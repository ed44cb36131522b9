// SPDX-License-Identifier: Apache-2.0
//! What the program gives up where others run it: as libvirt's hook, which has all of libvirtd's rights, and in the
//! dataplane's units, which start it with all of root's. What is read there comes from guests and from a switch.
//!
//! It only gives up, and asks for nothing: where a policy or a container leaves less than this, less stays. The bounding
//! set is left as it is: with `no_new_privs` nothing that is executed gains what its caller has not (capabilities(7)), and
//! to shrink it takes `CAP_SETPCAP` and a call for each capability, in front of every VM's start.

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};

/// What stays, and why.
const KEPT: [CapabilitySet; 6] = [
    // Sockets and directories change hands.
    CapabilitySet::CHOWN,
    // Their modes are set while they are QEMU's or the switch's already.
    CapabilitySet::FOWNER,
    // The directory of the sockets stays setgid to a group that root is not in.
    CapabilitySet::FSETID,
    // The database's socket and the directories of stale sockets are those of the switch's and QEMU's users.
    CapabilitySet::DAC_OVERRIDE,
    // Their directories are looked at where a policy gives root no more than that.
    CapabilitySet::DAC_READ_SEARCH,
    // Of a process of another user, /proc shows executable and descriptors to nobody else.
    CapabilitySet::SYS_PTRACE,
];

/// Gives up everything but what is kept, for this thread and those it starts, and for whatever they execute. To be called
/// before the first of them. A refusal is no error: then it runs as it did.
pub fn give_up() {
    let kept = KEPT.into_iter().fold(CapabilitySet::empty(), |all, one| all | one);
    let _ = set_no_new_privs(true);
    let Ok(now) = capabilities(None) else { return };
    // The ambient set goes with the inheritable one.
    let _ = set_capabilities(
        None,
        CapabilitySets {
            effective: now.effective & kept,
            permitted: now.permitted & kept,
            inheritable: CapabilitySet::empty(),
        },
    );
}
