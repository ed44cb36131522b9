// SPDX-License-Identifier: Apache-2.0
//! A VM before its start: what it is about and what was agreed for it, all that does not change while the hook looks; and
//! what the rules find of it.

mod case;
pub(super) mod others;
mod ours;
pub mod predict;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::Result;

pub use case::StartCase;
pub use ours::{grant_for, may_remove, will_fix};

use super::{Ask, Evidence, Finding, Rule, all};
use crate::access::Identity;
use crate::accord::{Agreed, Given};
use crate::base::journald::{Priority, log};
use crate::base::named::named;
use crate::base::root::{Root, told};
use crate::config::{Config, Family, PortType};
use crate::convert::Held;
use crate::facts::accounts::{Accounts, Group, User};
use crate::facts::domains::{Account, Domain, parse_domain};
use crate::fingerprint::{self, Fingerprint};
use crate::fixes;
use crate::profile;

/// Until it is turned to a VM.
const NOBODY: &str = "<domain><name>-</name></domain>";

named! {
    /// The moment in a guest's life at which the hook may have a say, by libvirt's name. All others, future ones included, are
    /// none: libvirt does not ask, or would kill a running guest if we failed (`started`, `reconnect`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Operation {
        /// Before anything is made for the guest.
        Prepare = "prepare",
        /// Everything is ready, the DAC label is known, QEMU is about to be started.
        Start = "start",
        /// An incoming migration.
        Migrate = "migrate",
        /// From a saved state.
        Restore = "restore",
    }
}

impl Operation {
    /// The one that is called so.
    pub fn parse(name: &str) -> Option<Operation> {
        let all = [Operation::Prepare, Operation::Start, Operation::Migrate, Operation::Restore];
        all.into_iter().find(|operation| operation.name() == name)
    }
}

/// A start.
#[derive(Debug, Clone)]
pub struct Start {
    /// When.
    pub operation: Operation,
    /// The VM.
    pub domain: Domain,
    /// What `apply` settled; `None` before the first one, and then nothing is ours to fix.
    pub agreed: Option<Agreed>,
    /// Where the configuration has the sockets now, agreed or not.
    pub socket_directory: Option<PathBuf>,
    /// What in the configuration keeps `apply` from the sockets of a port type, or of both, and the command that lets it.
    pub left_out: Vec<(Option<PortType>, String)>,
    /// Ports that a conversion would have to change and someone has.
    pub held: Vec<Held>,
    /// Whom QEMU will run as; `None` before `start` and where it cannot be known.
    pub qemu: Option<Identity>,
    /// The identity's groups are all there are: no other source of groups was left out.
    pub groups_are_known: bool,
    /// Names for numbers, from the files.
    pub names: Accounts,
}

impl Start {
    /// Reads what was agreed, and finds out whom QEMU will run as.
    pub fn read(root: &Root, operation: Operation, domain: Domain) -> Result<Start> {
        let names = Accounts::read_files(root)?;
        let agreed = told(Agreed::read(root)).map(Option::flatten).unwrap_or_else(|error| {
            log(Priority::Warning, &format!("{error:#}; fix: vhost-accord apply"), &[]);
            None
        });
        let mut start = Start { agreed, names, ..Start::bare(operation, domain) };
        if operation == Operation::Start {
            start.judge(|start| start.configured(root));
        }
        Ok(start)
    }

    /// What starts on this node have in common; about no domain yet.
    pub fn of_node(root: &Root, config: &Config) -> Result<Start> {
        let nobody = parse_domain(NOBODY)?;
        let mut start = Start::read(root, Operation::Prepare, nobody)?;
        start.configure(config);
        Ok(start)
    }

    /// The same on the node of this fingerprint. Its accounts are those that the fingerprint names.
    pub fn told(here: &Fingerprint) -> Result<Start> {
        let known = [&here.qemu, &here.dataplane].into_iter().flatten();
        let users = known.clone().map(|who| User {
            name: who.user.name.clone(),
            uid: who.user.id,
            gid: who.group.id,
        });
        let accounts = known.flat_map(|who| who.groups.iter().chain([&who.group])).chain([&here.group]);
        let group = |group: &fingerprint::Account| Group {
            name: group.name.clone(),
            gid: group.id,
            members: Vec::new(),
        };
        Ok(Start {
            agreed: here.agreed.clone(),
            socket_directory: Some(here.socket_directory.clone()),
            names: Accounts::of(users.collect(), accounts.map(group).collect()),
            ..Start::bare(Operation::Start, parse_domain(NOBODY)?)
        })
    }

    /// Before anything is known.
    fn bare(operation: Operation, domain: Domain) -> Start {
        let (names, left_out, held) = (Accounts::default(), Vec::new(), Vec::new());
        let (agreed, socket_directory, qemu, groups_are_known) = (None, None, None, false);
        Start { operation, domain, agreed, socket_directory, left_out, held, qemu, groups_are_known, names }
    }

    /// Says something of the VM to the journal of systemd.
    pub fn log(&self, priority: Priority, what: &str, fields: &[(&str, &str)]) {
        let own = [("VA_DOMAIN", self.domain.name.as_str()), ("VA_OPERATION", self.operation.name())];
        log(priority, &format!("{}: {what}", self.domain.name), &[fields, &own].concat());
    }

    /// What the configuration has to do with it.
    pub fn configure(&mut self, config: &Config) {
        self.socket_directory = Some(config.socket_directory.clone());
        let by_type = config.excluded().map(|(kind, set_in)| (Some(kind), fixes::look_for_modes(set_in)));
        let unmanaged = !config.managed.has("sockets");
        let by_part = unmanaged.then(|| (None, fixes::manage_sockets(&config.managed_from)));
        self.left_out = by_type.into_iter().chain(by_part).collect();
    }

    /// The command by which sockets of this type are looked after where the configuration leaves them out.
    pub fn let_in(&self, kind: PortType) -> Option<String> {
        let concerns =
            |(left_out, _): &&(Option<PortType>, String)| left_out.is_none_or(|other| other == kind);
        let steps: Vec<&str> = self.left_out.iter().filter(concerns).map(|(_, step)| step.as_str()).collect();
        (!steps.is_empty()).then(|| format!("{} && {}", steps.join(" && "), fixes::APPLY))
    }

    /// Makes it about the start of another domain. `configured` is whom qemu.conf has.
    pub fn turn_to(&mut self, domain: Domain, configured: Option<(u32, u32)>) {
        self.operation = Operation::Start;
        self.domain = domain;
        self.judge(|_| configured);
    }

    fn judge(&mut self, configured: impl FnOnce(&Start) -> Option<(u32, u32)>) {
        self.qemu = self.identity(configured);
        self.groups_are_known = self.knows_groups();
    }

    /// User and group by qemu.conf, else by the build's default.
    pub fn configured(&self, root: &Root) -> Option<(u32, u32)> {
        let found = profile::configured(root, &self.names, String::new()).ok()??;
        Some((found.user.uid, found.group.gid))
    }

    /// Is this path one at which the node's switch has its sockets, by what was agreed?
    pub fn is_agreed_path(&self, path: &Path) -> bool {
        self.agreed.as_ref().is_some_and(|agreed| agreed.is_socket_of_switch(path))
    }

    /// The dataplane of the configuration that creates this socket, by what was agreed.
    pub fn section(&self, path: &Path) -> Option<&Given> {
        let mut sections = self.agreed.iter().flat_map(|agreed| &agreed.declared);
        sections.find(|given| given.sockets.is_at(path))
    }

    /// The DAC label where the domain has it; else qemu.conf, else the build's default (libvirt: a label of type `none`
    /// changes nothing about whom QEMU runs as).
    fn identity(&self, configured: impl FnOnce(&Start) -> Option<(u32, u32)>) -> Option<Identity> {
        let (uid, gid) = match self.domain.dac.as_ref().and_then(|label| label.owner.as_ref()) {
            None => configured(self)?,
            Some((user, group)) => (
                number(user, |name| self.names.user(name).map(|user| user.uid))?,
                number(group, |name| self.names.group(name).map(|group| group.gid))?,
            ),
        };
        Some(Identity::unprivileged(uid, gid, self.groups(uid, gid)))
    }

    /// libvirt gives QEMU the groups of the account databases (src/util/virutil.c, virGetGroupList). `apply` had time to
    /// ask them all for the usual user.
    fn groups(&self, uid: u32, gid: u32) -> Vec<u32> {
        let in_files = |user: User| self.names.groups_of(&user);
        let mut groups = self.names.user_by_id(uid).map(in_files).unwrap_or_default();
        let usual = self.agreed.as_ref().and_then(|agreed| agreed.qemu.as_ref());
        groups.extend(
            usual.filter(|qemu| qemu.uid == uid).into_iter().flat_map(|qemu| qemu.groups.iter().copied()),
        );
        groups.push(gid);
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    fn knows_groups(&self) -> bool {
        let Some(qemu) = &self.qemu else { return false };
        let usual = self.agreed.as_ref().and_then(|agreed| agreed.qemu.as_ref());
        // root may be left its capabilities (`clear_emulator_capabilities = 0`).
        qemu.uid != 0 && (self.names.files_are_all() || usual.is_some_and(|usual| usual.uid == qemu.uid))
    }
}

/// What keeps the VM from working, the first cause first. Where `apply` would pass over its sockets, the key that leaves
/// them out is named.
pub fn run(case: &StartCase<'_>) -> Vec<Finding> {
    run_those(case, |_, _| true)
}

/// The same, by those rules only that are `wanted`.
pub fn run_those(case: &StartCase<'_>, wanted: impl Fn(&Rule, Family) -> bool) -> Vec<Finding> {
    let mut found = Vec::new();
    for (rule, ask) in all().flat_map(|rule| rule.asks.iter().map(move |ask| (rule, ask))) {
        let (family, evidence) = match ask {
            Ask::Start(family, _) | Ask::Incoming(family, _) | Ask::Each(family, _)
                if !wanted(rule, *family) =>
            {
                continue;
            }
            Ask::Start(family, check) | Ask::Incoming(family, check) => (*family, check(case)),
            Ask::Each(family, check) => {
                let sockets = case.facts.sockets.iter();
                (*family, sockets.filter_map(|socket| check(case, socket)).collect())
            }
            _ => continue,
        };
        found.extend(evidence.into_iter().map(|evidence| expected(case.start, rule, family, evidence)));
    }
    found
}

/// A finding before anything has happened.
fn expected(start: &Start, rule: &'static Rule, family: Family, evidence: Evidence) -> Finding {
    let finding = rule.finding(evidence);
    let server = rule.id.starts_with("server-");
    let kind = if server { PortType::Dpdkvhostuser } else { PortType::Dpdkvhostuserclient };
    let let_in = start.let_in(kind).filter(|_| finding.fix == fixes::APPLY);
    let fix = let_in.unwrap_or(finding.fix);
    Finding { family: Some(family), cause: rule.ahead.unwrap_or(rule.cause), fix, ..finding }
}

/// A name first, a number where there is no such name, as libvirt takes it.
fn number(account: &Account, look_up: impl Fn(&str) -> Option<u32>) -> Option<u32> {
    match account {
        Account::Id(number) => Some(*number),
        Account::Name(name) => look_up(name).or_else(|| name.parse().ok()),
    }
}
