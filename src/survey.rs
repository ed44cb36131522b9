// SPDX-License-Identifier: Apache-2.0
//! One look at the node: configuration, profile, accord, and what is there. Every command begins with it.

use anyhow::{Context, Result};

use crate::accord::{self, Accord, Agreed};
use crate::arrivals;
use crate::base::paths;
use crate::base::root::{NotInReport, Root, told};
use crate::config::{Config, Declared, GidMismatch, PortType, Proposed};
use crate::dataplane::declared;
use crate::dataplane::ovs::modes::Modes;
use crate::facts::Known;
use crate::facts::accounts::Accounts;
use crate::facts::domains::{self, Domain, Domains};
use crate::facts::mounts;
use crate::facts::surroundings::{Running, Surroundings};
use crate::fingerprint::Fingerprint;
use crate::fixes;
use crate::items::{Change, Item};
use crate::journal::{Entry, Journal};
use crate::node::endpoints::Endpoints;
use crate::node::live::{Asked, Live};
use crate::profile::Profile;
use crate::rules::endpoints::{Judged, Matter, follows, judge};
use crate::rules::peer::{self, Compared, Comparison};
use crate::rules::start::Start;
use crate::rules::{self, Case, Finding};
use crate::sockets::{self, grant::Grant};
use crate::systemd::ServiceManager;

/// What a command works with.
#[derive(Debug)]
pub struct Survey {
    /// The configuration.
    pub config: Config,
    /// What `modes = look` found; none where the configuration lists them.
    pub modes: Option<Modes>,
    /// The node by looking.
    pub profile: Profile,
    /// What should hold.
    pub accord: Accord,
    /// What an earlier `apply` left.
    pub journal: Journal,
    /// Every item of the accord with what is there.
    pub observed: Vec<Change>,
    /// What runs; none in an image.
    pub live: Option<Live>,
    /// What sockets of declared dataplanes need.
    pub grants: Vec<Grant>,
    /// What else has a say.
    pub surroundings: Surroundings,
    /// The accounts, for names.
    pub accounts: Accounts,
    /// `apply` for this root.
    apply: String,
}

/// What the command line adds to the configuration.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--with`: a drop-in that may be added.
    pub proposed: Option<Proposed>,
    /// `--renumber`: as `gid-mismatch = renumber`.
    pub renumber: bool,
    /// With `modes = look`, check what `apply` set up, even if the node needs less by now: that is no finding. The next `apply`
    /// undoes what is no longer needed.
    pub settled: bool,
}

impl Survey {
    /// Looks at the node.
    pub fn take(root: &Root, manager: &dyn ServiceManager, options: Options) -> Result<Survey> {
        let mut config = Config::with(root, options.proposed.as_ref())?;
        if options.renumber {
            config.gid_mismatch = GidMismatch::Renumber;
        }
        let journal = Journal::read(root)?;
        let mut accounts = Accounts::read(root)?;
        let group = journal.group.as_ref().filter(|group| group.name == config.group).map(|group| group.gid);
        let agreed = root.report().and_then(|_| Agreed::read(root).ok()?).map(|agreed| agreed.gid);
        let recorded = group.or(agreed);
        let mut profile = Profile::look(root, manager, &accounts, &config, recorded)?;
        declared::keep(&mut profile.declared, &mut profile.problems, &journal.sections, &config);
        let hugetlb = if root.runs() { mounts::hugetlb(root)? } else { Vec::new() };
        let mounted: Vec<_> = hugetlb.iter().map(|mount| mount.path.clone()).collect();
        let program = program(root);
        let ground =
            accord::Ground { profile: &profile, mounted: &mounted, program: &program, image: !root.runs() };
        let declared: Vec<&Declared> = profile.declared.iter().map(|found| &found.declared).collect();
        let read = |config: &Config| -> Result<(Accord, Option<Live>)> {
            let accord = Accord::new(config, &ground)?;
            let libvirt = profile.hypervisor.as_ref().map(|found| found.daemon_unit.as_str());
            let asked = Asked { libvirt, units: accord.units(), declared: declared.clone() };
            let live = root.runs().then(|| Live::read(root, manager, &asked)).transpose()?;
            Ok((accord, live))
        };
        if config.looks && journal.serves() {
            config.modes = PortType::ALL.to_vec();
        }
        let (mut accord, mut live) = read(&config)?;
        let modes = config.looks.then(|| modes(root, &config, &journal, live.as_ref())).transpose()?;
        // Read again, but only before the first apply: afterwards the journal has the modes.
        let differs = |modes: &&Modes| {
            modes.types != config.modes && !(options.settled && modes.types.len() < config.modes.len())
        };
        if let Some(modes) = modes.as_ref().filter(differs) {
            config.modes.clone_from(&modes.types);
            (accord, live) = read(&config)?;
        }
        accounts.announce(&accord.group.name, accord.group.gid);
        let observe = |item: &Item| told(item.observe(root, &accounts)).transpose();
        let observed = accord.items.iter().filter_map(observe).collect::<Result<_>>()?;
        let asked = Asked { units: accord.units(), ..Asked::default() };
        let units = if live.is_none() { asked.units(manager)? } else { Vec::new() };
        let surroundings =
            Surroundings::read(root, &accord.concern(), units, hugetlb, live.as_ref().map(running))?;
        let grants = accord.declared.iter().filter(|_| live.is_some() && root.report().is_none());
        let grants: Result<Vec<Vec<Grant>>> =
            grants.map(|given| sockets::declared::plan(root, given)).collect();
        let grants = grants?.into_iter().flatten().collect();
        let apply = fixes::own("apply", root);
        Ok(Survey {
            config,
            modes,
            profile,
            accord,
            journal,
            observed,
            live,
            grants,
            surroundings,
            accounts,
            apply,
        })
    }

    /// What does not hold and can be changed now.
    pub fn changes(&self) -> Vec<Change> {
        let due = |change: &&Change| !change.holds() && !self.waits_for_stop(change);
        self.observed.iter().filter(due).cloned().collect()
    }

    /// Must the change wait until the running dataplane has stopped?
    fn waits_for_stop(&self, change: &Change) -> bool {
        let Some(live) = self.live.as_ref().filter(|live| self.accord.waits_for_stop(live)) else {
            return false;
        };
        let runs_as = |name: &str| {
            let user = self.accounts.user(name);
            user.is_some_and(|user| {
                live.dataplane.iter().any(|process| process.status.uid.effective == user.uid)
            })
        };
        match change {
            Change::Owner(owner) => owner.item.is_state(),
            Change::User(user) => runs_as(&user.item.name),
            Change::Group(group) => runs_as(&group.item.name),
            _ => false,
        }
    }

    /// What an earlier `apply` made and the accord no longer asks for, last made first.
    pub fn outdated(&self) -> Vec<Entry> {
        let wanted = |entry: &&Entry| {
            let change = &entry.change;
            let asked_for = self.accord.items.iter().any(|item| item.target() == change.target());
            // Conversions are not part of the accord: only `revert` undoes them.
            let by_convert = matches!(change, Change::Conversion(_));
            // An image's files for the first boot stay as well.
            let of_image =
                matches!(change, Change::File(file) if self.live.is_some() && file.item.is_of_image());
            !asked_for && !by_convert && !of_image && !self.waits_for_stop(change)
        };
        self.journal.entries.iter().rev().filter(wanted).cloned().collect()
    }

    /// Does systemd need a reload for any of the units that concern us?
    pub fn reload_overdue(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.units.iter().any(|unit| unit.need_daemon_reload))
    }

    /// Findings about the node itself, without its endpoints: what `apply` is responsible for.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = rules::run(&self.case());
        // What is wrong in an image is fixed there, not on the machine on which the fix is pasted.
        findings.iter_mut().for_each(|finding| finding.fix = finding.fix.replace(fixes::APPLY, &self.apply));
        findings
    }

    /// All findings of `check`, those about endpoints included.
    pub fn judged(&self, root: &Root) -> Result<Judged> {
        let mut findings = self.findings();
        let Some(live) = &self.live else { return Ok(Judged::of(findings)) };
        let endpoints = Endpoints::read(root, live, &self.config.socket_directory)?;
        let start = Start::of_node(root, &self.config)?;
        let configured = start.configured(root);
        let matter = Matter { endpoints: &endpoints, start: &start, configured, named: &findings };
        let mut judged = judge(&self.case(), matter);
        findings.retain(|finding| !follows(&judged.rows, finding));
        // A database that is missing in a report says nothing about the node.
        judged.findings.retain(|finding| finding.id != "switch-unknown" || !NotInReport::says(&finding.seen));
        findings.append(&mut judged.findings);
        judged.findings = findings;
        Ok(judged)
    }

    /// What another node has to know of this one, to which these VMs may come; `None` of an image.
    pub fn fingerprint(&self, root: &Root, coming: &[&Domain]) -> Result<Option<Fingerprint>> {
        let found = self.properties(root)?;
        Ok(found.zip(self.live.as_ref()).map(|(found, live)| found.look_around(root, live, coming)))
    }

    /// The part that is about the setup of the node; reads no directory and no port again.
    pub fn properties(&self, root: &Root) -> Result<Option<Fingerprint>> {
        let agreed = (&self.accord, self.config.hook.incoming);
        let take = |live| Fingerprint::take(root, agreed, live, &self.surroundings.hugetlb, &self.accounts);
        self.live.as_ref().map(take).transpose()
    }

    /// Could what runs on another node run here?
    pub fn against(&self, root: &Root, there: &Fingerprint) -> Result<Compared> {
        let unbooted = "--against compares running nodes: an image has no VMs, switch or huge pages";
        let live = self.live.as_ref().context(unbooted)?;
        let coming: Vec<&Domain> = there.vms.iter().map(|vm| &vm.domain).collect();
        let here = self.fingerprint(root, &coming)?.context(unbooted)?;
        let guests = live.guests.iter().map(|guest| &guest.domain);
        let domains: Vec<&Domain> = guests.chain(&live.defined.domains).collect();
        let mut start = Start::of_node(root, &self.config)?;
        let configured = start.configured(root);
        Ok(peer::judge(Comparison {
            here: &here,
            there,
            domains: &domains,
            arrivals: &arrivals::look(&here, coming),
            start: &mut start,
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

/// What `modes = look` finds. An image has definitions of VMs and a journal, but no OVSDB to ask for ports.
pub fn modes(root: &Root, config: &Config, journal: &Journal, live: Option<&Live>) -> Result<Modes> {
    let (incoming, before) = (config.hook.incoming, journal.serves());
    if let Some(live) = live {
        let found = live.modes(incoming, before);
        // A report does not have the journal, which would say what the last apply found.
        let is_open = live.switch.known().is_none() && found.types != PortType::ALL;
        return match root.report().filter(|_| is_open) {
            Some(report) => Err(report.lacks("the ports of Open vSwitch, by which 'modes = look' decides")),
            None => Ok(found),
        };
    }
    let switch = Known::Unknown("nothing runs in an image".to_string());
    let Domains { domains, broken } = domains::persistent(root)?;
    let broken = broken.first().map(|file| file.path.as_path());
    Ok(Modes::look(&switch, &domains, broken, incoming, before))
}

/// The path units call the program by: itself on the live node, its packaged place in an image.
fn program(root: &Root) -> String {
    // While the package is upgraded, the running program's file is gone: the kernel then says "... (deleted)".
    let own = std::env::current_exe().ok().filter(|path| path.exists());
    let own = own.and_then(|path| path.into_os_string().into_string().ok());
    own.filter(|_| root.is_live()).unwrap_or_else(|| paths::PROGRAM.to_string())
}

/// What of the surroundings runs.
fn running(live: &Live) -> Running<'_> {
    let guest = live.guests.iter().find_map(|guest| guest.process.as_ref());
    Running { units: &live.units, guest: guest.map(|process| process.pid) }
}
