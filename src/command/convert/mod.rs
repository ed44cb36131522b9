// SPDX-License-Identifier: Apache-2.0
//! `convert`: VMs and their ports from one port type to the other, outside of migrations.

mod card;
mod done;
mod ground;
mod inventory;
mod perform;
mod row;
mod tell;
#[cfg(test)]
mod tests;

use anyhow::{Result, bail};

use super::Outcome;
use crate::base::lock::Lock;
use crate::base::root::Root;
use crate::cli::ConvertArgs;
use crate::config::PortType;
use crate::journal::Journal;
use crate::survey::Survey;
use done::Done;
use inventory::Machine;
use perform::{Turning, finish};
use row::Verdict;
use tell::Output;

pub use perform::start_again;

/// Lists VMs, or converts those that were named.
pub fn run(args: &ConvertArgs) -> Result<Outcome> {
    let root = super::open_root_or_report(args.sos.as_deref(), "/".as_ref(), true)?;
    let acts = (args.all || !args.vms.is_empty()) && !args.dry_run;
    let _lock = acts.then(|| Lock::take(&root)).transpose()?;
    let mut output = Output::default();
    if acts {
        finish(&root, || look(&root))?.into_iter().for_each(|done| output.tell_now(args.json, done));
    }
    let survey = look(&root)?;
    let to = wanted(&survey, args.to.as_deref())?;
    let machines = inventory::take(&root, &survey, to)?;
    let journal = Journal::read(&root)?;
    output.list(to, &machines, &journal);
    let chosen = choose(&machines, args)?;
    if args.sos.is_some() && !args.json {
        crate::report::out(&super::lacking_text(&super::lacking(&root)));
    }
    if !acts {
        return tell::listed(args, &output, &root, &survey, &chosen);
    }
    may_begin(&survey, to, args.pause)?;
    let before = survey.judged(&root)?.findings;
    let mut turning =
        Turning { root: &root, survey: &survey, journal, to, pause: args.pause, turn: (0, chosen.len()) };
    turn_all(&mut turning, &chosen, |done| output.tell_now(args.json, done));
    output.judge(&before, look(&root)?.judged(&root)?.findings);
    tell::done(args, &output)
}

/// One after the other. After a failure, no other running VM is stopped.
fn turn_all(turning: &mut Turning<'_>, chosen: &[&Machine], mut tell: impl FnMut(Done)) {
    let mut failed: Option<&str> = None;
    for (number, machine) in chosen.iter().enumerate() {
        turning.turn.0 = number + 1;
        let done = match failed {
            Some(other) if machine.verdict() == Verdict::Pause => {
                Done::left(&machine.name, format!("not tried, because VM {other} failed"))
            }
            _ => turning.turn(machine),
        };
        if done.is_failed() {
            failed = Some(&machine.name);
        }
        tell(done);
    }
}

/// What must be true before anything is converted.
fn may_begin(survey: &Survey, to: PortType, pause: bool) -> Result<()> {
    if let Some(incoming) = survey.config.hook.incoming.filter(|incoming| pause && *incoming != to) {
        bail!(
            "--pause restores VMs, and 'incoming = {incoming}' in [convert] converts restored VMs to that type; set incoming to \
             keep or {to} first; nothing was converted"
        );
    }
    if let Some(first) = survey.changes().first() {
        let first = first.target();
        bail!("{first} and other changes are pending: run 'vhost-accord apply' first; nothing was converted");
    }
    Ok(())
}

fn look(root: &Root) -> Result<Survey> {
    let survey = crate::command::survey(root)?;
    if survey.profile.hypervisor.is_none() {
        bail!("libvirt is not installed on this node; if it runs in a container, run this command there");
    }
    if survey.profile.dataplane.is_none() {
        bail!("Open vSwitch is not installed on this node: there are no ports to convert");
    }
    Ok(survey)
}

/// The type to convert to: one of those in `modes`.
fn wanted(survey: &Survey, to: Option<&str>) -> Result<PortType> {
    let modes = &survey.config.modes;
    let Some(to) = to else {
        return match modes.first() {
            Some(first) => Ok(*first),
            None => bail!("modes has no port type"),
        };
    };
    match PortType::named(to) {
        Some(kind) if modes.contains(&kind) => Ok(kind),
        _ => bail!(
            "{to} is not in modes; set 'modes = dpdkvhostuserclient dpdkvhostuser' in [accord] in \
             /etc/vhost-accord/vhost-accord.conf, then run 'vhost-accord apply'"
        ),
    }
}

fn choose<'a>(machines: &'a [Machine], args: &ConvertArgs) -> Result<Vec<&'a Machine>> {
    if args.vms.is_empty() {
        return Ok(machines.iter().collect());
    }
    let mut chosen: Vec<&Machine> = Vec::new();
    for vm in &args.vms {
        let is_meant = |machine: &&Machine| machine.name == *vm || machine.uuid.as_ref() == Some(vm);
        let Some(machine) = machines.iter().find(is_meant) else {
            bail!("no VM '{vm}' with a vhost-user network card; run 'vhost-accord convert' to list them");
        };
        if !chosen.iter().any(|other| other.name == machine.name) {
            chosen.push(machine);
        }
    }
    Ok(chosen)
}
