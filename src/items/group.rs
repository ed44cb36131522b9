// SPDX-License-Identifier: Apache-2.0
//! A group with a number.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::account::Account;
use super::{Target, named, tool};
use crate::base::root::Root;
use crate::facts::accounts::{self, Accounts};

/// A group with a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its number.
    pub gid: u32,
}

impl Account for Group {
    fn name(&self) -> Target {
        Target(format!("group {}", self.name))
    }

    fn number(&self, accounts: &Accounts) -> Option<u32> {
        accounts.group(&self.name).map(|group| group.gid)
    }

    fn line(&self) -> String {
        format!("group {} with gid {}", self.name, self.gid)
    }

    fn is_unused(&self, accounts: &Accounts) -> bool {
        let unused =
            |group: accounts::Group| group.members.is_empty() && accounts.users_of(group.gid).is_empty();
        accounts.group(&self.name).is_some_and(unused)
    }

    fn closed(&self) -> (&'static str, &str) {
        ("/etc/gshadow", &self.name)
    }

    fn named(&self, root: &Root) -> Result<Option<String>> {
        Ok(named::by_member(root, &self.name)?.or(named::by(root, "group", &self.name)?))
    }

    fn add(&self, root: &Root) -> Result<()> {
        tool::accounts(root, "groupadd", &["--gid", &self.gid.to_string(), &self.name])
    }

    fn remove(&self, root: &Root) -> Result<()> {
        tool::accounts(root, "groupdel", &[&self.name])
    }
}
