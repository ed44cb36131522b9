// SPDX-License-Identifier: Apache-2.0
//! The commands: each combines facts, rules and changes, and prints the result.

mod against;
mod apply;
mod blast;
mod boot;
mod check;
mod compare;
mod config;
mod convert;
mod explain;
mod inspect;
mod package;
mod plan;
#[cfg(feature = "probe")]
mod probe;
mod propose;
mod reconnect;
mod restart;
mod revert;
mod service;
mod watch;
mod would_revert;

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::base::root::Root;
use crate::cli::{Cli, Command};
use crate::survey::{Options, Survey};
use crate::systemd;

/// How a command ended, and its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done, or nothing to do.
    Fine = 0,
    /// Works, with advice; or the command could not do its work.
    Advice = 1,
    /// Something is broken, or changes are pending.
    Waiting = 2,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> ExitCode {
        ExitCode::from(outcome as u8)
    }
}

/// Runs what the command line asks for.
pub fn run(cli: &Cli) -> Result<Outcome> {
    match &cli.command {
        Command::Plan(args) => plan::run(args),
        Command::Apply(args) => apply::run(args),
        Command::Check(args) => match &args.against {
            Some(file) => against::run(args, file),
            None => check::run(args),
        },
        Command::Compare(args) => compare::run(args),
        Command::Revert(args) => revert::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Watch(args) => watch::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Config(args) => config::run(args),
        Command::Inspect(args) => inspect::run(args),
        #[cfg(feature = "probe")]
        Command::Probe { json } => probe::run(*json),
        #[cfg(feature = "probe")]
        Command::ProbeChild => crate::probe::serve().map(|()| Outcome::Fine),
        #[cfg(feature = "probe")]
        Command::Demo => crate::demo::run().map(|()| Outcome::Fine),
        #[cfg(feature = "probe")]
        Command::DemoNode => crate::demo::tell().map(|()| Outcome::Fine),
        #[cfg(feature = "probe")]
        Command::DemoQemu { who, arguments } => {
            crate::demo::become_qemu(who, arguments).map(|()| Outcome::Fine)
        }
        Command::Hook { arguments } => std::process::exit(crate::hook::run(arguments)),
        Command::Service { moment, name } => match moment.as_str() {
            "boot" => boot::run(),
            "package-installed" => package::installed(),
            "package-removing" => package::removing(),
            moment => service::run(moment, name.as_deref()),
        },
    }
}

/// Opens the root. The running node needs root, even for reading; every user may read an image.
fn open_root(path: &Path, writes: bool) -> Result<Root> {
    // Helper programs get the path too, and need an absolute one.
    let path = std::path::absolute(path)?;
    let root = Root::open(&path)?;
    if !nix::unistd::geteuid().is_root() && (writes || root.is_live()) {
        bail!("must run as root (sudo vhost-accord ...): it reads and changes files of root");
    }
    // A tree that ostree has committed: deployments get their /etc from its /usr/etc.
    let exists = |path: &str| Ok::<_, anyhow::Error>(root.find_nofollow(Path::new(path))?.is_some());
    if !root.runs() && exists("/usr/etc")? && !exists("/etc")? {
        bail!(
            "{} is an ostree tree that is already committed: it has /usr/etc and no /etc; use --root where the image is built, \
             before the commit, or on a deployment of it",
            path.display()
        );
    }
    Ok(root)
}

/// Takes a survey by the running systemd.
fn survey(root: &Root) -> Result<Survey> {
    Survey::take(root, systemd::connect(root)?.as_ref(), Options::default())
}

/// The same for commands that check and change nothing.
fn settled(root: &Root) -> Result<Survey> {
    let options = Options { settled: true, ..Options::default() };
    Survey::take(root, systemd::connect(root)?.as_ref(), options)
}

/// Opens the report if one is given, else the root. Every user may read a report.
fn open_root_or_report(sos: Option<&Path>, root: &Path, writes: bool) -> Result<Root> {
    match sos {
        Some(report) => Root::open_report(&std::path::absolute(report)?),
        None => open_root(root, writes),
    }
}

/// Lines for what a report lacks.
fn lacking_text(lacking: &[String]) -> String {
    let line = |what: &String| format!("not in the report: {}\n", crate::report::one_line(what));
    lacking.iter().map(line).collect()
}

/// What a command needed and the report does not contain.
fn lacking(root: &Root) -> Vec<String> {
    root.report().map(crate::base::root::Report::lacking).unwrap_or_default()
}

/// Reads a file, or standard input for `-`, of at most so many bytes.
fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>> {
    let context = || format!("reading {}", path.display());
    let file: Box<dyn std::io::Read> = match path == Path::new("-") {
        true => Box::new(std::io::stdin()),
        false => Box::new(std::fs::File::open(path).with_context(context)?),
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).with_context(context)?;
    if bytes.len() as u64 > most {
        bail!("{} is larger than {} MiB", path.display(), most >> 20);
    }
    Ok(bytes)
}
