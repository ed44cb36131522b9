// SPDX-License-Identifier: Apache-2.0
//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Makes a vhost-user dataplane (OVS-DPDK) and QEMU agree on who owns sockets, directories and hugepages.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what apply would change, as a diff (exit 0: nothing, 2: changes waiting)
    Plan(PlanCommandArgs),
    /// Make the node agree; run again at any time
    Apply(ApplyArgs),
    /// Say whether the node agrees now, or another's VMs could come (exit 0: yes, 1: with advice, 2: broken)
    Check(CheckArgs),
    /// Put back exactly what apply found
    Revert(RevertArgs),
    /// List VMs and ports with their types; or turn VMs to the other port type, with their ports
    Convert(ConvertArgs),
    /// Say what a finding means, or what the failures in logs come from and what mends them
    Explain(ExplainArgs),
    /// Print the configuration that counts, and where each value came from
    Config(OutputArgs),
    /// Show every vhost-user endpoint, the memory and the identity in a domain XML, as the hook sees them
    Inspect(InspectArgs),
    /// Try it: children with the real identities meet, share memory and pass a frame (exit codes as check)
    #[cfg(feature = "probe")]
    Probe(ProbeArgs),
    /// A child of probe
    #[cfg(feature = "probe")]
    #[command(hide = true)]
    ProbeChild,
    /// Show the whole story in a throw-away node; changes nothing here
    #[cfg(feature = "probe")]
    Demo,
    /// Inside the node of demo
    #[cfg(feature = "probe")]
    #[command(hide = true)]
    DemoNode,
    /// QEMU inside the node of demo
    #[cfg(feature = "probe")]
    #[command(hide = true)]
    DemoQemu {
        /// Whom to become, in JSON
        who: String,
        /// The program and its arguments
        #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// What libvirt calls, by the name of its link
    #[command(hide = true)]
    Hook {
        /// The guest's name, the operation, the sub-operation, extra
        #[arg(allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// What units and packages call
    #[command(hide = true)]
    Service {
        /// The moment: boot, package-installed, package-removing, dataplane-pre, vswitchd-pre or vswitchd-post
        moment: String,
    },
}

/// Where to look and how to tell.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// An unbooted image instead of the running node
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// JSON for programs
    #[arg(long)]
    pub json: bool,
}

/// Of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Where and how.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Metrics for node_exporter's textfile collector
    #[arg(long, conflicts_with = "json")]
    pub prometheus: bool,
    /// Say instead which VMs of another node could not come here: its `check --json`, - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prometheus", "root"])]
    pub against: Option<PathBuf>,
    /// An unpacked sosreport instead of the running node; what it does not tell is unknown
    #[arg(long, value_name = "DIR", conflicts_with_all = ["root", "prometheus", "against"])]
    pub sos: Option<PathBuf>,
}

/// Of `probe`.
#[cfg(feature = "probe")]
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// JSON for programs
    #[arg(long)]
    pub json: bool,
}

/// Of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Where and how.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Give the shared group its configured number, and all its files with it
    #[arg(long)]
    pub renumber: bool,
}

/// Of `plan` itself.
#[derive(Debug, Args)]
pub struct PlanCommandArgs {
    /// As `apply` has it.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// An unpacked sosreport instead of the running node; what it does not tell is unknown
    #[arg(long, value_name = "DIR", conflicts_with_all = ["root", "renumber"])]
    pub sos: Option<PathBuf>,
}

/// Of `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Where, how and what.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Restart services that wait for it, after listing the VMs that lose network
    #[arg(long)]
    pub restart: bool,
}

/// Of `revert`.
#[derive(Debug, Args)]
pub struct RevertArgs {
    /// Where and how.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Restart the services that were restarted into the accord
    #[arg(long)]
    pub restart: bool,
}

/// Of `convert`.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// The VMs to turn, by name or UUID; none: list what there is
    #[arg(value_name = "VM")]
    pub vms: Vec<String>,
    /// All that can be turned
    #[arg(long, conflicts_with = "vms")]
    pub all: bool,
    /// The port type to turn them to, one of those in modes; the first of them if not given
    #[arg(long, value_name = "TYPE", value_parser = ["dpdkvhostuserclient", "dpdkvhostuser"])]
    pub to: Option<String>,
    /// Running VMs as well: saved, turned and restored; they stand still for seconds and are not started anew
    #[arg(long)]
    pub pause: bool,
    /// Show what would be changed, as a diff; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// List those of an unpacked sosreport instead of the running node's
    #[arg(long, value_name = "DIR", conflicts_with_all = ["vms", "all", "pause", "dry_run"])]
    pub sos: Option<PathBuf>,
    /// JSON for programs
    #[arg(long)]
    pub json: bool,
}

/// Of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A domain XML, or - for standard input; with --sos, a VM of the report, or none for all
    #[arg(required_unless_present = "sos")]
    pub file: Option<PathBuf>,
    /// The VMs of an unpacked sosreport
    #[arg(long, value_name = "DIR")]
    pub sos: Option<PathBuf>,
    /// JSON for programs
    #[arg(long)]
    pub json: bool,
}

/// Of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Findings by their ids; or logs, - for standard input; or nothing for the logs in the usual places
    #[arg(value_name = "ID|LOG")]
    pub what: Vec<PathBuf>,
    /// List every finding there is
    #[arg(long)]
    pub list: bool,
    /// Take the logs of an unbooted image instead of the running node's
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// Take the logs and the state of an unpacked sosreport instead of the running node's
    #[arg(long, value_name = "DIR", conflicts_with = "root")]
    pub sos: Option<PathBuf>,
    /// JSON for programs
    #[arg(long)]
    pub json: bool,
}
