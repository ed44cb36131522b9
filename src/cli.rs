// SPDX-License-Identifier: Apache-2.0
//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Gives vhost-user sockets, directories and hugepages the owners and modes that OVS-DPDK and QEMU need.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what apply would change, as a diff (exit 0: nothing to change, 2: changes are pending)
    Plan(PlanCommandArgs),
    /// Set up this node; restarts nothing without --restart, and can be run at any time
    Apply(ApplyArgs),
    /// Check this node; with --against, check whether another node's VMs can migrate here (exit 0: yes, 1: with advice, 2: broken)
    Check(CheckArgs),
    /// Compare any number of nodes: which VMs can migrate where, and which nodes differ (exit codes as check)
    Compare(CompareArgs),
    /// Restore the state before apply and convert; restarts nothing without --restart
    Revert(RevertArgs),
    /// List VMs with their port types, or convert VMs and their ports to the other type
    Convert(ConvertArgs),
    /// Watch this node: grant QEMU access to new sockets, and report or fix changes; run by vhost-accord-watch.service
    Watch(WatchArgs),
    /// Explain a finding, or the known failures in logs: the cause, and the command that fixes it
    Explain(ExplainArgs),
    /// Print the configuration in use, and where each value is set
    Config(OutputArgs),
    /// Show the vhost-user endpoints, memory, user and group in a domain XML, as the hook reads them
    Inspect(InspectArgs),
    /// Test this node for real, without touching running VMs: connect, share memory, pass a frame (exit codes as check)
    #[cfg(feature = "probe")]
    Probe {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// A child process of probe
    #[cfg(feature = "probe")]
    #[command(hide = true)]
    ProbeChild,
    /// Run plan, apply and revert in a temporary node, with two VMs; changes nothing on this machine
    #[cfg(feature = "probe")]
    Demo,
    /// The part of demo inside its node
    #[cfg(feature = "probe")]
    #[command(hide = true)]
    DemoNode,
    /// QEMU inside the node of demo
    #[cfg(feature = "probe")]
    #[command(hide = true)]
    DemoQemu {
        /// User and groups to run as, in JSON
        who: String,
        /// The program and its arguments
        #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// The libvirt hook, started by the name of its link
    #[command(hide = true)]
    Hook {
        /// The guest's name, the operation, the sub-operation, extra
        #[arg(allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// The commands in units and package scripts
    #[command(hide = true)]
    Service {
        /// When: boot, package-installed, package-removing, dataplane-pre, vswitchd-pre, vswitchd-post or declared-post
        moment: String,
        /// Of declared-post: the dataplane, as its section in the configuration is named
        name: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Use the unbooted image in DIR instead of the running node
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub output: OutputArgs,
    /// Print metrics for Prometheus, or write them to FILE for node_exporter's textfile collector; with FILE, exit 0 if the node was checked, whatever was found
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, conflicts_with = "json")]
    pub prometheus: Option<Option<PathBuf>>,
    /// Print one line with performance data, as a plugin for Nagios, Icinga or checkmk; exit with 3 if nothing could be checked
    #[arg(long, conflicts_with_all = ["json", "prometheus", "against", "sos"])]
    pub monitor: bool,
    /// Check which VMs of another node can migrate here; FILE is the output of check --json there (- for standard input)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prometheus", "root"])]
    pub against: Option<PathBuf>,
    /// Read the unpacked sosreport in DIR instead of the running node; what it does not contain is unknown
    #[arg(long, value_name = "DIR", conflicts_with_all = ["root", "prometheus", "against"])]
    pub sos: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Output of vhost-accord check --json, one file for each node
    #[arg(value_name = "FINGERPRINT", required = true)]
    pub files: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Write the result to FILE as a web page as well
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub output: OutputArgs,
    /// Change the number of the shared group to the configured one (gid), and the group of its files
    #[arg(long)]
    pub renumber: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PlanCommandArgs {
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Plan as if FILE were already in /etc/vhost-accord/vhost-accord.conf.d
    #[arg(long, value_name = "FILE", conflicts_with = "sos")]
    pub with: Option<PathBuf>,
    /// Read the unpacked sosreport in DIR instead of the running node; what it does not contain is unknown
    #[arg(long, value_name = "DIR", conflicts_with_all = ["root", "renumber"])]
    pub sos: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Restart the services that need it, after listing the VMs that lose network
    #[arg(long)]
    pub restart: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RevertArgs {
    #[command(flatten)]
    pub output: OutputArgs,
    /// Restart the services again so that they run with their previous identity
    #[arg(long)]
    pub restart: bool,
    /// List what revert would restore; change nothing
    #[arg(long, conflicts_with = "restart")]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The VMs to convert, by name or UUID; without any, list all VMs
    #[arg(value_name = "VM")]
    pub vms: Vec<String>,
    /// Convert all VMs that can be converted
    #[arg(long, conflicts_with = "vms")]
    pub all: bool,
    /// The port type to convert to, one of those in modes (default: the first)
    #[arg(long, value_name = "TYPE", value_parser = ["dpdkvhostuserclient", "dpdkvhostuser"])]
    pub to: Option<String>,
    /// Convert running VMs as well: save, convert and restore them; the guest pauses and does not reboot
    #[arg(long)]
    pub pause: bool,
    /// Show what would change, as a diff; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// List the VMs of the unpacked sosreport in DIR instead of the running node's
    #[arg(long, value_name = "DIR", conflicts_with_all = ["vms", "all", "pause", "dry_run"])]
    pub sos: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Do once what the service does, and print findings as check does (exit codes as check)
    #[arg(long)]
    pub once: bool,
    /// Wait until the running service has nothing pending, at most 60 seconds
    #[arg(long, conflicts_with = "once")]
    pub settle: bool,
    /// Print JSON
    #[arg(long, requires = "once")]
    pub json: bool,
    /// A change that is not to be fixed
    #[arg(long, hide = true, requires = "once", value_name = "TARGET")]
    pub leave: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A domain XML, or - for standard input; with --sos, the name of a VM in the report (default: all)
    #[arg(required_unless_present = "sos")]
    pub file: Option<PathBuf>,
    /// Show the VMs in the unpacked sosreport in DIR
    #[arg(long, value_name = "DIR")]
    pub sos: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Ids of findings, or log files (- for standard input); without any, the node's own logs
    #[arg(value_name = "ID|LOG")]
    pub what: Vec<PathBuf>,
    /// List all findings
    #[arg(long)]
    pub list: bool,
    /// Read the logs of the unbooted image in DIR instead of the running node's
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// Read the logs and the state in the unpacked sosreport in DIR instead of the running node's
    #[arg(long, value_name = "DIR", conflicts_with = "root")]
    pub sos: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
