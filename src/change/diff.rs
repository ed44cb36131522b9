// SPDX-License-Identifier: Apache-2.0
//! What a change would do, for people.

use std::fmt::Write as _;
use std::path::PathBuf;

use similar::algorithms::{Capture, Compact, Replace, myers};
use similar::udiff::UnifiedHunkHeader;
use similar::{DiffOp, group_diff_ops};

use super::Change;
use super::port::describe;
use crate::access::owner_text;
use crate::accord::item::{Conversion, Item, Link, Owner, Renumber};
use crate::edit::{legacy, logrotate, virconf};
use crate::facts::accounts::Accounts;
use crate::facts::carriers::Carrier;
use crate::facts::ovsdb::PortState;
use crate::facts::state::{FileState, LinkState, OwnerState, State};

/// Files and processes listed by name in a renumbering; the count is always given.
const LISTED: usize = 20;

/// The change as lines: a unified diff for text, before and after for owners and accounts.
pub fn diff(change: &Change, accounts: &Accounts) -> String {
    match (&change.item, &change.before) {
        (Item::Group(group), _) => format!("+ group {} with gid {}\n", group.name, group.gid),
        (Item::User(user), _) => format!("+ user {} with uid {}, group {}\n", user.name, user.uid, user.gid),
        (Item::Member(member), _) => format!("+ user {} in group {}\n", member.user, member.group),
        (Item::Renumber(item), State::Number { gid, files, processes, .. }) => {
            renumbering(item, gid.unwrap_or_default(), files, processes)
        }
        (Item::Owner(item), State::Owner { found }) => owner(item, found.as_ref(), accounts),
        (Item::File(item), State::File { found }) => {
            unified(&item.path.display().to_string(), found.as_ref(), &item.content)
        }
        (Item::Setting(item), State::File { found }) => {
            let old = found.as_ref().map_or("", |file| file.content.text());
            let path = item.path.display().to_string();
            match virconf::set_text(old, &item.key, &item.value) {
                Ok(new) => unified(&path, found.as_ref(), &new),
                Err(why) => format!("! {path}: {why}\n"),
            }
        }
        (Item::LogOwner(item), State::File { found }) => {
            let old = found.as_ref().map_or("", |file| file.content.text());
            let new = logrotate::set_owner(old, &item.user);
            unified(&item.path.display().to_string(), found.as_ref(), &new)
        }
        (Item::Unpatch(item), State::File { found }) => {
            let old = found.as_ref().map_or("", |file| file.content.text());
            unified(&item.path.display().to_string(), found.as_ref(), &legacy::undo(item.kind, old))
        }
        (Item::Link(item), State::Link { found }) => link(item, found.as_ref()),
        (Item::Conversion(item), State::Conversion { definition, ports }) => {
            conversion(item, definition.as_deref().unwrap_or_default(), ports)
        }
        (item, _) => format!("? {}\n", item.target()),
    }
}

fn renumbering(item: &Renumber, old: u32, files: &[PathBuf], processes: &[Carrier]) -> String {
    let Renumber { group, gid } = item;
    let mut text = format!("- group {group} has gid {old}\n");
    let _ = writeln!(text, "+ group {group} has gid {gid}, and so have its {} files:", files.len());
    let paths: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    listed(&mut text, &paths);
    if !processes.is_empty() {
        let count = processes.len();
        let _ = writeln!(text, "! {count} processes keep gid {old} until they are started again:");
        let names: Vec<String> =
            processes.iter().map(|process| format!("{} (pid {})", process.name, process.pid)).collect();
        listed(&mut text, &names);
    }
    text
}

fn listed(text: &mut String, entries: &[String]) {
    for entry in entries.iter().take(LISTED) {
        let _ = writeln!(text, "  {entry}");
    }
    if entries.len() > LISTED {
        let _ = writeln!(text, "  and {} more", entries.len() - LISTED);
    }
}

fn owner(item: &Owner, found: Option<&OwnerState>, accounts: &Accounts) -> String {
    let path = item.path.display();
    let now = found.map(|found| owner_text(accounts, found.uid, found.gid, found.mode));
    let base = found.map_or((0, 0, 0o755), |found| (found.uid, found.gid, found.mode));
    let (uid, gid, mode) =
        (item.uid.unwrap_or(base.0), item.gid.unwrap_or(base.1), item.mode.unwrap_or(base.2));
    let mut after = owner_text(accounts, uid, gid, mode);
    if now.as_ref() == Some(&after) {
        // Two numbers with one name, as while a group gets a new one.
        after = format!("{uid}:{gid} {mode:04o}");
    }
    match now {
        Some(now) => format!("- {path}  {now}\n+ {path}  {after}\n"),
        None => format!("+ {path}/  {after}\n"),
    }
}

fn link(item: &Link, found: Option<&LinkState>) -> String {
    let path = item.path.display();
    let before = match found {
        None => String::new(),
        Some(LinkState { target: Some(target) }) => format!("- {path} -> {}\n", target.display()),
        Some(LinkState { target: None }) => format!("! {path} is no symlink; move it away\n"),
    };
    format!("{before}+ {path} -> {}\n", item.target.display())
}

/// No line more than the ones that change and one beside them: a definition can hold passwords.
fn conversion(item: &Conversion, definition: &str, ports: &[PortState]) -> String {
    let name = format!("definition of VM {}", item.name);
    let mut text = hunks((&name, definition), (&name, &item.definition), 1);
    for port in &item.ports {
        let before = ports.iter().find(|before| before.name == port.name && *before != port);
        if let Some(before) = before {
            let (before, after) = (describe(before), describe(port));
            let _ = writeln!(text, "- port {}  {before}\n+ port {}  {after}", port.name, port.name);
        }
    }
    text
}

fn unified(path: &str, old: Option<&FileState>, new: &str) -> String {
    let text = old.map_or("", |file| file.content.text());
    let before = if old.is_some() { path } else { "/dev/null" };
    let body = hunks((before, text), (path, new), 2);
    match old {
        Some(file) if body.is_empty() => {
            format!("- {path}  {}:{} {:04o}\n+ {path}  0:0 0644\n", file.uid, file.gid, file.mode)
        }
        _ => body,
    }
}

/// A unified diff of two texts with their names; empty where they are equal. With one algorithm: similar's `TextDiff` links
/// all that there are, more than a tenth of the program.
fn hunks((old_name, old): (&str, &str), (new_name, new): (&str, &str), radius: usize) -> String {
    let [old, new] = [old, new].map(|text| text.split_inclusive('\n').collect::<Vec<_>>());
    let mut hook = Compact::new(Replace::new(Capture::new()), &old[..], &new[..]);
    let Ok(()) = myers::diff(&mut hook, &old[..], 0..old.len(), &new[..], 0..new.len());
    let mut text = String::new();
    let ops = hook.into_inner().into_inner().into_ops();
    for hunk in group_diff_ops(ops, radius).iter().filter(|hunk| !hunk.is_empty()) {
        if text.is_empty() {
            let _ = writeln!(text, "--- {old_name}\n+++ {new_name}");
        }
        let _ = writeln!(text, "{}", UnifiedHunkHeader::new(hunk));
        for op in hunk {
            let same = matches!(op, DiffOp::Equal { .. });
            lines(&mut text, if same { ' ' } else { '-' }, &old[op.old_range()]);
            lines(&mut text, '+', if same { &[] } else { &new[op.new_range()] });
        }
    }
    text
}

fn lines(text: &mut String, mark: char, lines: &[&str]) {
    for line in lines {
        let end = if line.ends_with('\n') { "" } else { "\n\\ No newline at end of file\n" };
        let _ = write!(text, "{mark}{line}{end}");
    }
}

#[cfg(test)]
mod tests {
    use super::hunks;

    /// What diff(1) gives with `-U 1`.
    #[test]
    fn hunks_are_those_of_diff() {
        let diff = |old, new| hunks(("a", old), ("b", new), 1);
        assert_eq!(diff("1\n2\n", "1\n2\n"), "");
        assert_eq!(diff("", "1\n2"), "--- a\n+++ b\n@@ -0,0 +1,2 @@\n+1\n+2\n\\ No newline at end of file\n");
        assert_eq!(
            diff("1\n2\n3\n4\n5\n6\n7\n8\n", "1\nx\n3\n4\n5\n6\n7\n8\n9\n"),
            "--- a\n+++ b\n@@ -1,3 +1,3 @@\n 1\n-2\n+x\n 3\n@@ -8 +8,2 @@\n 8\n+9\n"
        );
        assert_eq!(diff("1\n2\n", "2\n"), "--- a\n+++ b\n@@ -1,2 +1 @@\n-1\n 2\n");
    }
}
