// SPDX-License-Identifier: Apache-2.0
//! The program's entry.

use std::process::ExitCode;

use clap::Parser;
use vhost_accord::base::{abort, logging};
use vhost_accord::cli::Cli;
use vhost_accord::{command, hook, report};

/// The exit code after a defect of ours, as for any Rust program that panics.
const PANICKED: i32 = 101;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    // libvirt waits for its hook, so only what the hook needs is set up.
    if arguments.next().is_some_and(|program| hook::is_hook(&program)) {
        let arguments: Vec<_> = arguments.collect();
        std::process::exit(hook::run(&arguments));
    }
    abort::on_panic(|defect| {
        report::complain(&format!("vhost-accord: {}", report::clean(defect)));
        PANICKED
    });
    let cli = Cli::parse();
    logging::start();
    match command::run(&cli) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            let line = report::clean(&format!("{error:#}")).replace('\n', "; ");
            tracing::error!("{}", report::log_line(&line));
            report::complain(&format!("vhost-accord: {line}"));
            ExitCode::FAILURE
        }
    }
}
