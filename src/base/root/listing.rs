// SPDX-License-Identifier: Apache-2.0
//! What `ls -l` and `getfacl` say of files (coreutils, acl): a report has owners and modes nowhere else.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::Kind;
use crate::base::time::since_1970;

/// One line of `ls -l`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is.
    pub kind: Kind,
    /// Its inode, with `-i`.
    pub inode: Option<u64>,
    /// The permission bits.
    pub mode: u32,
    /// Its owner, a name without `-n`.
    pub user: String,
    /// Its group.
    pub group: String,
    /// What it leads to, for a symlink.
    pub target: Option<PathBuf>,
    /// When it was written, in nanoseconds since 1970, with `--time-style=full-iso`.
    pub modified: Option<i128>,
    /// It has an ACL besides the mode.
    pub has_acl: bool,
    /// Its security label with `-Z`; `?` where it has none.
    pub label: Option<String>,
}

/// What all listings of a report say together.
#[derive(Debug, Default)]
pub struct Listings {
    /// By path.
    pub entries: HashMap<PathBuf, Listed>,
    /// Directories of which every name is known.
    pub whole: HashMap<PathBuf, BTreeSet<OsString>>,
    /// Paths at which there is nothing.
    pub absent: HashSet<PathBuf>,
    /// Entries of access and default ACLs, `user:1000:rw-`.
    pub acls: HashMap<PathBuf, [Option<Vec<String>>; 2]>,
}

impl Listings {
    /// Takes the output of a command, if it is one that lists.
    pub fn take(&mut self, command: &str, output: &[u8]) {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.first().map(|program| program.rsplit('/').next().unwrap_or_default()) {
            Some("ls") => self.take_ls(&words[1..], output),
            Some("getfacl") => self.take_acls(output),
            _ => {}
        }
    }

    fn take_ls(&mut self, words: &[&str], output: &[u8]) {
        let (options, paths): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.starts_with('-'));
        let has = |letter| options.iter().any(|word| !word.starts_with("--") && word.contains(letter));
        if !has('l') {
            return;
        }
        // Without -a, what begins with a dot is left out; names are not all.
        let is_whole = has('a') && !has('d');
        let mut directory = match paths[..] {
            [only] if !has('d') => Some(plain(only)),
            _ => None,
        };
        let form = Form { inode: has('i'), context: has('Z'), escaped: has('b') };
        for line in output.split(|byte| *byte == b'\n') {
            if let Some(path) = missing(line) {
                self.absent.insert(path);
            } else if line.starts_with(b"/") && line.ends_with(b":") {
                directory = Some(plain_bytes(&line[..line.len() - 1], form.escaped));
            } else if let Some((name, listed)) = form.parse(line) {
                self.add(directory.as_deref(), &name, listed, is_whole);
            }
        }
    }

    fn add(&mut self, directory: Option<&Path>, name: &OsStr, listed: Listed, is_whole: bool) {
        if name.as_bytes().starts_with(b"/") {
            self.entries.insert(plain_bytes(name.as_bytes(), false), listed);
            return;
        }
        let Some(directory) = directory else { return };
        if name == ".." || name.as_bytes().contains(&b'/') {
            return;
        }
        if is_whole {
            let names = self.whole.entry(directory.to_path_buf()).or_default();
            if name != "." {
                names.insert(name.to_os_string());
            }
        }
        let path = if name == "." { directory.to_path_buf() } else { directory.join(name) };
        let known = self.entries.get(&path).is_some_and(|known| known.inode.is_some());
        // The more exact listing counts, and a name's own line before what `.` says of the directory it leads to.
        if !known || listed.inode.is_some() && name != "." {
            self.entries.insert(path, listed);
        }
    }

    /// `getfacl -n -p`.
    fn take_acls(&mut self, output: &[u8]) {
        let mut path = None;
        for line in String::from_utf8_lossy(output).lines() {
            if let Some(name) = line.strip_prefix("# file: ") {
                let name = plain_bytes(&unescape(name.as_bytes()), false);
                self.acls.insert(name.clone(), [None, None]);
                path = Some(name);
            } else if line.starts_with('#') {
                continue;
            } else if let Some(acls) = path.as_ref().and_then(|path| self.acls.get_mut(path)) {
                let (which, entry) = line.strip_prefix("default:").map_or((0, line), |entry| (1, entry));
                // What it grants in effect is behind the entry.
                let entry = entry.split_whitespace().next().filter(|entry| entry.matches(':').count() == 2);
                if let Some(entry) = entry {
                    acls[which].get_or_insert_default().push(entry.to_string());
                }
            }
        }
    }
}

/// Which columns there are.
struct Form {
    inode: bool,
    context: bool,
    escaped: bool,
}

impl Form {
    fn parse(&self, line: &[u8]) -> Option<(OsString, Listed)> {
        let mut rest = line;
        let mut word = || {
            rest = rest.trim_ascii_start();
            let (word, tail) = rest.split_at(rest.iter().position(|byte| *byte == b' ')?);
            rest = tail;
            std::str::from_utf8(word).ok()
        };
        let inode = if self.inode { Some(word()?.parse().ok()?) } else { None };
        let permissions = word()?;
        let (_links, user, group) = (word()?.parse::<u64>().ok()?, word()?, word()?);
        let label = if self.context { Some(word()?.to_string()) } else { None };
        // A device has two numbers instead of a size.
        if word()?.ends_with(',') {
            word()?;
        }
        let (date, time, zone) = (word()?, word()?, word()?);
        let name = rest.strip_prefix(b" ")?;
        let (kind, mode) = mode(permissions)?;
        let arrow = name.windows(4).position(|four| four == b" -> ").filter(|_| kind == Kind::Symlink);
        let (name, target) = match arrow {
            Some(at) => (&name[..at], Some(&name[at + 4..])),
            None => (name, None),
        };
        let text =
            |bytes: &[u8]| OsString::from_vec(if self.escaped { unescape(bytes) } else { bytes.to_vec() });
        Some((
            text(name),
            Listed {
                kind,
                inode,
                mode,
                user: user.to_string(),
                group: group.to_string(),
                target: target.map(|target| PathBuf::from(text(target))),
                modified: modified(date, time, zone),
                has_acl: permissions.ends_with('+'),
                label,
            },
        ))
    }
}

/// `drwxr-sr-t`, and a letter for an ACL or a label.
fn mode(text: &str) -> Option<(Kind, u32)> {
    let bytes = text.as_bytes();
    let (first, bits) = (*bytes.first()?, bytes.get(1..10)?);
    let kind = match first {
        b'd' => Kind::Directory,
        b'-' => Kind::File,
        b'l' => Kind::Symlink,
        b's' => Kind::Socket,
        b'b' | b'c' | b'p' => Kind::Other,
        _ => return None,
    };
    let mut mode = 0;
    for (place, byte) in bits.iter().enumerate() {
        let bit = 0o400 >> place;
        let special = [0o4000, 0o2000, 0o1000][place / 3];
        mode |= match byte {
            b'-' => 0,
            b'r' | b'w' | b'x' => bit,
            b's' | b't' => bit | special,
            b'S' | b'T' => special,
            _ => return None,
        };
    }
    Some((kind, mode))
}

/// `2026-11-28 23:30:02.235329078 +0000` in nanoseconds since 1970; other styles have no year, or no seconds.
fn modified(date: &str, time: &str, zone: &str) -> Option<i128> {
    let (time, fraction) = time.split_once('.').filter(|(_, fraction)| fraction.len() == 9)?;
    let number = |text: &str| text.parse::<u8>().ok().map(i64::from);
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let east = sign * (number(zone.get(1..3)?)? * 60 + number(zone.get(3..5)?)?) * 60;
    let seconds = since_1970(date, time)? - east;
    Some(i128::from(seconds) * 1_000_000_000 + i128::from(fraction.parse::<u32>().ok()?))
}

/// `ls: cannot access '/x': No such file or directory`.
fn missing(line: &[u8]) -> Option<PathBuf> {
    let line = std::str::from_utf8(line).ok()?;
    let (said, why) = line.strip_prefix("ls: cannot access ")?.rsplit_once(": ")?;
    let path = said.strip_prefix('\'').and_then(|said| said.strip_suffix('\'')).unwrap_or(said);
    (why == "No such file or directory" && path.starts_with('/')).then(|| plain(path))
}

fn plain(path: &str) -> PathBuf {
    plain_bytes(path.as_bytes(), false)
}

/// Without a slash at the end.
fn plain_bytes(path: &[u8], escaped: bool) -> PathBuf {
    let bytes = if escaped { unescape(path) } else { path.to_vec() };
    Path::new(OsStr::from_bytes(&bytes)).components().collect()
}

/// Undoes `ls -b`, getfacl and the kernel's tables of mounts: `\n`, `\ `, `\\`, `\040`.
pub fn unescape(text: &[u8]) -> Vec<u8> {
    if !text.contains(&b'\\') {
        return text.to_vec();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        let Some(&second) = tail.first().filter(|_| first == b'\\') else {
            bytes.push(first);
            continue;
        };
        let octal =
            tail.get(..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        let (byte, length) = match (octal, second) {
            (Some(byte), _) => (byte, 3),
            (None, b'n') => (b'\n', 1),
            (None, b't') => (b'\t', 1),
            (None, b'r') => (b'\r', 1),
            (None, b'a') => (7, 1),
            (None, b'b') => (8, 1),
            (None, b'v') => (11, 1),
            (None, b'f') => (12, 1),
            (None, other) => (other, 1),
        };
        bytes.push(byte);
        rest = &tail[length..];
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(command: &str, output: &str) -> Listings {
        let mut listings = Listings::default();
        listings.take(command, output.as_bytes());
        listings
    }

    #[test]
    fn what_our_own_command_says_is_read_whole() {
        let found = taken(
            "ls -lanibR --time-style=full-iso /run/a /gone",
            "ls: cannot access '/gone': No such file or directory\n/run/a:\ntotal 8\n\
             141 drwxrws--T+  2 0 42477 220 2026-11-28 23:30:02.235329078 +0000 .\n\
             1 drwxr-xr-x 15 0 0 380 2026-11-28 23:31:20.759556835 +0000 ..\n\
             235 srwxr-x---  1 64055 0   0 1970-01-01 01:00:00.000000005 +0100 a\\ b\\nc\n\
             7 lrwxrwxrwx 1 0 0 4 2024-02-29 00:00:00.000000000 +0000 l -> /x\\ y\n\
             9 crw-rw---- 1 0 36 10, 232 2024-02-29 00:00:00.000000000 +0000 kvm\n",
        );
        assert!(found.absent.contains(Path::new("/gone")));
        let directory = &found.entries[Path::new("/run/a")];
        assert_eq!((directory.mode, directory.inode, directory.has_acl), (0o3770, Some(141), true));
        assert_eq!(
            (directory.group.as_str(), directory.modified),
            ("42477", Some(1_795_908_602_235_329_078))
        );
        let socket = &found.entries[Path::new("/run/a/a b\nc")];
        assert_eq!((socket.kind, socket.mode, socket.modified), (Kind::Socket, 0o750, Some(5)));
        let link = &found.entries[Path::new("/run/a/l")];
        assert_eq!(link.target.as_deref(), Some(Path::new("/x y")));
        assert_eq!(link.modified, Some(1_709_164_800_000_000_000));
        let names: Vec<_> =
            found.whole[Path::new("/run/a")].iter().map(|name| name.to_str().unwrap()).collect();
        assert_eq!(names, ["a b\nc", "kvm", "l"]);
        assert!(!found.entries.contains_key(Path::new("/run")), "'..' may be that of another path");
    }

    #[test]
    fn what_sos_lists_itself_is_read_as_far_as_it_goes() {
        let found = taken(
            "ls -alZ /dev/hugepages/",
            "total 0\ndrwxrwxr-x  3 root hugetlbfs system_u:object_r:hugetlbfs_t:s0  0 Nov 28 23:29 .\n\
             drwxr-xr-x 15 root root      ?                                400 Nov 28 23:29 ..\n",
        );
        let directory = &found.entries[Path::new("/dev/hugepages")];
        assert_eq!(
            (directory.mode, directory.group.as_str(), directory.modified),
            (0o775, "hugetlbfs", None)
        );
        assert_eq!(directory.label.as_deref(), Some("system_u:object_r:hugetlbfs_t:s0"));
        assert!(found.whole[Path::new("/dev/hugepages")].is_empty());
        let alone = taken("ls -land /run /var/run", "drwxr-xr-x 2 0 0 40 Nov 28 23:29 /run\n");
        assert!(alone.entries.contains_key(Path::new("/run")) && alone.whole.is_empty());
        for noise in ["", "total 0", "x", "drwxr-xr-x", "drwxr-xr-x 1 a b c d e", "\u{fffd} -> ", "a:\n/:\n"]
        {
            taken("ls -laniZR /x", noise);
        }
    }

    #[test]
    fn acls_are_taken_entry_by_entry() {
        let found = taken(
            "getfacl -nps -R /d",
            "# file: /d/a\\040b\n# owner: 0\n# group: 0\nuser::rwx\nuser:2:rw-\t\t#effective:r--\ngroup::r-x\nmask::r--\n\
             other::---\ndefault:other::r-x\n\n",
        );
        let [access, default] = &found.acls[Path::new("/d/a b")];
        let access = access.as_deref().unwrap();
        assert_eq!(access, ["user::rwx", "user:2:rw-", "group::r-x", "mask::r--", "other::---"]);
        assert!(default.is_some());
    }
}
