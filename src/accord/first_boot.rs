// SPDX-License-Identifier: Apache-2.0
//! What an image says for the first boot of a node from it.
//!
//! With bootc and ostree, `/etc` of the image is merged into that of the node. The node keeps its own `/etc/group`, `/etc/passwd`
//! and `/var`. So accounts are in sysusers.d(5) as well, and directories in tmpfiles.d(5), with the names of their owners,
//! whose numbers may differ on the node.

use std::path::Path;

use super::Accord;
use super::dataplane::file;
use crate::base::paths;
use crate::items::{Absent, Item, Owner};

/// The two files, without those that would be empty.
pub(super) fn items(accord: &Accord, items: &[Item]) -> Vec<Item> {
    let text = |line: &dyn Fn(&Item) -> Option<String>| items.iter().filter_map(line).collect::<String>();
    let accounts = (paths::IMAGE_SYSUSERS, text(&sysusers_line));
    let directories = (paths::IMAGE_TMPFILES, text(&|item| tmpfiles_line(accord, item)));
    let said = [accounts, directories].into_iter().filter(|(_, text)| !text.is_empty());
    said.map(|(path, text)| file(path, text, None)).collect()
}

/// The file of an image that does the item's work at the first boot.
pub fn is_left_to(item: &Item) -> Option<&'static str> {
    match item {
        Item::Group(_) | Item::User(_) | Item::Member(_) => Some(paths::IMAGE_SYSUSERS),
        Item::Owner(owner) if is_in_var(owner) => Some(paths::IMAGE_TMPFILES),
        _ => None,
    }
}

fn sysusers_line(item: &Item) -> Option<String> {
    match item {
        Item::Group(group) => Some(format!("g {} {}\n", group.name, group.gid)),
        Item::User(user) => {
            Some(format!("u {} {}:{} - / /usr/sbin/nologin\n", user.name, user.uid, user.gid))
        }
        Item::Member(member) => Some(format!("m {} {}\n", member.user, member.group)),
        _ => None,
    }
}

fn is_in_var(owner: &Owner) -> bool {
    let asks = owner.uid.is_some() || owner.gid.is_some() || owner.mode.is_some();
    asks && owner.path.starts_with("/var")
}

fn tmpfiles_line(accord: &Accord, item: &Item) -> Option<String> {
    let Item::Owner(owner) = item else { return None };
    let path: &Path = &owner.path;
    if !is_in_var(owner) || path.to_str()?.contains(char::is_whitespace) {
        return None;
    }
    let kind = if owner.absent == Absent::Create { 'd' } else { 'z' };
    let mode = owner.mode.map_or("-".to_string(), |mode| format!("{mode:04o}"));
    let user = owner.uid.map_or("-".to_string(), |uid| user(accord, uid));
    let group = owner.gid.map_or("-".to_string(), |gid| group(accord, gid));
    // systemd takes a percent sign for a specifier.
    Some(format!("{kind} {} {mode} {user} {group} -\n", path.display().to_string().replace('%', "%%")))
}

fn user(accord: &Accord, uid: u32) -> String {
    let qemu = accord.qemu.iter().map(|qemu| (qemu.uid, qemu.user.as_str()));
    let dataplane = accord.dataplane.iter().map(|dataplane| (dataplane.uid, dataplane.user.as_str()));
    name([(0, "root")].into_iter().chain(qemu).chain(dataplane), uid)
}

fn group(accord: &Accord, gid: u32) -> String {
    let qemu = accord.qemu.iter().map(|qemu| (qemu.gid, qemu.group.as_str()));
    let dataplane = accord.dataplane.iter().map(|dataplane| (dataplane.gid, dataplane.group.as_str()));
    let shared = (accord.group.gid, accord.group.name.as_str());
    name([(0, "root"), shared].into_iter().chain(qemu).chain(dataplane), gid)
}

fn name<'a>(mut known: impl Iterator<Item = (u32, &'a str)>, number: u32) -> String {
    known.find(|(known, _)| *known == number).map_or(number.to_string(), |(_, name)| name.to_string())
}
