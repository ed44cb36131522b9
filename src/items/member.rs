// SPDX-License-Identifier: Apache-2.0
//! A user listed in a group.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::account::Account;
use super::{Target, tool};
use crate::base::root::Root;
use crate::facts::accounts::Accounts;

/// A user listed in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The user.
    pub user: String,
    /// The group.
    pub group: String,
}

impl Account for Member {
    fn name(&self) -> Target {
        Target(format!("member {} of {}", self.user, self.group))
    }

    fn number(&self, accounts: &Accounts) -> Option<u32> {
        accounts.group(&self.group).filter(|group| group.members.contains(&self.user)).map(|group| group.gid)
    }

    fn line(&self) -> String {
        format!("user {} in group {}", self.user, self.group)
    }

    fn is_unused(&self, accounts: &Accounts) -> bool {
        self.number(accounts).is_some()
    }

    fn closed(&self) -> (&'static str, &str) {
        ("/etc/gshadow", &self.group)
    }

    fn is_in(&self, entry: &str) -> bool {
        entry.rsplit(':').next().is_some_and(|members| members.split(',').any(|member| member == self.user))
    }

    fn add(&self, root: &Root) -> Result<()> {
        tool::accounts(root, "gpasswd", &["--add", &self.user, &self.group])
    }

    fn remove(&self, root: &Root) -> Result<()> {
        tool::accounts(root, "gpasswd", &["--delete", &self.user, &self.group])
    }
}
