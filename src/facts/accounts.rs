// SPDX-License-Identifier: Apache-2.0
//! Users and groups: of the running node through NSS, of an image from its files.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use users::os::unix::GroupExt;

use crate::access::Names;
use crate::root::{Report, Root, told};

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
#[derive(Debug)]
pub struct Accounts {
    live: bool,
    users: Vec<User>,
    groups: Vec<Group>,
    extra_groups: Vec<Group>,
    services: Vec<String>,
    announced: Vec<(u32, String)>,
}

impl Accounts {
    /// Reads the account files beneath `root`.
    pub fn read(root: &Root) -> Result<Accounts> {
        let text = |path: &str| Ok::<_, anyhow::Error>(root.read_text(Path::new(path))?.unwrap_or_default());
        if let Some(report) = root.report() {
            return Accounts::told(report, text);
        }
        Ok(Accounts {
            live: root.is_live(),
            users: parse_users(&text("/etc/passwd")?),
            groups: parse_groups(&text("/etc/group")?),
            // Image-based systems keep packaged groups here (nss-altfiles).
            extra_groups: parse_groups(&text("/usr/lib/group")?),
            services: group_services(&text("/etc/nsswitch.conf")?),
            announced: Vec::new(),
        })
    }

    /// What a report has: every source's answer together, else the files.
    fn told(report: &Report, text: impl Fn(&str) -> Result<String>) -> Result<Accounts> {
        let database = |name: &str| match report.outputs(&format!("getent {name}")).pop() {
            Some(said) => Ok(said),
            None => text(&format!("/etc/{name}")),
        };
        let optional = |path: &str| told(text(path));
        Ok(Accounts {
            live: false,
            users: parse_users(&database("passwd")?),
            groups: parse_groups(&database("group")?),
            extra_groups: parse_groups(&optional("/usr/lib/group")?.unwrap_or_default()),
            // Of unknown sources there may be others than the files.
            services: optional("/etc/nsswitch.conf")?
                .map_or(vec!["?".to_string()], |text| group_services(&text)),
            announced: Vec::new(),
        })
    }

    /// The same from the files alone, on the running node too: never waits for a name service on the network.
    pub fn read_files(root: &Root) -> Result<Accounts> {
        Ok(Accounts { live: false, ..Accounts::read(root)? })
    }

    /// True where NSS asks nobody but the files, so that what is not in them is not there at all.
    pub fn files_are_all(&self) -> bool {
        let local = ["files", "compat", "altfiles", "systemd"];
        self.services.iter().all(|service| local.contains(&service.as_str()))
    }

    /// The user of this name.
    pub fn user(&self, name: &str) -> Option<User> {
        let own = self.users.iter().find(|user| user.name == name).cloned();
        own.or_else(|| self.live.then(|| users::get_user_by_name(name).as_ref().map(convert_user))?)
    }

    /// The user of this number.
    pub fn user_by_id(&self, uid: u32) -> Option<User> {
        let own = self.users.iter().find(|user| user.uid == uid).cloned();
        own.or_else(|| self.live.then(|| users::get_user_by_uid(uid).as_ref().map(convert_user))?)
    }

    /// The group of this name.
    pub fn group(&self, name: &str) -> Option<Group> {
        let own = self.groups.iter().chain(&self.extra_groups).find(|group| group.name == name).cloned();
        own.or_else(|| self.live.then(|| users::get_group_by_name(name).as_ref().map(convert_group))?)
    }

    /// The group of this number.
    pub fn group_by_id(&self, gid: u32) -> Option<Group> {
        let own = self.groups.iter().chain(&self.extra_groups).find(|group| group.gid == gid).cloned();
        own.or_else(|| self.live.then(|| users::get_group_by_gid(gid).as_ref().map(convert_group))?)
    }

    /// The users of the account files with this primary group.
    pub fn users_of(&self, gid: u32) -> Vec<User> {
        self.users.iter().filter(|user| user.gid == gid).cloned().collect()
    }

    /// Every group a process gets that is started as this user: the primary one first.
    pub fn groups_of(&self, user: &User) -> Vec<u32> {
        let listed = self.groups.iter().filter(|group| group.members.contains(&user.name));
        let mut gids: Vec<u32> = std::iter::once(user.gid).chain(listed.map(|group| group.gid)).collect();
        if self.live && !self.users.iter().any(|own| own.name == user.name) {
            let known = users::get_user_groups(&user.name, user.gid).unwrap_or_default();
            gids.extend(known.iter().map(users::Group::gid));
        }
        let mut seen = Vec::new();
        gids.retain(|gid| {
            !seen.contains(gid) && {
                seen.push(*gid);
                true
            }
        });
        gids
    }

    /// A user's name, or its number where it has none.
    pub fn user_name(&self, uid: u32) -> String {
        self.user_by_id(uid).map_or_else(|| uid.to_string(), |user| user.name)
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
            let line = ask_source(service, name)?;
            let groups = parse_groups(&line);
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

/// NSS has no call that asks one source alone; getent does it by a private configuration of its own process.
fn ask_source(service: &str, group: &str) -> Result<String> {
    let output = Command::new("getent")
        .args(["-s", service, "group", group])
        .env_clear()
        .env("PATH", crate::paths::SEARCH)
        .output()
        .with_context(|| format!("asking getent for group {group} in {service}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
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

/// The services of nsswitch.conf's `group:` line, without the actions in brackets; `files` where there is none.
fn group_services(text: &str) -> Vec<String> {
    let line =
        text.lines().filter_map(|line| line.trim().strip_prefix("group:")).next_back().unwrap_or("files");
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
        write("usr/lib/group", "hugetlbfs:x:800:\n");
        let accounts = Accounts::read(&Root::open(image.path()).unwrap()).unwrap();
        let qemu = accounts.user("qemu").unwrap();
        assert_eq!(accounts.groups_of(&qemu), [107, 36, 801]);
        assert_eq!(accounts.user("nobody"), None, "the host's accounts are not the image's");
        assert_eq!(accounts.group_name(36), "kvm");
        assert_eq!(accounts.group_name(5), "5");
        let sources = accounts.group_sources("hugetlbfs").unwrap();
        assert_eq!(sources.iter().map(|source| source.gid).collect::<Vec<_>>(), [801, 800]);
    }

    #[test]
    fn actions_in_nsswitch_are_no_services() {
        assert_eq!(group_services("group: files [SUCCESS=merge] sss # x\n"), ["files", "sss"]);
        assert_eq!(group_services("passwd: sss\n"), ["files"]);
        assert_eq!(
            group_services("group: files [!UNAVAIL=return NOTFOUND=continue] altfiles\n"),
            ["files", "altfiles"]
        );
    }
}
