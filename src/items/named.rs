// SPDX-License-Identifier: Apache-2.0
//! Who names an account that is about to go: a service that is told a name which does not exist does not start.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::base::paths;
use crate::base::root::{Kind, Root};
use crate::dataplane::ovs::units::{ENVIRONMENTS, UNITS};
use crate::edit::virconf::{Value, VirConf};
use crate::facts::accounts::Accounts;

/// The file that names the group or user, by `key` in qemu.conf, and so keeps it.
pub fn by(root: &Root, key: &str, name: &str) -> Result<Option<String>> {
    let mut files: Vec<PathBuf> = ENVIRONMENTS.map(PathBuf::from).to_vec();
    for unit in UNITS {
        let directory = Path::new(paths::UNIT_DIRECTORY).join(format!("{unit}.d"));
        files.extend(root.list(&directory)?.into_iter().map(|file| directory.join(file)));
    }
    let conf = Path::new(paths::QEMU_CONF);
    let named = if text(root, conf).is_some_and(|text| conf_names(&text, key, name)) {
        Some(conf.to_path_buf())
    } else {
        files.into_iter().find(|path| text(root, path).is_some_and(|text| has_word(&text, name)))
    };
    Ok(named.map(|path| format!("{} still names it", path.display())))
}

/// A user that is listed in the group.
pub fn by_member(root: &Root, group: &str) -> Result<Option<String>> {
    let member = Accounts::read_files(root)?.group(group).and_then(|group| group.members.first().cloned());
    Ok(member.map(|member| format!("{member} is now a member of it")))
}

fn text(root: &Root, path: &Path) -> Option<String> {
    let file = root.find(path).ok().flatten().filter(|file| file.kind() == Kind::File)?;
    file.read().ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Where libvirt cannot read it, whoever corrects it may want what it says.
fn conf_names(text: &str, key: &str, name: &str) -> bool {
    match VirConf::parse(text) {
        Ok(conf) => conf.get(key) == Some(Value::Text(name.to_string())),
        Err(_) => has_word(text, name),
    }
}

fn has_word(text: &str, name: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || ['_', '-', '.', '$'].contains(&c);
    let lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with(['#', ';']));
    lines.flat_map(|line| line.split(|c| !in_name(c))).any(|word| word == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_whole_words_outside_of_comments() {
        assert!(has_word("OVS_USER_ID=\"openvswitch:hugetlbfs\"\n", "hugetlbfs"));
        assert!(has_word("[Service]\nGroup=hugetlbfs\n", "hugetlbfs"));
        for other in
            ["# OVS_USER_ID=openvswitch:hugetlbfs\n", "hugetlbfs_mount = 1\n", "Group=hugetlbfs2\n", ""]
        {
            assert!(!has_word(other, "hugetlbfs"), "{other}");
        }
    }

    #[test]
    fn of_qemu_conf_what_is_in_force_counts() {
        assert!(conf_names("group = \"hugetlbfs\" # mine\n", "group", "hugetlbfs"));
        assert!(!conf_names("group = \"kvm\"\n#group = \"hugetlbfs\"\n", "group", "hugetlbfs"));
        assert!(conf_names("group = hugetlbfs\n", "group", "hugetlbfs"), "libvirt cannot read it");
    }
}
