// SPDX-License-Identifier: Apache-2.0
//! The program's entry.

use std::process::ExitCode;

use clap::Parser;
use vhost_accord::cli::Cli;
use vhost_accord::{command, logging, report};

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start();
    match command::run(&cli) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            let line = report::clean(&format!("{error:#}")).replace('\n', "; ");
            tracing::error!("{line}");
            report::complain(&format!("vhost-accord: {line}"));
            ExitCode::FAILURE
        }
    }
}
