// SPDX-License-Identifier: Apache-2.0
//! What the hook says: one line on standard error when it refuses, which libvirt shows to whoever starts the VM, and the
//! same with fields to the journal. Neither may block.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;

use crate::base::text::log_line;

/// journald's socket (systemd's "Native Journal Protocol").
const JOURNAL: &str = "/run/systemd/journal/socket";

/// `MESSAGE_ID` of each cause of a refusal: stable, for `journalctl MESSAGE_ID=` and whatever watches the journal.
pub const REFUSAL: &str = "2fb24473dd124bb4b81b3717f525429a";
/// `MESSAGE_ID` of a check that could not be carried out, at a VM's start or in the dataplane's units.
pub const CHECK_FAILED: &str = "7a5f4acfcc43489294db93092d466ee4";
/// `MESSAGE_ID` of a VM that ended.
pub const RELEASED: &str = "747b695752f84cd2ab7d5ff957830150";

/// `MESSAGE_ID` of an interface that was converted for a VM that came in.
pub const CONVERTED: &str = "d7639bb0719048b2b9402f798f4cdc22";

/// `MESSAGE_ID` of a socket that was granted to QEMU or to the dataplane while both run.
pub const GRANTED: &str = "ce48062af7204703846c1cc641626f6d";
/// `MESSAGE_ID` of a finding that began.
pub const FINDING_BEGUN: &str = "aa97fd87968c4df0933932b4feed9ed2";
/// `MESSAGE_ID` of a finding that ended.
pub const FINDING_ENDED: &str = "40d575d6c581494db2a97bcada7edb00";
/// `MESSAGE_ID` of a setting that another program changed, and that was restored.
pub const DRIFT_FIXED: &str = "cdffd922cc804f4581f7c39cbcd4a541";
/// `MESSAGE_ID` of a setting that is no longer fixed, because another program changes it again and again.
pub const TUG_OF_WAR: &str = "2b0b0a955f424207afc9e5fbb0ec5791";

/// syslog(3)'s levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// A VM was refused.
    Error = 3,
    /// A VM started although something is wrong.
    Warning = 4,
    /// Something was fixed.
    Notice = 5,
    /// A VM ended.
    Info = 6,
}

/// Writes to the user who starts the VM. A closed standard error is no error.
pub fn refuse(line: &str) {
    let _ = std::io::stderr().write_all(format!("{}\n", log_line(line)).as_bytes());
}

/// Writes the domain to standard output: libvirt uses it in place of its own.
pub fn hand_over(xml: &str) -> std::io::Result<()> {
    // Without the standard library's buffer, so that an error is seen here.
    std::fs::File::from(std::io::stdout().as_fd().try_clone_to_owned()?).write_all(xml.as_bytes())
}

/// Writes to the journal, if that does not block.
pub fn log(priority: Priority, message: &str, fields: &[(&str, &str)]) {
    let mut entry = format!("MESSAGE={}\n", log_line(message));
    entry.push_str(&format!("PRIORITY={}\nSYSLOG_IDENTIFIER=vhost-accord\n", priority as u8));
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        entry.push_str(&format!("{name}={}\n", log_line(value)));
    }
    let send = || -> std::io::Result<()> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.send_to(entry.as_bytes(), JOURNAL).map(drop)
    };
    // An error could be reported to nobody.
    let _ = send();
}
