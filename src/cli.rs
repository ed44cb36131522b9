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
    Plan(PlanArgs),
    /// Make the node agree; run again at any time
    Apply(ApplyArgs),
    /// Say whether the node agrees now (exit 0: yes, 1: with advice, 2: broken)
    Check(OutputArgs),
    /// Put back exactly what apply found
    Revert(RevertArgs),
    /// Print the configuration that counts, and where each value came from
    Config(OutputArgs),
    /// Show every vhost-user endpoint, the memory and the identity in a domain XML, as the hook sees them
    Inspect(InspectArgs),
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

/// Of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A domain XML, or - for standard input
    pub file: PathBuf,
    /// JSON for programs
    #[arg(long)]
    pub json: bool,
}
