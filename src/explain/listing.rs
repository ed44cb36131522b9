// SPDX-License-Identifier: Apache-2.0
//! What people paste beside a log: `ls -l`, mounts, file descriptors, settings. It tells between the causes of a message,
//! and some of it is a failure by itself.

use std::path::Path;

use super::{Class, Event, pattern, tables};

/// More are not kept.
const MOST: usize = 2000;

/// A line of `ls -l`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    mode: String,
    owner: String,
    group: String,
    path: String,
    line: String,
}

/// A line of mounts, in either form.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    path: String,
    kind: String,
    options: Vec<String>,
    line: String,
    /// Of fstab: not mounted yet.
    wish: bool,
}

/// A port of the switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    pub name: String,
    pub is_client: bool,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    entries: Vec<Entry>,
    mounts: Vec<Mount>,
    found: Vec<(String, Event)>,
    /// Ports as commands and `ovs-vsctl show` have them.
    pub(super) ports: Vec<Port>,
    /// The interface that `ovs-vsctl show` is at.
    interface: String,
    /// A directory that was removed and made anew is said to be elsewhere.
    other_inode: bool,
}

impl Listing {
    /// Is it a line of a listing or of settings?
    pub(super) fn take(&mut self, text: &str) -> bool {
        let text = text.trim();
        // What is commented out is no setting.
        if text.starts_with('#') && !text.starts_with("# chmod") {
            return false;
        }
        if self.entries.len() + self.mounts.len() + self.found.len() + self.ports.len() >= MOST
            || text.len() > 4096
        {
            return false;
        }
        self.other_inode |= text.contains("inode") || text.contains("RuntimeDirectoryPreserve=no");
        let mut known = self.port(text);
        let marked = format!("^{text}$");
        let is_it = |patterns: &[&str]| patterns.iter().any(|one| pattern::find(one, &marked).is_some());
        if let Some(fact) = tables::LISTED.iter().find(|fact| is_it(&fact.patterns)) {
            self.found
                .push((text.to_string(), event(fact.id, fact.class, None, fact.causes.concat(), fact.fix)));
            known = true;
        }
        if let Some(mount) = mount(text) {
            self.mounts.push(mount);
            return true;
        }
        if let Some(entry) = entry(text) {
            self.entries.push(entry);
            return true;
        }
        known
    }

    /// `add-port BRIDGE NAME -- set Interface NAME type=TYPE`, and the blocks of `ovs-vsctl show`.
    fn port(&mut self, text: &str) -> bool {
        if let Some(name) = text.strip_prefix("Interface ") {
            self.interface = name.trim_matches('"').to_string();
        }
        let Some(at) = text.find("dpdkvhostuser") else { return false };
        let before = text[..at].trim_end_matches([' ', ':', '=', '"']);
        if !before.ends_with("type") {
            return false;
        }
        let words: Vec<&str> = before.split_ascii_whitespace().collect();
        let name = words.iter().position(|word| *word == "Interface" || *word == "interface");
        let name = name.and_then(|at| words.get(at + 1)).map_or(self.interface.as_str(), |name| *name);
        let is_client = text[at..].starts_with("dpdkvhostuserclient");
        self.ports.push(Port { name: name.trim_matches('"').to_string(), is_client });
        true
    }

    /// What the listings show by themselves.
    pub(super) fn findings(&self) -> Vec<(String, Event)> {
        let mut found = self.found.clone();
        found.extend(self.mounts());
        for entry in self.entries.iter().filter(|entry| entry.mode.starts_with('s')) {
            found.extend(socket(entry));
        }
        found
    }

    fn mounts(&self) -> Vec<(String, Event)> {
        let mut found = Vec::new();
        let huge = |mount: &&Mount| mount.kind == "hugetlbfs";
        for (number, mount) in self.mounts.iter().enumerate().filter(|(_, mount)| huge(mount)) {
            let mut add = |id, cause: String, fix| {
                found.push((mount.line.clone(), event(id, Class::Memory, Some(&mount.path), cause, fix)));
            };
            let option = |name: &str| mount.options.iter().find_map(|option| option.strip_prefix(name));
            if let Some(size) = option("size=") {
                let cause =
                    format!("size={size}: VMs get no more through this mount, however many pages are free");
                let fix = "mount it without size=, or with one as large as the pages reserved";
                add("hugepages-capped", cause, fix);
            }
            if !mount.wish
                && self.mounts[..number].iter().any(|other| !other.wish && other.path == mount.path)
            {
                let cause = "mounted twice on the same directory: files of the first are hidden, and daemons started before see another filesystem than those after";
                let fix = "umount it once, remove one of the two that mount it (fstab, a script, a unit), restart libvirt's daemon and the switch";
                add("hugepages-stacked", cause.to_string(), fix);
            }
            let closed = option("mode=").filter(|mode| mode.ends_with('0'));
            if let (Some(mode), Some(gid)) = (closed, option("gid=")) {
                let cause = format!(
                    "mode={mode} and gid={gid}: only that group can search the mount. QEMU's user, if it is not in it, cannot reach libvirt/qemu below it: 'can't open backing store: Permission denied'"
                );
                let fix = "put QEMU's user into that group, then restart libvirt's daemon and the VM (a process keeps the groups it started with); or let others search it (mode=0755)";
                add("hugepages-closed", cause, fix);
            }
            for over in self.mounts.iter().filter(|over| over.kind != "hugetlbfs" && !over.wish) {
                if Path::new(&over.path).starts_with(&mount.path) && over.path != "/" {
                    let cause = format!(
                        "{} on {} covers a part of it: guest memory that is meant for huge pages goes into files of that filesystem (slow, on disk), without any error",
                        over.kind, over.path
                    );
                    let fix = "umount what covers it, and find what mounts it; or memory by memfd huge pages";
                    add("hugepages-masked", cause, fix);
                }
            }
        }
        found
    }

    /// What the listings say about a failure.
    pub(super) fn notes(&self, event: &Event) -> Vec<String> {
        let mut notes = Vec::new();
        let path = event.subject.as_deref().filter(|path| path.starts_with('/'));
        let (Some(path), Class::Permission | Class::Access | Class::Missing | Class::Stale) =
            (path, event.class)
        else {
            return notes;
        };
        for entry in &self.entries {
            let (kind, end) = (entry.mode.as_bytes()[0], &entry.path);
            if kind == b's' && end == path {
                notes.push(format!(
                    "the socket is {}: connecting takes write by that owner, that group or others",
                    entry.rights()
                ));
            } else if kind == b'd' && end.starts_with('/') && path.starts_with(end) && path != end {
                let inside = Path::new(path).starts_with(end);
                if !inside {
                    let rest = &path[end.len()..];
                    notes.push(format!("a '/' seems to be missing: the directory {end} is there, was {end}/{rest} meant? Correct the path; no directory above needs another owner or mode"));
                } else if !entry.mode[9..10].contains(['x', 't']) && event.class != Class::Missing {
                    notes.push(format!(
                        "{end} is {}: who is neither cannot search it, so nothing below it can be reached",
                        entry.rights()
                    ));
                }
            }
        }
        if event.id == "stale-mount" && self.other_inode {
            notes.push("what is listed shows the second cause: the directory has another inode in the container, or is removed at each restart (RuntimeDirectoryPreserve=no)".to_string());
        }
        notes
    }
}

impl Entry {
    fn rights(&self) -> String {
        format!("{} {}:{}", &self.mode[..10], self.owner, self.group)
    }
}

fn socket(entry: &Entry) -> Option<(String, Event)> {
    let (group, acl) = (&entry.mode[4..7], entry.mode.ends_with('+'));
    let subject = Some(entry.path.as_str());
    let found = if acl {
        let cause = format!(
            "the socket has an ACL ('+'): the group bits '{group}' are the ACL's mask, not the right of the group {}. A user or group that the ACL names with rw may connect",
            entry.group
        );
        event("socket-acl", Class::Harmless, subject, cause, "nothing; getfacl shows who may connect")
    } else if !group.contains('w') && !entry.mode[7..10].contains('w') {
        let cause = format!(
            "only the owner {} may connect (connecting needs write): the group {} has '{group}'",
            entry.owner, entry.group
        );
        let fix = "the mode by an option of what creates the socket (swtpm --ctrl mode=0660, virtiofsd --socket-group, UMask= of its unit); a chmod is lost at its next start";
        event("socket-group-without-write", Class::Permission, subject, cause, fix)
    } else {
        return None;
    };
    Some((entry.line.clone(), found))
}

/// `drwxr-xr-x. 2 root root 4096 Jan 10 10:00 NAME`.
fn entry(text: &str) -> Option<Entry> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let mode = *words.first()?;
    let is_mode = (10..=11).contains(&mode.len())
        && mode.is_ascii()
        && "dsl-cbp".contains(&mode[..1])
        && mode[1..10].bytes().all(|byte| b"rwxsStT-".contains(&byte));
    if !is_mode || words.len() < 8 {
        return None;
    }
    let arrow = words.iter().position(|word| *word == "->").unwrap_or(words.len());
    let path = *words.get(arrow.checked_sub(1)?)?;
    let (owner, group) = (words[2].to_string(), words[3].to_string());
    Some(Entry { mode: mode.to_string(), owner, group, path: path.to_string(), line: text.to_string() })
}

/// `DEVICE PATH TYPE OPTIONS 0 0`, and `DEVICE on PATH type TYPE (OPTIONS)`.
fn mount(text: &str) -> Option<Mount> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let (path, kind, options) = match words.as_slice() {
        [_, "on", path, "type", kind, options, ..] => (path, kind, options.trim_matches(['(', ')'])),
        [_, path, kind, options, one, two]
            if [one, two].iter().all(|word| word.bytes().all(|byte| byte.is_ascii_digit())) =>
        {
            (path, kind, *options)
        }
        _ => return None,
    };
    let options: Vec<String> = options.split(',').map(str::to_string).collect();
    // What the kernel prints has rw or ro first.
    let wish = !options.iter().any(|option| option == "rw" || option == "ro");
    path.starts_with('/').then(|| Mount {
        path: path.to_string(),
        kind: kind.to_string(),
        options,
        line: text.to_string(),
        wish,
    })
}

fn event(id: &'static str, class: Class, subject: Option<&str>, cause: String, fix: &'static str) -> Event {
    Event {
        subject: subject.map(str::to_string),
        key: subject.map_or_else(|| cause.clone(), str::to_string),
        causes: vec![cause],
        decide: "findmnt -t hugetlbfs -o TARGET,OPTIONS; stat -f -c %T DIRECTORY; getfacl PATH",
        fix,
        source: "mount(8), kernel fs/hugetlbfs; acl(5)",
        ..Event::new(id, class)
    }
}
