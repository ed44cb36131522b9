// SPDX-License-Identifier: Apache-2.0
//! What an apply changes on a node, on disk and in systemd, looked at in a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Command;

/// Whose drop-ins come and go.
const UNITS: [&str; 4] =
    ["ovs-vswitchd.service", "ovsdb-server.service", "dev-hugepages.mount", "openvswitch-switch.service"];

/// What is beside them.
const THERE: &str = "there";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    files: BTreeMap<String, String>,
    systemd: String,
}

impl State {
    /// Of these paths, and of what else is in their directories: nothing may be left there.
    pub fn now(paths: &[String]) -> State {
        let mut files = BTreeMap::new();
        let parents: BTreeSet<_> = paths.iter().filter_map(|path| Path::new(path).parent()).collect();
        for entry in parents.into_iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten() {
            files.insert(entry.unwrap().path().to_string_lossy().into_owned(), THERE.to_string());
        }
        files.extend(paths.iter().filter_map(|path| Some((path.clone(), described(Path::new(path))?))));
        State { files, systemd: units() }
    }

    /// A regular file or a link, as it is.
    pub fn file(&self, path: &str) -> Option<&String> {
        self.files.get(path).filter(|text| text.starts_with("file ") || text.starts_with("link "))
    }

    /// Expects `now` to be this state, but for paths that are `free`.
    pub fn same(&self, now: &State, free: impl Fn(&str) -> bool) -> Result<(), String> {
        let mut paths = self.files.keys().chain(now.files.keys()).filter(|path| !free(path));
        if let Some(path) = paths.find(|path| self.files.get(*path) != now.files.get(*path)) {
            return Err(format!("{path}: {:?}, not {:?}", now.files.get(path), self.files.get(path)));
        }
        let same = self.systemd == now.systemd;
        if same { Ok(()) } else { Err(format!("systemd: {}, not {}", now.systemd, self.systemd)) }
    }

    /// The same for states that differ in the numbers of processes alone.
    pub fn key(&self) -> String {
        let known = |(path, text): (&String, &String)| match text == THERE {
            true => path.replace(|c: char| c.is_ascii_digit(), ""),
            false => format!("{path} {text}"),
        };
        self.files.iter().map(known).collect::<Vec<_>>().join("\n") + &self.systemd
    }
}

/// The program's own book-keeping, which tells how it came to a state.
pub fn is_ours(path: &str) -> bool {
    path.starts_with("/var/lib/vhost-accord") || path == "/run/vhost-accord.lock"
}

/// The backups that shadow's tools keep of the databases, for themselves.
pub fn is_backup(path: &str) -> bool {
    ["/etc/group-", "/etc/gshadow-"].contains(&path)
}

fn described(path: &Path) -> Option<String> {
    let state = fs::symlink_metadata(path).ok()?;
    let (kind, content) = match state.file_type() {
        kind if kind.is_file() => ("file", String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()),
        kind if kind.is_symlink() => ("link", format!("{:?}", fs::read_link(path).unwrap())),
        kind if kind.is_socket() => ("socket", String::new()),
        _ => ("other", String::new()),
    };
    let names = xattr::list(path).unwrap();
    let xattrs: Vec<_> = names.map(|name| (name.clone(), xattr::get(path, &name).unwrap())).collect();
    Some(format!("{kind} {:o} {}:{} {xattrs:?}\n{content}", state.mode(), state.uid(), state.gid()))
}

/// What systemd has read: it waits until a reload is done.
fn units() -> String {
    let words = ["show", "-p", "Id,NeedDaemonReload,DropInPaths"];
    let output = Command::new("systemctl").args(words).args(UNITS).output().unwrap();
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}
