// SPDX-License-Identifier: Apache-2.0
//! libvirt's QEMU driver: its daemon, and whom QEMU runs as.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::hooks::{self, Hooks};
use crate::base::paths;
use crate::base::root::Root;
use crate::edit::virconf::{Value, VirConf};
use crate::facts::accounts::{Accounts, Group, User};
use crate::systemd::{UnitFact, Units};

/// Accounts libvirt is built to run QEMU as (meson.build: RHEL, Fedora, SUSE, Gentoo; Debian, Ubuntu, Arch).
const BUILT_IN_USERS: [&str; 2] = ["qemu", "libvirt-qemu"];

/// qemu.conf, as libvirt will read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum QemuConf {
    /// There is none.
    Missing,
    /// libvirt takes it. The group it names, if it names one.
    Valid(Option<String>),
    /// libvirt would not start with it: why, in a line.
    Invalid(String),
}

/// libvirt's QEMU driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hypervisor {
    /// The unit of the daemon that starts QEMU: `virtqemud.service` or `libvirtd.service`.
    pub daemon_unit: String,
    /// Whom QEMU runs as, unless a domain says otherwise.
    pub user: User,
    /// The group qemu.conf, or libvirt's own default, gives QEMU.
    pub group: Group,
    /// The user's own group: every QEMU of this user is in it, whatever qemu.conf's group is.
    pub own_group: Group,
    /// Every group of the user by the account databases.
    pub groups: Vec<u32>,
    /// The state of qemu.conf.
    pub conf: QemuConf,
    /// Its hooks.
    pub hooks: Hooks,
}

pub(super) fn look(root: &Root, units: &dyn Units, accounts: &Accounts) -> Result<Option<Hypervisor>> {
    let Some(daemon_unit) = daemon(units)? else { return Ok(None) };
    configured(root, accounts, daemon_unit)
}

/// Whom QEMU runs as by qemu.conf and libvirt's defaults, without asking for units.
pub fn configured(root: &Root, accounts: &Accounts, daemon_unit: String) -> Result<Option<Hypervisor>> {
    let text = root.read_text(Path::new(paths::QEMU_CONF))?;
    let parsed = text.as_deref().map(VirConf::parse);
    let state = match &parsed {
        None => QemuConf::Missing,
        Some(Err(error)) => QemuConf::Invalid(format!("{}: {error}", paths::QEMU_CONF)),
        Some(Ok(conf)) => judge(conf, accounts),
    };
    let named = |key: &str| setting(parsed.as_ref()?.as_ref().ok()?, key);
    let Some(user) = named("user").and_then(|name| find_user(accounts, &name)).or_else(|| built_in(accounts))
    else {
        return Ok(None);
    };
    let own_group = own_group(accounts, &user);
    let group =
        named("group").and_then(|name| find_group(accounts, &name)).unwrap_or_else(|| own_group.clone());
    let groups = accounts.groups_of(&user);
    Ok(Some(Hypervisor {
        daemon_unit,
        user,
        group,
        own_group,
        groups,
        conf: state,
        hooks: hooks::look(root)?,
    }))
}

/// Both daemons can be installed (Fedora and RHEL; Debian has libvirtd alone, 12.8 still): the one that runs counts, else the one whose
/// socket waits for a client, else the one that is enabled. One that is enabled may be dead for good.
fn daemon(units: &dyn Units) -> Result<Option<String>> {
    let mut found: Option<(u8, String)> = None;
    for name in ["libvirtd", "virtqemud"] {
        let Some(service) = units.unit(&format!("{name}.service"))? else { continue };
        let socket = units.unit(&format!("{name}.socket"))?;
        let any = |is: fn(&UnitFact) -> bool| is(&service) || socket.as_ref().is_some_and(is);
        let rank = match () {
            () if service.is_active() => 3,
            () if any(UnitFact::is_active) => 2,
            () if any(|unit| unit.unit_file_state == "enabled") => 1,
            () => 0,
        };
        if found.as_ref().is_none_or(|(other, _)| rank > *other) {
            found = Some((rank, service.name));
        }
    }
    Ok(found.map(|(_, name)| name))
}

/// The value of an account setting, else the default that the distribution's build shows as a commented-out line.
fn setting(conf: &VirConf, key: &str) -> Option<String> {
    active(conf, key).or_else(|| conf.commented_default(key))
}

fn active(conf: &VirConf, key: &str) -> Option<String> {
    match conf.get(key)? {
        Value::Text(name) => Some(name),
        Value::Integer(number) => Some(number.to_string()),
        Value::List(_) => None,
    }
}

/// A name or a number; "+107" forces the number, a bare number is tried as a name first (qemu.conf's own comment).
fn find_user(accounts: &Accounts, name: &str) -> Option<User> {
    let number = name.strip_prefix('+').unwrap_or(name).parse();
    accounts.user(name).or_else(|| accounts.user_by_id(number.ok()?))
}

fn find_group(accounts: &Accounts, name: &str) -> Option<Group> {
    let number: Option<u32> = name.strip_prefix('+').unwrap_or(name).parse().ok();
    accounts.group(name).or_else(|| number.map(|gid| group_by_id(accounts, gid)))
}

fn group_by_id(accounts: &Accounts, gid: u32) -> Group {
    let unnamed = || Group { name: format!("+{gid}"), gid, members: Vec::new() };
    accounts.group_by_id(gid).unwrap_or_else(unnamed)
}

fn built_in(accounts: &Accounts) -> Option<User> {
    BUILT_IN_USERS.iter().find_map(|name| accounts.user(name))
}

/// Up to Debian 13, libvirt-qemu has kvm as primary group, which everyone who may use KVM is in: the group of the user's
/// own name is the closer one where the user is in it.
fn own_group(accounts: &Accounts, user: &User) -> Group {
    let named = accounts.group(&user.name).filter(|group| accounts.groups_of(user).contains(&group.gid));
    named.unwrap_or_else(|| group_by_id(accounts, user.gid))
}

/// libvirt does not start with an account that does not exist (lab: "Failed to parse group 'nosuchgroup'").
fn judge(conf: &VirConf, accounts: &Accounts) -> QemuConf {
    let is_number = |name: &str| name.strip_prefix('+').unwrap_or(name).parse::<u32>().is_ok();
    if let Some(user) = active(conf, "user")
        && find_user(accounts, &user).is_none()
        && !is_number(&user)
    {
        return QemuConf::Invalid(format!("{}: user = \"{user}\": there is no such user", paths::QEMU_CONF));
    }
    let group = active(conf, "group");
    match group.as_deref().filter(|name| find_group(accounts, name).is_none()) {
        Some(name) => {
            QemuConf::Invalid(format!("{}: group = \"{name}\": there is no such group", paths::QEMU_CONF))
        }
        None => QemuConf::Valid(group),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A unit's name, its state, and whether it is enabled.
    #[derive(Debug)]
    struct Booted(&'static [(&'static str, &'static str, &'static str)]);

    impl Units for Booted {
        fn unit(&self, name: &str) -> Result<Option<UnitFact>> {
            let found = self.0.iter().find(|(unit, ..)| *unit == name);
            Ok(found.map(|(name, active_state, unit_file_state)| UnitFact {
                name: (*name).to_string(),
                active_state: (*active_state).to_string(),
                unit_file_state: (*unit_file_state).to_string(),
                ..UnitFact::default()
            }))
        }
    }

    #[test]
    fn the_daemon_that_runs_is_the_one() {
        let found = |units| daemon(&Booted(units)).unwrap();
        let is = |name: &str| Some(name.to_string());
        const DEAD: (&str, &str, &str) = ("libvirtd.service", "failed", "enabled");
        assert_eq!(found(&[DEAD, ("virtqemud.service", "active", "disabled")]), is("virtqemud.service"));
        let idle = &[DEAD, ("virtqemud.service", "inactive", ""), ("virtqemud.socket", "active", "enabled")];
        assert_eq!(found(idle), is("virtqemud.service"));
        assert_eq!(found(&[DEAD, ("virtqemud.service", "inactive", "disabled")]), is("libvirtd.service"));
        let stock = &[("libvirtd.service", "active", "enabled"), ("virtqemud.service", "active", "enabled")];
        assert_eq!(found(stock), is("libvirtd.service"));
        assert_eq!(found(&[("virtqemud.service", "inactive", "disabled")]), is("virtqemud.service"));
        assert_eq!(found(&[]), None);
    }
}
