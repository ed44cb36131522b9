// SPDX-License-Identifier: Apache-2.0
//! A sosreport in place of the node: files that sos copied, and what its commands said. Owners and modes come from listings
//! alone, for whoever unpacks a report owns the copies. Nothing is asked of what runs here, and no link is followed on
//! this machine: links are those of the node, resolved among the names of the report.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use anyhow::{Context, Result, bail};
use nix::sys::stat::{FileStat, SFlag, fstat};
use serde_json::Value;

use super::listing::{Listed, Listings};
use super::ss::{self, Stream};
use super::{Handle, Kind, open_entry};

/// What sos did: each command and the file that has its output (sos: report/manifest.py; since 4.0).
const MANIFEST: &str = "sos_reports/manifest.json";
/// No output that counts is larger.
const MOST: u64 = 64 << 20;

/// The report does not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotInReport(pub String);

const NOT_THERE: &str = "the report does not have ";

impl NotInReport {
    /// Whether a text is that of such an error.
    pub fn says(text: &str) -> bool {
        text.starts_with(NOT_THERE)
    }
}

impl fmt::Display for NotInReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NOT_THERE}{}", self.0)
    }
}

impl std::error::Error for NotInReport {}

/// `None` for what the report does not tell; any other error stays one.
pub fn told<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.chain().any(|cause| cause.is::<NotInReport>()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A report.
#[derive(Debug)]
pub struct Report {
    dir: OwnedFd,
    /// Commands as they were run, with the files that have their outputs.
    commands: Vec<(String, PathBuf)>,
    listings: Listings,
    /// Directories that something known is in.
    implied: HashSet<PathBuf>,
    users: HashMap<String, u32>,
    groups: HashMap<String, u32>,
    lacking: Mutex<BTreeSet<String>>,
    streams: OnceLock<Option<Vec<Stream>>>,
}

/// What a report tells of something that was found in it.
#[derive(Debug)]
pub struct Told {
    pub(super) report: Arc<Report>,
    listed: Option<Listed>,
    /// Owner and mode are in a listing.
    pub(super) is_known: bool,
    has_copy: bool,
}

impl Report {
    /// Reads what sos did and all listings.
    pub(super) fn open(dir: OwnedFd, outside: &Path) -> Result<Report> {
        let mut report = Report {
            dir,
            commands: Vec::new(),
            listings: Listings::default(),
            implied: HashSet::new(),
            users: HashMap::from([("root".to_string(), 0)]),
            groups: HashMap::from([("root".to_string(), 0)]),
            lacking: Mutex::default(),
            streams: OnceLock::new(),
        };
        let manifest =
            report.copy(Path::new(MANIFEST)).and_then(|copy| content(&copy).transpose()).transpose()?;
        let manifest = manifest.with_context(|| {
            format!(
                "{} is no unpacked sosreport: there is no {MANIFEST} in it (sos before 4.0 wrote none)",
                outside.display()
            )
        })?;
        let manifest: Value = serde_json::from_slice(&manifest).context(MANIFEST)?;
        report.commands = commands(&manifest);
        report.read_accounts();
        for (command, file) in report.commands.clone() {
            if let Some(output) = report.copy(&file).and_then(|copy| content(&copy).ok()?) {
                report.listings.take(&command, &output);
            }
        }
        let known = report.listings.entries.keys().chain(report.listings.whole.keys());
        // ls walks by name, so that the way to what is absent is no secret either.
        let known = known.chain(&report.listings.absent).filter_map(|path| path.parent());
        report.implied = known.flat_map(|path| path.ancestors().map(Path::to_path_buf)).collect();
        Ok(report)
    }

    /// Names of owners, for listings that have no numbers.
    fn read_accounts(&mut self) {
        let lines = |database: &str| {
            let mut text = self.outputs(&format!("getent {database}")).join("\n");
            let copy = self.copy(&Path::new("etc").join(database)).and_then(|copy| content(&copy).ok()?);
            text.push_str(&String::from_utf8_lossy(&copy.unwrap_or_default()));
            text
        };
        let id = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            Some((fields.first()?.to_string(), fields.get(2)?.parse().ok()?))
        };
        let (users, groups) = (lines("passwd"), lines("group"));
        self.users.extend(users.lines().filter_map(id));
        self.groups.extend(groups.lines().filter_map(id));
    }

    /// The output of the first command that begins with these words.
    pub fn output(&self, command: &str) -> Result<String> {
        let first = self.outputs(command).into_iter().next();
        first.ok_or_else(|| self.lacks(&format!("the output of '{command}'")))
    }

    /// The outputs of all commands that begin with these words.
    pub fn outputs(&self, command: &str) -> Vec<String> {
        self.said(command).into_iter().map(|(_, output)| output).collect()
    }

    /// The same with the whole commands.
    pub fn said(&self, command: &str) -> Vec<(String, String)> {
        let is_meant = |(run, _): &&(String, PathBuf)| {
            run.strip_prefix(command).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        let files = self.commands.iter().filter(is_meant);
        let read = |(run, file): &(String, PathBuf)| {
            let bytes = content(&self.copy(file)?).ok()??;
            Some((run.clone(), String::from_utf8_lossy(&bytes).into_owned()))
        };
        files.filter_map(read).collect()
    }

    /// The node's stream sockets with their peers and holders.
    pub fn streams(&self) -> Result<&[Stream]> {
        let read = || Some(ss::parse(&self.output("ss -xapne").ok()?));
        let read = self.streams.get_or_init(read).as_deref();
        read.ok_or_else(|| self.lacks("the output of 'ss -xapne'"))
    }

    /// The content of a file of the node that is no link.
    pub fn file(&self, path: &str) -> Result<String> {
        self.copy_of(path).ok_or_else(|| self.lacks(&format!("the content of {path}")))
    }

    /// The same where it may be missing.
    pub fn copy_of(&self, path: &str) -> Option<String> {
        let copy = content(&self.copy(Path::new(path.trim_start_matches('/')))?).ok()??;
        Some(String::from_utf8_lossy(&copy).into_owned())
    }

    /// Notes that something is not in the report, for an error.
    pub fn lacks(&self, what: &str) -> anyhow::Error {
        if let Ok(mut lacking) = self.lacking.lock() {
            lacking.insert(what.to_string());
        }
        NotInReport(what.to_string()).into()
    }

    /// All that was asked for and is not in the report.
    pub fn lacking(&self) -> Vec<String> {
        self.lacking.lock().map(|lacking| lacking.iter().cloned().collect()).unwrap_or_default()
    }

    /// What is at a path of the node on which no link is: `None` where the report says that there is nothing.
    pub(super) fn lookup(self: &Arc<Self>, path: &Path) -> Result<Option<Handle>> {
        let listed = self.listings.entries.get(path).cloned();
        let below = path.strip_prefix("/").unwrap_or(path);
        let copy = self.copy(below).or_else(|| self.copy(&other_name(below)?));
        if listed.is_none() && self.is_absent(path) {
            return Ok(None);
        }
        if listed.is_none() && copy.is_none() && !self.implied.contains(path) {
            return Err(self.lacks(&format!("{}", path.display())));
        }
        self.handle(path, listed, copy).map(Some)
    }

    /// There is nothing there, or its directory is known whole and has not that name.
    fn is_absent(&self, path: &Path) -> bool {
        let is_missing = |path: &Path| {
            let names = path.parent().and_then(|parent| self.listings.whole.get(parent));
            let unnamed = path.file_name().zip(names).is_some_and(|(name, names)| !names.contains(name));
            self.listings.absent.contains(path) || unnamed
        };
        path.ancestors().any(is_missing)
    }

    fn handle(
        self: &Arc<Self>,
        path: &Path,
        listed: Option<Listed>,
        copy: Option<OwnedFd>,
    ) -> Result<Handle> {
        let is_copied = copy.is_some();
        let fd = match copy {
            Some(copy) => copy,
            None => self.dir.try_clone()?,
        };
        let mut stat = fstat(&fd)?;
        let owner = listed
            .as_ref()
            .and_then(|listed| Some((id(&self.users, &listed.user)?, id(&self.groups, &listed.group)?)));
        let kind = stat.st_mode & SFlag::S_IFMT.bits();
        describe(&mut stat, path, listed.as_ref(), owner);
        // What the listing has as a file and the report as something else is not opened: it could be a FIFO.
        let has_copy = is_copied && kind == stat.st_mode & SFlag::S_IFMT.bits();
        let told = Told { report: Arc::clone(self), is_known: owner.is_some(), listed, has_copy };
        Ok(Handle { fd, path: path.to_path_buf(), stat, told: Some(Box::new(told)) })
    }

    /// The copy of a file, no link followed on the way to it or at its end.
    fn copy(&self, below: &Path) -> Option<OwnedFd> {
        let mut at = self.dir.try_clone().ok()?;
        for component in below.components() {
            let Component::Normal(name) = component else { return None };
            at = open_entry(&at, name).ok()??;
        }
        Some(at)
    }
}

impl Told {
    /// What is known, or an error that names what the report lacks of the path.
    fn need<T>(&self, found: Option<T>, what: &str, path: &Path) -> Result<T> {
        found.ok_or_else(|| self.report.lacks(&format!("{what} {}", path.display())))
    }

    /// Fails where owner and mode are not in any listing.
    pub(super) fn known(&self, path: &Path) -> Result<()> {
        self.need(self.is_known.then_some(()), "owner and mode of", path)
    }

    /// When it was written, in nanoseconds since 1970.
    pub(super) fn modified(&self, path: &Path) -> Result<i128> {
        self.need(self.listed.as_ref().and_then(|listed| listed.modified), "the time of", path)
    }

    pub(super) fn inode(&self, path: &Path) -> Result<u64> {
        self.need(self.listed.as_ref().and_then(|listed| listed.inode), "the inode of", path)
    }

    /// Fails where there is no copy to read.
    pub(super) fn copied(&self, path: &Path) -> Result<()> {
        self.need(self.has_copy.then_some(()), "the content of", path)
    }

    pub(super) fn target(&self) -> Option<PathBuf> {
        self.listed.as_ref().and_then(|listed| listed.target.clone())
    }

    /// All names of a directory that was listed; `None` where there are only those of its copy.
    pub(super) fn names(&self, path: &Path) -> Result<Option<Vec<OsString>>> {
        if let Some(names) = self.report.listings.whole.get(path) {
            return Ok(Some(names.iter().cloned().collect()));
        }
        self.need(self.has_copy.then_some(None), "the names in", path)
    }

    /// The security label, as its attribute has it.
    pub(super) fn label(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        let label = self.listed.as_ref().and_then(|listed| listed.label.as_deref());
        let label = self.need(label, "the label of", path)?;
        Ok((label != "?").then(|| label.as_bytes().to_vec()))
    }

    /// The entries of an ACL.
    pub(super) fn acl(&self, path: &Path, is_default: bool) -> Result<Option<&[String]>> {
        match (&self.listed, self.report.listings.acls.get(path)) {
            (Some(listed), _) if !listed.has_acl => Ok(None),
            (_, acls) => {
                self.need(acls.map(|acls| acls[usize::from(is_default)].as_deref()), "the ACL of", path)
            }
        }
    }
}

/// A number, or a name that the report's account files have.
fn id(known: &HashMap<String, u32>, text: &str) -> Option<u32> {
    text.parse().ok().or_else(|| known.get(text).copied())
}

/// The node's attributes over those of the copy.
fn describe(stat: &mut FileStat, path: &Path, listed: Option<&Listed>, owner: Option<(u32, u32)>) {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    // No two paths are the same object, whatever filesystems they are on.
    stat.st_dev = hasher.finish();
    stat.st_nlink = 1;
    let kind = stat.st_mode & SFlag::S_IFMT.bits();
    let Some(listed) = listed else {
        (stat.st_mode, stat.st_uid, stat.st_gid) = (kind, u32::MAX, u32::MAX);
        return;
    };
    let kind = match listed.kind {
        Kind::Directory => SFlag::S_IFDIR,
        Kind::File => SFlag::S_IFREG,
        Kind::Symlink => SFlag::S_IFLNK,
        Kind::Socket => SFlag::S_IFSOCK,
        Kind::Other => SFlag::S_IFCHR,
    };
    stat.st_mode = kind.bits() | listed.mode;
    (stat.st_uid, stat.st_gid) = owner.unwrap_or((u32::MAX, u32::MAX));
    stat.st_ino = listed.inode.unwrap_or(stat.st_dev);
    let modified = listed.modified.unwrap_or_default();
    stat.st_mtime = modified.div_euclid(1_000_000_000) as i64;
    stat.st_mtime_nsec = modified.rem_euclid(1_000_000_000) as i64;
}

/// Where `/usr` is merged, `/lib` and `/usr/lib` are one directory, and sos has it by the name that it was asked for.
fn other_name(below: &Path) -> Option<PathBuf> {
    let rest = below.strip_prefix("usr").ok()?;
    ["lib", "lib64", "bin", "sbin"].iter().any(|name| rest.starts_with(name)).then(|| rest.to_path_buf())
}

fn content(copy: &OwnedFd) -> Result<Option<Vec<u8>>> {
    let stat = fstat(copy)?;
    if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
        return Ok(None);
    }
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(copy));
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST {
        bail!("a file of the report is larger than {} MiB", MOST >> 20);
    }
    Ok(Some(bytes))
}

/// Every command of every plugin that has an output.
fn commands(manifest: &Value) -> Vec<(String, PathBuf)> {
    let plugins = manifest["components"]["report"]["plugins"].as_object();
    let commands = plugins.into_iter().flat_map(|plugins| plugins.values());
    let commands = commands.filter_map(|plugin| plugin["commands"].as_array()).flatten();
    let command = |command: &Value| {
        let run = command["exec"].as_str()?.split_whitespace().collect::<Vec<_>>().join(" ");
        Some((run, PathBuf::from(command["filepath"].as_str()?)))
    };
    commands.filter_map(command).collect()
}
