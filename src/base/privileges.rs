// SPDX-License-Identifier: Apache-2.0
//! Drops privileges where others run the program with input from guests and from a switch: as libvirt's hook, with all of
//! libvirtd's privileges, and in the dataplane's units, with all of root's.
//!
//! It only drops and never adds: a policy or a container may leave less than this. The bounding set is not changed: with
//! `no_new_privs` an executed program gains nothing (capabilities(7)), and shrinking the set needs `CAP_SETPCAP` and a call for
//! each capability before every VM's start.

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};

/// What stays, and why.
const KEPT: [CapabilitySet; 6] = [
    // To change the owner of sockets and directories.
    CapabilitySet::CHOWN,
    // To change their modes when they already belong to QEMU or the switch.
    CapabilitySet::FOWNER,
    // To keep the setgid bit of the socket directory, whose group root is not in.
    CapabilitySet::FSETID,
    // To reach the database's socket and stale sockets in directories of the switch's and QEMU's users.
    CapabilitySet::DAC_OVERRIDE,
    // To read these directories if a policy gives root no more than that.
    CapabilitySet::DAC_READ_SEARCH,
    // To read executable and descriptors of another user's process in /proc.
    CapabilitySet::SYS_PTRACE,
];

/// Drops everything else, for this thread, the threads that it starts and the programs that they execute. Call it before the
/// first thread. If the kernel refuses, the program runs with what it has.
pub fn give_up() {
    let kept = KEPT.into_iter().fold(CapabilitySet::empty(), |all, one| all | one);
    let _ = set_no_new_privs(true);
    let Ok(now) = capabilities(None) else { return };
    // An empty inheritable set empties the ambient set too.
    let _ = set_capabilities(
        None,
        CapabilitySets {
            effective: now.effective & kept,
            permitted: now.permitted & kept,
            inheritable: CapabilitySet::empty(),
        },
    );
}
