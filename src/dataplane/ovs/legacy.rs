// SPDX-License-Identifier: Apache-2.0
//! The in-place patches that deployers of 2016 to 2018 (TripleO Newton to Pike, OPNFV Apex) left in packaged OVS files.
//!
//! Their scripts did, to a unit: `sed s/RuntimeDirectoryMode=.*/RuntimeDirectoryMode=0775/` if the unit had such a line
//! and else append it; then append `Group=qemu` and `UMask=0002`, each as a whole line at the file's end. To ovs-ctl:
//! put `umask 0002 && ` in front of `start_daemon "$OVS_VSWITCHD_PRIORITY"`.
//!
//! **Patch or packager's own line?** No OVS release ships `User=`, `Group=`, `UMask=` or a `RuntimeDirectoryMode=` other
//! than 0755 in these units. A unit with `User=` is therefore not one the scripts met, and nothing in it is taken for a
//! patch. Otherwise:
//! - appended are the lines of exactly these three forms, bare of indentation, that run to the end of the file with
//!   nothing else but blank lines between them, if one of them is not a `Group=`, or is one of a group that the recipe is
//!   known with (qemu, libvirt-qemu, hugetlbfs): another group alone may be anyone's, with the others it is the patch;
//! - `RuntimeDirectoryMode=0775` anywhere else, in a unit that has `RuntimeDirectory=`, was 0755. At the end of the file
//!   it counts as changed, not appended, if it follows its `RuntimeDirectory=`: so ends the packaged ovsdb-server.service.

use std::fmt;

/// Which kind of file a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// `openvswitch-nonetwork.service`, `ovs-vswitchd.service`, `ovsdb-server.service`.
    Unit,
    /// `/usr/share/openvswitch/scripts/ovs-ctl`.
    OvsCtl,
}

/// What a patch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum What {
    /// `RuntimeDirectoryMode=` went from 0755 to 0775.
    ModeChanged,
    /// `RuntimeDirectoryMode=0775` was appended.
    ModeAppended,
    /// `Group=` was appended.
    GroupAppended,
    /// `UMask=0002` was appended.
    UmaskAppended,
    /// `umask 0002 && ` was put in front of the start of ovs-vswitchd.
    UmaskInCtl,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            What::ModeChanged => "RuntimeDirectoryMode= changed from 0755 to 0775",
            What::ModeAppended => "RuntimeDirectoryMode= appended",
            What::GroupAppended => "Group= appended",
            What::UmaskAppended => "UMask= appended",
            What::UmaskInCtl => "umask put in front of the start of ovs-vswitchd",
        })
    }
}

/// One patched line.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Patch {
    /// From 1.
    pub line: usize,
    /// The line as it is, without its end.
    pub text: String,
    /// What was done to it.
    pub what: What,
}

/// The patches in a packaged file, in its order; empty for a file as its package shipped it.
pub fn find(kind: Kind, text: &str) -> Vec<Patch> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let found = match kind {
        Kind::Unit => find_in_unit(&lines),
        Kind::OvsCtl => {
            let patched = (0..lines.len()).filter(|at| unpatched_ctl(&lines, *at).is_some());
            patched.map(|at| (at, What::UmaskInCtl)).collect()
        }
    };
    let patch = |(at, what): (usize, What)| Patch { line: at + 1, text: bare(lines[at]).to_owned(), what };
    found.into_iter().map(patch).collect()
}

/// The file as its package shipped it, as far as [`find`] sees it; every other byte stays. Doing it twice is doing it once.
pub fn undo(kind: Kind, text: &str) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let patches = find(kind, text);
    let mut out = String::with_capacity(text.len());
    for (at, line) in lines.iter().enumerate() {
        match patches.iter().find(|patch| patch.line == at + 1).map(|patch| patch.what) {
            None => out.push_str(line),
            Some(What::ModeChanged) => out.push_str(&line.replacen(MODE, PACKAGED_MODE, 1)),
            Some(What::UmaskInCtl) => out.push_str(&unpatched_ctl(&lines, at).unwrap_or_default()),
            Some(What::ModeAppended | What::GroupAppended | What::UmaskAppended) => {}
        }
    }
    out
}

const MODE: &str = "RuntimeDirectoryMode=0775";
const PACKAGED_MODE: &str = "RuntimeDirectoryMode=0755";
const KNOWN: [&str; 3] = ["Group=qemu", "Group=libvirt-qemu", "Group=hugetlbfs"];
const UMASK_IN_CTL: &str = "umask 0002 && ";
const START: &str = "start_daemon \"$OVS_VSWITCHD_PRIORITY\"";
const START_AS_WRITTEN: &str = "start_daemon \"$OVS_VSWITCHD_PRIORITY\" \"$OVS_VSWITCHD_WRAPPER\" \"$@\"";

fn bare(line: &str) -> &str {
    line.trim_end_matches(['\n', '\r'])
}

/// What a line would be if a script had appended it.
fn appended_form(line: &str) -> Option<What> {
    match bare(line) {
        MODE => Some(What::ModeAppended),
        "UMask=0002" => Some(What::UmaskAppended),
        line => {
            let group = line.strip_prefix("Group=")?;
            let named = !group.is_empty() && !group.contains(|c: char| c.is_whitespace() || c == '%');
            named.then_some(What::GroupAppended)
        }
    }
}

fn find_in_unit(lines: &[&str]) -> Vec<(usize, What)> {
    if lines.iter().any(|line| line.starts_with("User=")) {
        return Vec::new();
    }
    let appended = find_appended(lines);
    let keeps_directory = lines.iter().any(|line| line.starts_with("RuntimeDirectory="));
    let end = appended.first().map_or(lines.len(), |(at, _)| *at);
    let changed = (0..end).filter(|at| keeps_directory && bare(lines[*at]) == MODE);
    changed.map(|at| (at, What::ModeChanged)).chain(appended).collect()
}

/// The run of appended lines at the end, or nothing if it proves nothing.
fn find_appended(lines: &[&str]) -> Vec<(usize, What)> {
    let mut run = Vec::new();
    for at in (0..lines.len()).rev() {
        let before = lines[..at].iter().rfind(|line| !bare(line).is_empty()).map_or("", |line| bare(line));
        match appended_form(lines[at]) {
            _ if bare(lines[at]).is_empty() => {}
            Some(What::ModeAppended) if before.starts_with("RuntimeDirectory=") => break,
            // Part of the line above, whatever it looks like.
            Some(_) if before.ends_with('\\') => break,
            Some(what) => run.push((at, what)),
            None => break,
        }
    }
    let is_proof =
        |(at, what): &(usize, What)| *what != What::GroupAppended || KNOWN.contains(&bare(lines[*at]));
    let proven = run.iter().any(is_proof);
    run.reverse();
    if proven { run } else { Vec::new() }
}

/// The line `at` of ovs-ctl without the patch; None if it is not patched.
fn unpatched_ctl(lines: &[&str], at: usize) -> Option<String> {
    let line = lines[at];
    let indent = &line[..line.len() - line.trim_start().len()];
    let mut command = line.trim_start();
    while let Some(rest) = command.strip_prefix(UMASK_IN_CTL) {
        command = rest;
    }
    if command.len() == line.trim_start().len() || !command.starts_with(START) {
        return None;
    }
    // TripleO's sed wrote the whole rest of the line anew, and so lost the ` ||` of releases that go on with `return 1`
    // in the next one: nobody ships a start that always fails.
    let fails_always = lines.get(at + 1).is_some_and(|next| next.trim() == "return 1");
    if fails_always && bare(command) == START_AS_WRITTEN {
        let end = &command[START_AS_WRITTEN.len()..];
        return Some(format!("{indent}{START_AS_WRITTEN} ||{end}"));
    }
    Some(format!("{indent}{command}"))
}
