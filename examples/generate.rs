// SPDX-License-Identifier: Apache-2.0
//! Writes what packages bring beside the program and what follows from its source: man pages, completions and the
//! commented configuration. Not installed itself, so that the program need not carry it.
//! usage: generate SOURCE TARGET (the checkout, and a directory for the results)

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::roff::{Roff, bold, roman};
use vhost_accord::cli::Cli;
use vhost_accord::config::{DATAPLANE, SECTIONS};

const NAME: &str = "vhost-accord";

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [source, target] = arguments.as_slice() else {
        anyhow::bail!("usage: generate SOURCE TARGET");
    };
    let (source, target) = (Path::new(source), Path::new(target));
    fs::create_dir_all(target)?;
    let section = |name: &str| {
        let path = source.join("packaging/man").join(name);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let write = |name: &str, content: &str| {
        fs::write(target.join(name), content).with_context(|| format!("writing {name}"))
    };
    write("vhost-accord.8", &(program_page()? + &section("program.roff")?))?;
    write("vhost-accord.conf.5", &configuration_page(&section("configuration.roff")?))?;
    write("vhost-accord-hook.7", &section("hook.roff")?)?;
    write("vhost-accord.conf", &vhost_accord::config::commented())?;
    for (shell, name) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), NAME, &mut text);
        write(&format!("completion.{name}"), &String::from_utf8(text)?)?;
    }
    Ok(())
}

/// Every command that people type, with its options.
fn program_page() -> Result<String> {
    let command = Cli::command().disable_help_subcommand(true);
    let man = clap_mangen::Man::new(command.clone()).section("8").date("").manual("System administration");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    let mut page = Roff::new();
    page.control("SH", ["COMMANDS"]);
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        page.control("SS", [format!("{NAME} {}", sub.get_name()).as_str()]);
        page.text([roman(sub.get_about().map(ToString::to_string).unwrap_or_default() + ".")]);
        for argument in sub.get_arguments().filter(|argument| argument.get_id() != "help") {
            let value = argument.get_value_names().filter(|_| argument.get_action().takes_values());
            let value = value.and_then(|names| names.first()).map(ToString::to_string);
            let name = match (argument.get_long(), value) {
                (Some(long), Some(value)) if argument.is_require_equals_set() => {
                    format!("--{long}[={value}]")
                }
                (Some(long), Some(value)) => format!("--{long} {value}"),
                (Some(long), None) => format!("--{long}"),
                (None, value) => value.unwrap_or_else(|| argument.get_id().as_str().to_uppercase()),
            };
            page.control("TP", []);
            page.text([bold(name)]);
            page.text([roman(argument.get_help().map(ToString::to_string).unwrap_or_default() + ".")]);
        }
    }
    Ok(String::from_utf8(text)? + &page.render())
}

/// The keys between the first paragraph and the rest of the hand-written text.
fn configuration_page(text: &str) -> String {
    let mut keys = Roff::new();
    for section in SECTIONS.iter().chain([&DATAPLANE]) {
        keys.control("SS", [format!("[{}]", section.name).as_str()]);
        for key in section.keys {
            keys.control("TP", []);
            keys.text([bold(key.name), roman(format!(" = {}", key.default))]);
            keys.text([roman(format!("{}.", key.meaning))]);
        }
    }
    text.replace(".\\\" KEYS\n", &keys.render())
}
