// SPDX-License-Identifier: Apache-2.0
//! `convert`: VMs and their ports from one port type to the other, at rest.

mod card;
mod inventory;
mod perform;
mod tell;
#[cfg(test)]
mod tests;

use anyhow::{Result, bail};

use super::Outcome;
use crate::change::grant;
use crate::cli::ConvertArgs;
use crate::config::PortType;
use crate::journal::Journal;
use crate::lock::Lock;
use crate::root::Root;
use crate::survey::{Options, Survey};
use crate::systemd;
use inventory::{Inventory, Machine, Verdict};
use tell::{Done, Output};

pub use perform::{finish, start_again};

/// Lists, or turns what it was told to.
pub fn run(args: &ConvertArgs) -> Result<Outcome> {
    let root = super::open_root("/".as_ref(), true)?;
    let acts = (args.all || !args.vms.is_empty()) && !args.dry_run;
    let _lock = acts.then(|| Lock::take(&root)).transpose()?;
    let mut output = Output::default();
    if acts {
        finish(&root)?.into_iter().for_each(|done| output.tell_now(args.json, done));
    }
    let survey = look(&root)?;
    let to = wanted(&survey, args.to.as_deref())?;
    let inventory = Inventory::take(&root, &survey, to)?;
    output.list(&inventory);
    let chosen = choose(&inventory, args)?;
    if !acts {
        return tell::listed(args, &output, &root, &survey, &chosen);
    }
    if let Some(incoming) = survey.config.hook.incoming.filter(|incoming| args.pause && *incoming != to) {
        bail!(
            "--pause restores VMs, and by 'incoming = {incoming}' below [convert] what is restored is turned to that type; \
             set it to keep or {to} first; nothing was converted"
        );
    }
    let waiting = survey.changes();
    if let Some(first) = waiting.first() {
        bail!(
            "{} and other changes wait: run 'vhost-accord apply' first; nothing was converted",
            first.item.target()
        );
    }
    let mut journal = Journal::read(&root)?;
    let mut stop = None;
    for machine in chosen {
        let done = match &stop {
            Some(failed) if machine.verdict() == Verdict::Pause => {
                Done::left(&machine.name, format!("not tried after what happened to VM {failed}"))
            }
            _ => perform::turn(&root, &mut journal, machine, to, args.pause),
        };
        if done.is_failed() {
            stop = Some(machine.name.clone());
        }
        output.tell_now(args.json, done);
    }
    give_sockets(&root, &survey)?;
    output.judge(&root, &look(&root)?)?;
    tell::done(args, &output)
}

fn look(root: &Root) -> Result<Survey> {
    let manager = systemd::connect(root)?;
    let survey = Survey::take(root, manager.as_ref(), Options::default())?;
    if survey.profile.hypervisor.is_none() {
        bail!("no libvirt on this node: there are no VMs to convert (in a container: run it where virsh is)");
    }
    if survey.profile.dataplane.is_none() {
        bail!("no Open vSwitch on this node: there are no ports to convert");
    }
    Ok(survey)
}

/// The type to turn to: only one that the node is made for.
fn wanted(survey: &Survey, to: Option<&str>) -> Result<PortType> {
    let modes = &survey.config.modes;
    let Some(to) = to else {
        return match modes.first() {
            Some(first) => Ok(*first),
            None => bail!("modes names no port type"),
        };
    };
    match PortType::ALL.into_iter().find(|kind| kind.as_str() == to) {
        Some(kind) if modes.contains(&kind) => Ok(kind),
        _ => bail!(
            "{to} is not among the port types of this node; put 'modes = dpdkvhostuserclient dpdkvhostuser' below [accord] \
             into /etc/vhost-accord/vhost-accord.conf, then run 'vhost-accord apply'"
        ),
    }
}

/// The VMs that are meant.
fn choose<'a>(inventory: &'a Inventory, args: &ConvertArgs) -> Result<Vec<&'a Machine>> {
    if args.vms.is_empty() {
        return Ok(inventory.machines.iter().collect());
    }
    let mut chosen: Vec<&Machine> = Vec::new();
    for vm in &args.vms {
        let is_meant = |machine: &&Machine| machine.name == *vm || machine.uuid.as_ref() == Some(vm);
        let Some(machine) = inventory.machines.iter().find(is_meant) else {
            bail!("no VM '{vm}' with a vhost-user network card; 'vhost-accord convert' lists them");
        };
        if !chosen.iter().any(|other| other.name == machine.name) {
            chosen.push(machine);
        }
    }
    Ok(chosen)
}

/// Sockets that ovs-vswitchd has just made are given to QEMU as after its own start.
fn give_sockets(root: &Root, survey: &Survey) -> Result<()> {
    if !survey.config.managed.has("sockets") {
        return Ok(());
    }
    let live = look(root)?.live;
    let sockets = live.as_ref().map(|live| live.sockets.as_slice()).unwrap_or_default();
    let grants = grant::plan(&grant::Giving::of(&survey.accord), sockets);
    grants.iter().try_for_each(|grant| grant::make(root, grant).map(drop))
}
