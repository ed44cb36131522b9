// SPDX-License-Identifier: Apache-2.0
//! One look at the node: configuration, profile, accord, and what is there. Every command begins with it.

use anyhow::{Context, Result};

use crate::accord::item::{Group, User};
use crate::accord::{self, Accord, Agreed, Item};
use crate::arrivals;
use crate::change::Change;
use crate::config::{Config, GidMismatch};
use crate::convert::Terms;
use crate::facts::accounts::Accounts;
use crate::facts::domains::Domain;
use crate::facts::endpoints::Endpoints;
use crate::facts::live::Live;
use crate::facts::mounts;
use crate::facts::state::{Observed, observe};
use crate::facts::surroundings::Surroundings;
use crate::fingerprint::Fingerprint;
use crate::hook::Subject;
use crate::journal::{Entry, Journal};
use crate::paths;
use crate::profile::Profile;
use crate::root::{NotInReport, Root, told};
use crate::rules::endpoints::{Judged, Matter, follows, judge};
use crate::rules::peer::{self, Compared, Ground};
use crate::rules::{self, Case, Finding};
use crate::systemd::ServiceManager;

/// What a command goes by.
#[derive(Debug)]
pub struct Survey {
    /// The configuration.
    pub config: Config,
    /// The node by looking.
    pub profile: Profile,
    /// What should hold.
    pub accord: Accord,
    /// What an earlier `apply` left.
    pub journal: Journal,
    /// Every item of the accord with what is there.
    pub observed: Vec<Observed>,
    /// What runs; none in an image.
    pub live: Option<Live>,
    /// What else has a say.
    pub surroundings: Surroundings,
    /// The accounts, for names.
    pub accounts: Accounts,
}

/// What the command line adds to the configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// `--renumber`: as `gid-mismatch = renumber`.
    pub renumber: bool,
}

impl Survey {
    /// Looks at the node.
    pub fn take(root: &Root, manager: &dyn ServiceManager, options: Options) -> Result<Survey> {
        let mut config = Config::read(root)?;
        if options.renumber {
            config.gid_mismatch = GidMismatch::Renumber;
        }
        let journal = Journal::read(root)?;
        let mut accounts = Accounts::read(root)?;
        let group = journal.group.as_ref().filter(|group| group.name == config.group).map(|group| group.gid);
        let agreed = root.report().and_then(|_| Agreed::read(root).ok()?).map(|agreed| agreed.gid);
        let recorded = group.or(agreed);
        let profile = Profile::look(root, manager, &accounts, &config, recorded)?;
        let hugetlb = if root.runs() { mounts::hugetlb(root)? } else { Vec::new() };
        let mounted: Vec<_> = hugetlb.iter().map(|mount| mount.path.clone()).collect();
        let program = program(root);
        let accord = Accord::new(
            &config,
            &accord::Ground { profile: &profile, mounted: &mounted, program: &program },
        )?;
        accounts.announce(&accord.group.name, accord.group.gid);
        let observe = |item: &Item| {
            let before = told(observe(root, &accounts, item))?;
            Ok(before.map(|before| Observed { before, item: item.clone() }))
        };
        let observed =
            accord.items.iter().filter_map(|item| observe(item).transpose()).collect::<Result<_>>()?;
        let live = root.runs().then(|| Live::read(root, manager, &profile, &accord)).transpose()?;
        let surroundings = Surroundings::read(root, &accord, hugetlb)?;
        Ok(Survey { config, profile, accord, journal, observed, live, surroundings, accounts })
    }

    /// What does not hold and is ours to make now.
    pub fn changes(&self) -> Vec<Change> {
        let due = |change: &&Change| !change.holds() && !self.waits_for_stop(&change.item);
        self.observed.iter().filter(due).cloned().collect()
    }

    /// Does it wait until the dataplane that runs now has stopped?
    fn waits_for_stop(&self, item: &Item) -> bool {
        let Some(live) = self.live.as_ref().filter(|live| live.keeps_its_state(&self.accord)) else {
            return false;
        };
        let runs_as = |name: &str| {
            let user = self.accounts.user(name);
            user.is_some_and(|user| {
                live.dataplane.iter().any(|process| process.status.uid.effective == user.uid)
            })
        };
        match item {
            Item::Owner(owner) => owner.is_state(),
            Item::User(User { name, .. }) | Item::Group(Group { name, .. }) => runs_as(name),
            _ => false,
        }
    }

    /// What an earlier `apply` made and the accord no longer asks for, last made first.
    pub fn outdated(&self) -> Vec<Entry> {
        let wanted = |entry: &&Entry| {
            let item = &entry.change.item;
            let asked_for = self.accord.items.iter().any(|other| other.target() == item.target());
            // What `convert` was told to do is no part of the accord: only `revert` takes it back.
            let by_convert = matches!(item, Item::Conversion(_));
            !asked_for && !by_convert && !self.waits_for_stop(item)
        };
        self.journal.entries.iter().rev().filter(wanted).cloned().collect()
    }

    /// Has systemd yet to read what is on disk of the units that we have to do with?
    pub fn reload_overdue(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.units.iter().any(|unit| unit.need_daemon_reload))
    }

    /// What does not agree of the node itself: what `apply` answers for.
    pub fn findings(&self) -> Vec<Finding> {
        rules::run(&self.case())
    }

    /// All that `check` has against it: endpoint by endpoint as well.
    pub fn judged(&self, root: &Root) -> Result<Judged> {
        let mut findings = self.findings();
        let Some(live) = &self.live else { return Ok(Judged::of(findings)) };
        let endpoints = Endpoints::read(root, live)?;
        let mut subject = Subject::of_node(root, &self.config.socket_directory)?;
        let configured = subject.configured(root);
        let ground = Matter { endpoints: &endpoints, subject: &mut subject, configured, named: &findings };
        let mut judged = judge(&self.case(), ground);
        findings.retain(|finding| !follows(&judged.rows, finding));
        // That the database is not in a report says nothing of the node.
        judged.findings.retain(|finding| finding.id != "switch-unknown" || !NotInReport::says(&finding.seen));
        findings.append(&mut judged.findings);
        judged.findings = findings;
        Ok(judged)
    }

    /// What another node has to know of this one; `None` of an image.
    pub fn fingerprint(&self, root: &Root) -> Result<Option<Fingerprint>> {
        let agreed = (&self.accord, self.config.hook.incoming);
        let take = |live| Fingerprint::take(root, agreed, live, &self.surroundings.hugetlb, &self.accounts);
        self.live.as_ref().map(take).transpose()
    }

    /// Could what runs on another node run here?
    pub fn against(&self, root: &Root, there: &Fingerprint) -> Result<Compared> {
        let unbooted = "--against compares running nodes: an image has no VMs, switch or huge pages";
        let live = self.live.as_ref().context(unbooted)?;
        let here = self.fingerprint(root)?.context(unbooted)?;
        let guests = live.guests.iter().map(|guest| &guest.domain);
        let domains: Vec<&Domain> = guests.chain(&live.defined.domains).collect();
        let coming: Vec<&Domain> = there.vms.iter().map(|vm| &vm.domain).collect();
        let mut subject = Subject::of_node(root, &self.config.socket_directory)?;
        let socket_directory = subject.agreed.as_ref().map(|agreed| agreed.socket_directory.as_path());
        let terms = self.config.hook.incoming.map(|wanted| Terms { wanted, socket_directory });
        let arrivals = arrivals::look(root, live, terms.as_ref(), &coming);
        let configured = subject.configured(root);
        Ok(peer::judge(Ground {
            here: &here,
            there,
            domains: &domains,
            arrivals: &arrivals,
            subject: &mut subject,
            configured,
        }))
    }

    fn case(&self) -> Case<'_> {
        Case {
            accord: &self.accord,
            profile: &self.profile,
            observed: &self.observed,
            live: self.live.as_ref(),
            surroundings: &self.surroundings,
            names: &self.accounts,
        }
    }
}

/// The path units call the program by: itself on the live node, its packaged place in an image.
fn program(root: &Root) -> String {
    // A package that is being upgraded takes the running program away: the kernel then tells "... (deleted)".
    let own = std::env::current_exe().ok().filter(|path| path.exists());
    let own = own.and_then(|path| path.into_os_string().into_string().ok());
    own.filter(|_| root.is_live()).unwrap_or_else(|| paths::PROGRAM.to_string())
}
