// SPDX-License-Identifier: Apache-2.0
//! Users and groups: of the running node through NSS, of an image from its files.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use users::os::unix::GroupExt;

use crate::access::Names;
use crate::base::program;
use crate::base::root::{Root, told};

/// nss-altfiles: image-based systems keep packaged accounts in files of their own.
const ALTFILES: &str = "altfiles";
/// A name service on the network may be away.
const SOURCE_LIMIT: Duration = Duration::from_secs(5);

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its number.
    pub gid: u32,
    /// The users listed in it; those who have it as their primary group are not.
    pub members: Vec<String>,
}

/// The number one NSS source gives a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The service of nsswitch.conf (`files`, `altfiles`, `sss`...), or a file of an image.
    pub name: String,
    /// The group's number there.
    pub gid: u32,
}

/// Reads accounts. The image's own files are read where the root is not the running node, since NSS knows only the latter.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    live: bool,
    users: Vec<User>,
    groups: Vec<Group>,
    extra_users: Vec<User>,
    extra_groups: Vec<Group>,
    user_services: Vec<String>,
    services: Vec<String>,
    announced: Vec<(u32, String)>,
}

impl Accounts {
    /// Some accounts that are known, where others may be as well.
    pub fn of(users: Vec<User>, groups: Vec<Group>) -> Accounts {
        Accounts { users, groups, services: vec!["?".to_string()], ..Accounts::default() }
    }

    /// Reads the account files beneath `root`.
    pub fn read(root: &Root) -> Result<Accounts> {
        let text = |path: &str| Ok::<_, anyhow::Error>(root.read_text(Path::new(path))?.unwrap_or_default());
        let nsswitch = told(text("/etc/nsswitch.conf"))?;
        // Of unknown sources there may be others than the files.
        let services = |database: &str| {
            nsswitch.as_deref().map_or(vec!["?".to_string()], |text| services(text, database))
        };
        let (user_services, services) = (services("passwd:"), services("group:"));
        // A report may have every source's answer together.
        let said = |name: &str| root.report()?.outputs(&format!("getent {name}")).pop();
        let read = |name: &str, services: &[String]| match said(name) {
            Some(said) => Ok::<_, anyhow::Error>((said, String::new())),
            None => Ok((text(&format!("/etc/{name}"))?, altfiles(services, name, &text)?)),
        };
        let (users, extra_users) = read("passwd", &user_services)?;
        let (groups, extra_groups) = read("group", &services)?;
        Ok(Accounts {
            live: root.is_live(),
            users: parse_users(&users),
            groups: parse_groups(&groups),
            extra_users: parse_users(&extra_users),
            extra_groups: parse_groups(&extra_groups),
            user_services,
            services,
            announced: Vec::new(),
        })
    }

    /// The same from the files alone, on the running node too: never waits for a name service on the network.
    pub fn read_files(root: &Root) -> Result<Accounts> {
        Ok(Accounts { live: false, ..Accounts::read(root)? })
    }

    /// True where NSS asks nobody but the files, so that what is not in them is not there at all.
    pub fn files_are_all(&self) -> bool {
        let local = ["files", "compat", ALTFILES, "systemd"];
        self.services.iter().chain(&self.user_services).all(|service| local.contains(&service.as_str()))
    }

    fn all_users(&self) -> impl Iterator<Item = &User> {
        self.users.iter().chain(&self.extra_users)
    }

    fn all_groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().chain(&self.extra_groups)
    }

    /// The user of this name.
    pub fn user(&self, name: &str) -> Option<User> {
        let own = self.all_users().find(|user| user.name == name).cloned();
        own.or_else(|| self.live.then(|| users::get_user_by_name(name).as_ref().map(convert_user))?)
    }

    /// The user of this number.
    pub fn user_by_id(&self, uid: u32) -> Option<User> {
        let own = self.all_users().find(|user| user.uid == uid).cloned();
        own.or_else(|| self.live.then(|| users::get_user_by_uid(uid).as_ref().map(convert_user))?)
    }

    /// The group of this name.
    pub fn group(&self, name: &str) -> Option<Group> {
        let own = self.all_groups().find(|group| group.name == name).cloned();
        own.or_else(|| self.live.then(|| users::get_group_by_name(name).as_ref().map(convert_group))?)
    }

    /// The group of this number.
    pub fn group_by_id(&self, gid: u32) -> Option<Group> {
        let own = self.all_groups().find(|group| group.gid == gid).cloned();
        own.or_else(|| self.live.then(|| users::get_group_by_gid(gid).as_ref().map(convert_group))?)
    }

    /// The users of the account files with this primary group.
    pub fn users_of(&self, gid: u32) -> Vec<User> {
        self.all_users().filter(|user| user.gid == gid).cloned().collect()
    }

    /// Every group a process gets that is started as this user: the primary one first.
    pub fn groups_of(&self, user: &User) -> Vec<u32> {
        let listed = self.all_groups().filter(|group| group.members.contains(&user.name));
        let mut gids: Vec<u32> = std::iter::once(user.gid).chain(listed.map(|group| group.gid)).collect();
        if self.live && !self.all_users().any(|own| own.name == user.name) {
            let known = users::get_user_groups(&user.name, user.gid).unwrap_or_default();
            gids.extend(known.iter().map(users::Group::gid));
        }
        let mut seen = HashSet::new();
        gids.retain(|gid| seen.insert(*gid));
        gids
    }

    /// A user's name, or its number where it has none.
    pub fn user_name(&self, uid: u32) -> String {
        // Asked for each socket of a node: nothing but the name is copied.
        let own = self.all_users().find(|user| user.uid == uid).map(|user| user.name.clone());
        own.or_else(|| self.user_by_id(uid).map(|user| user.name)).unwrap_or_else(|| uid.to_string())
    }

    /// A group's name, or its number where it has none.
    pub fn group_name(&self, gid: u32) -> String {
        let announced =
            || self.announced.iter().find(|(number, _)| *number == gid).map(|(_, name)| name.clone());
        self.group_by_id(gid).map(|group| group.name).or_else(announced).unwrap_or_else(|| gid.to_string())
    }

    /// Lets a group that is yet to be made be called by its name.
    pub fn announce(&mut self, name: &str, gid: u32) {
        self.announced.push((gid, name.to_string()));
    }

    /// What each source says of the group, in the order they are asked. They should agree: which one a program hears
    /// depends on who asks (a container reads its own files, a daemon may have asked at boot).
    pub fn group_sources(&self, name: &str) -> Result<Vec<Source>> {
        if !self.live {
            let sources = [("/etc/group", &self.groups), ("/usr/lib/group", &self.extra_groups)];
            let in_file = |(file, groups): (&str, &Vec<Group>)| {
                let group = groups.iter().find(|group| group.name == name)?;
                Some(Source { name: file.to_string(), gid: group.gid })
            };
            return Ok(sources.into_iter().filter_map(in_file).collect());
        }
        let mut sources = Vec::new();
        for service in &self.services {
            let groups = parse_groups(&ask_source(service, name));
            sources.extend(groups.first().map(|group| Source { name: service.clone(), gid: group.gid }));
        }
        Ok(sources)
    }
}

impl Names for Accounts {
    fn user(&self, uid: u32) -> String {
        self.user_name(uid)
    }

    fn group(&self, gid: u32) -> String {
        self.group_name(gid)
    }
}

/// NSS has no call that asks one source alone; getent does it by a private configuration of its own process. A source that
/// does not know the group, or does not answer in time, says nothing.
fn ask_source(service: &str, group: &str) -> String {
    program::run(Path::new("getent"), &["-s", service, "group", group], SOURCE_LIMIT).unwrap_or_default()
}

fn convert_user(user: &users::User) -> User {
    User { name: lossy(user.name()), uid: user.uid(), gid: user.primary_group_id() }
}

fn convert_group(group: &users::Group) -> Group {
    let members = group.members().iter().map(|member| lossy(member)).collect();
    Group { name: lossy(group.name()), gid: group.gid(), members }
}

fn lossy(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}

/// NSS reads them only where it is told to.
fn altfiles(services: &[String], name: &str, text: &impl Fn(&str) -> Result<String>) -> Result<String> {
    match services.iter().any(|service| service == ALTFILES) {
        true => text(&format!("/usr/lib/{name}")),
        false => Ok(String::new()),
    }
}

/// passwd(5); lines that are none are passed over, as NSS does.
fn parse_users(text: &str) -> Vec<User> {
    let user = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, ..] = fields[..] else { return None };
        Some(User { name: name.to_string(), uid: uid.parse().ok()?, gid: gid.parse().ok()? })
    };
    text.lines().filter_map(user).collect()
}

/// group(5).
fn parse_groups(text: &str) -> Vec<Group> {
    let group = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, gid, members] = fields[..] else { return None };
        let members = members.split(',').filter(|name| !name.is_empty()).map(str::to_string).collect();
        Some(Group { name: name.to_string(), gid: gid.parse().ok()?, members })
    };
    text.lines().filter_map(group).collect()
}

/// The services of a line of nsswitch.conf, without the actions in brackets; `files` where there is none.
fn services(text: &str, database: &str) -> Vec<String> {
    let mut lines = text.lines().filter_map(|line| line.trim().strip_prefix(database));
    let line = lines.next_back().unwrap_or("files");
    let line = line.split('#').next().unwrap_or_default();
    let mut in_action = false;
    let mut services = Vec::new();
    for word in line.split_whitespace() {
        if !in_action && !word.starts_with('[') {
            services.push(word.to_string());
        }
        in_action = (in_action || word.starts_with('[')) && !word.ends_with(']');
    }
    services
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_read_from_its_own_files() {
        let image = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(image.path().join("etc")).unwrap();
        std::fs::create_dir_all(image.path().join("usr/lib")).unwrap();
        let write = |path: &str, text: &str| std::fs::write(image.path().join(path), text).unwrap();
        write("etc/passwd", "root:x:0:0::/root:/bin/sh\nqemu:x:107:107::/:/sbin/nologin\nbroken\n");
        write("etc/group", "root:x:0:\nkvm:x:36:qemu\nqemu:x:107:\nhugetlbfs:x:801:openvswitch,qemu\n");
        write("usr/lib/group", "hugetlbfs:x:800:\nopenvswitch:x:995:qemu\n");
        write("usr/lib/passwd", "openvswitch:x:994:995::/:/sbin/nologin\nqemu:x:1:1::/:/sbin/nologin\n");
        let accounts = || Accounts::read(&Root::open(image.path()).unwrap()).unwrap();
        let found = accounts();
        assert_eq!(
            (found.user("openvswitch"), found.group("openvswitch")),
            (None, None),
            "nobody reads them"
        );
        write("etc/nsswitch.conf", "passwd: files altfiles\ngroup: files [SUCCESS=merge] altfiles\n");
        let found = accounts();
        assert_eq!(found.user("openvswitch").map(|user| user.uid), Some(994));
        assert_eq!(found.groups_of(&found.user("qemu").unwrap()), [107, 36, 801, 995]);
        assert!(found.files_are_all());
        write("etc/nsswitch.conf", "passwd: files sss\ngroup: files altfiles\n");
        let accounts = Accounts::read(&Root::open(image.path()).unwrap()).unwrap();
        let qemu = accounts.user("qemu").unwrap();
        assert_eq!(accounts.groups_of(&qemu), [107, 36, 801, 995]);
        assert!(!accounts.files_are_all(), "a user may be elsewhere");
        assert_eq!(accounts.user("nobody"), None, "the host's accounts are not the image's");
        assert_eq!(accounts.group_name(36), "kvm");
        assert_eq!(accounts.group_name(5), "5");
        let sources = accounts.group_sources("hugetlbfs").unwrap();
        assert_eq!(sources.iter().map(|source| source.gid).collect::<Vec<_>>(), [801, 800]);
    }

    #[test]
    fn actions_in_nsswitch_are_no_services() {
        let of_groups = |text| services(text, "group:");
        assert_eq!(of_groups("group: files [SUCCESS=merge] sss # x\n"), ["files", "sss"]);
        assert_eq!(of_groups("passwd: sss\n"), ["files"]);
        assert_eq!(
            of_groups("group: files [!UNAVAIL=return NOTFOUND=continue] altfiles\n"),
            ["files", "altfiles"]
        );
    }
}
