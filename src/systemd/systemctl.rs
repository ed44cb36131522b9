// SPDX-License-Identifier: Apache-2.0
//! systemd through `systemctl`, for builds without D-Bus and for nodes whose bus does not answer.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::fact::UnitFact;
use super::{Act, CALL_LIMIT, JOB_LIMIT, ServiceManager, Units, live, words};
use crate::base::program;
use crate::base::root::Root;
use crate::base::time::since_1970;
use crate::edit::unit::UnitText;

const PROPERTIES: &str = "Id,LoadState,ActiveState,UnitFileState,FragmentPath,DropInPaths,NeedDaemonReload,Group,User,UMask,\
    Environment,EnvironmentFiles,RuntimeDirectory,RuntimeDirectoryPreserve,DefaultDependencies,MainPID,ExecStartPre,\
    ExecStart,ExecStartPost,Options,Where,SocketUser,SocketGroup,SocketMode,ActiveEnterTimestamp,StateChangeTimestamp";

/// The command `systemctl`, found by the usual path of programs.
#[derive(Debug, Clone, Copy)]
pub struct Systemctl;

impl Systemctl {
    fn run(&self, arguments: &[&str], limit: Duration) -> Result<String> {
        program::run(Path::new("systemctl"), arguments, limit)
    }

    fn show(&self, name: &str) -> Result<String> {
        // Microseconds where systemctl can (247 and later), seconds before.
        let show =
            |more: &[&str]| self.run(&[more, &["show", "-p", PROPERTIES, "--", name]].concat(), CALL_LIMIT);
        show(&["--timestamp=us"]).or_else(|_| show(&[]))
    }

    fn bring_up(&self, command: &str, name: &str, limit: Duration) -> Result<()> {
        self.run(&[command, "--", name], limit).with_context(|| format!("{name} did not start"))?;
        match self.unit(name)? {
            Some(unit) if unit.is_active() => Ok(()),
            Some(unit) => bail!("{name} did not start: it is {}", unit.active_state),
            None => bail!("unit {name} does not exist"),
        }
    }
}

impl Units for Systemctl {
    fn unit(&self, name: &str) -> Result<Option<UnitFact>> {
        let read = self.show(name).and_then(|text| read_shown(&Root::open(Path::new("/"))?, &text));
        read.with_context(|| format!("reading the unit {name}"))
    }
}

impl ServiceManager for Systemctl {
    fn reload(&self) -> Result<()> {
        self.run(&["daemon-reload"], JOB_LIMIT).map(drop)
    }

    fn act(&self, act: Act, name: &str) -> Result<()> {
        let run = |command: &[&str], limit| self.run(&[command, &["--", name]].concat(), limit).map(drop);
        match act {
            Act::Reload => run(&["reload"], JOB_LIMIT).with_context(|| format!("{name} did not reload")),
            Act::Restart => self.bring_up("restart", name, JOB_LIMIT),
            Act::Start(limit) => self.bring_up("start", name, limit),
            Act::Stop(limit) => run(&["stop"], limit).with_context(|| format!("{name} did not stop")),
            Act::Forgive => run(&["reset-failed"], CALL_LIMIT),
            Act::Kill => run(&["kill", "--signal=KILL"], CALL_LIMIT),
        }
    }
}

/// What systemd shows of a unit and what the unit's files tell better; `None` for a unit that does not exist.
pub(super) fn read_shown(root: &Root, shown: &str) -> Result<Option<UnitFact>> {
    let Some(mut unit) = parse_show(shown)? else { return Ok(None) };
    let written = live::written(root, &unit);
    restore_words(&mut unit, &written);
    live::see_new_drop_ins(root, &mut unit)?;
    Ok(Some(unit))
}

/// Reads the output of `systemctl show`; `None` for a unit that does not exist. The arguments of commands are split at
/// each blank, for it does not tell blanks in them from blanks between them.
fn parse_show(text: &str) -> Result<Option<UnitFact>> {
    let mut properties: HashMap<&str, Vec<&str>> = HashMap::new();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        properties.entry(key).or_default().push(value);
    }
    let values = |key: &str| properties.get(key).map_or(&[][..], Vec::as_slice);
    let value = |key: &str| values(key).first().map_or(String::new(), |value| (*value).to_string());
    match value("LoadState").as_str() {
        "" => bail!("systemctl does not say its LoadState"),
        "not-found" => return Ok(None),
        _ => {}
    }
    let exec = |key: &str| values(key).iter().filter_map(|text| arguments(text)).collect();
    let octal = |key: &str| match value(key) {
        text if text.is_empty() => Ok(None),
        text => u32::from_str_radix(&text, 8).map(Some).with_context(|| format!("reading its {key}")),
    };
    Ok(Some(UnitFact {
        need_daemon_reload: value("NeedDaemonReload") == "yes",
        environment_files: values("EnvironmentFiles")
            .iter()
            .filter_map(|text| environment_file(text))
            .collect(),
        default_dependencies: value("DefaultDependencies") != "no",
        main_pid: value("MainPID").parse().ok().filter(|pid| *pid != 0),
        state_change_timestamp: timestamp(&value("StateChangeTimestamp")),
        active_enter_timestamp: timestamp(&value("ActiveEnterTimestamp")),
        ..UnitFact::of(value, |key| words::split(&value(key)), octal, exec)?
    }))
}

/// `Mon 2026-11-23 17:38:09.271214 UTC`, without the fraction before systemd 247, in microseconds since 1970; `None` for
/// none (`n/a`, empty).
fn timestamp(text: &str) -> Option<u64> {
    let &[_weekday, date, time, "UTC"] = text.split(' ').collect::<Vec<_>>().as_slice() else { return None };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let micros: u64 = format!("{fraction:0<6}").parse().ok()?;
    Some(u64::try_from(since_1970(date, time)?).ok()? * 1_000_000 + micros)
}

/// `/etc/default/x (ignore_errors=yes)`
fn environment_file(text: &str) -> Option<(PathBuf, bool)> {
    let (path, optional) = text.rsplit_once(" (ignore_errors=")?;
    Some((PathBuf::from(path), optional == "yes)"))
}

/// `{ path=/bin/x ; argv[]=/bin/x -y ; ignore_errors=no ; ... }`
fn arguments(text: &str) -> Option<Vec<String>> {
    let (_, rest) = text.split_once(" ; argv[]=")?;
    let (arguments, _) = rest.split_once(" ; ignore_errors=").or_else(|| rest.split_once(" ; flags="))?;
    Some(arguments.split(' ').map(str::to_string).collect())
}

/// Where the unit's files tell which words belong together, and agree otherwise with what systemd said, takes it from them.
fn restore_words(unit: &mut UnitFact, written: &UnitText) {
    let lists = [
        ("ExecStartPre", &mut unit.exec_start_pre),
        ("ExecStart", &mut unit.exec_start),
        ("ExecStartPost", &mut unit.exec_start_post),
    ];
    for (key, shown) in lists {
        let commands: Vec<_> = written.list("Service", key).into_iter().flat_map(words::commands).collect();
        for (shown, command) in shown.iter_mut().zip(commands) {
            if command.join(" ") == shown.join(" ") {
                *shown = command;
            }
        }
    }
}
