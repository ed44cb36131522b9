// SPDX-License-Identifier: Apache-2.0
//! A system user without login.

use anyhow::Result;

use super::account::Account;
use super::{Target, named, tool};
use crate::base::root::Root;
use crate::facts::accounts::Accounts;
pub use crate::facts::accounts::User;

impl Account for User {
    fn name(&self) -> Target {
        Target(format!("user {}", self.name))
    }

    fn number(&self, accounts: &Accounts) -> Option<u32> {
        accounts.user(&self.name).map(|user| user.uid)
    }

    fn line(&self) -> String {
        format!("user {} with uid {}, group {}", self.name, self.uid, self.gid)
    }

    fn is_unused(&self, accounts: &Accounts) -> bool {
        accounts.user(&self.name).is_some()
    }

    fn closed(&self) -> (&'static str, &str) {
        ("/etc/shadow", &self.name)
    }

    fn named(&self, root: &Root) -> Result<Option<String>> {
        named::by(root, "user", &self.name)
    }

    fn add(&self, root: &Root) -> Result<()> {
        let (uid, gid) = (self.uid.to_string(), self.gid.to_string());
        let account = ["--system", "--uid", &uid, "--gid", &gid, "--no-create-home"];
        let login = ["--home-dir", "/", "--shell", "/usr/sbin/nologin", &self.name];
        tool::accounts(root, "useradd", &[account.as_slice(), login.as_slice()].concat())
    }

    fn remove(&self, root: &Root) -> Result<()> {
        tool::accounts(root, "userdel", &[&self.name])
    }
}
