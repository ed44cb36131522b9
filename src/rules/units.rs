// SPDX-License-Identifier: Apache-2.0
//! Drop-ins and what systemd makes of them.

use super::{Case, Evidence, Level, Rule};
use crate::accord::item::{File, Item};
use crate::facts::state::{Observed, State};
use crate::profile::DROP_IN;
use crate::systemd::UnitFact;

pub const RULES: &[Rule] = &[
    Rule {
        id: "file-missing",
        level: Level::Broken,
        cause: "without it what holds now is lost with the unit's next start, or the next boot",
        check: |case| files(case, |found| !found),
    },
    Rule {
        id: "file-differs",
        level: Level::Broken,
        cause: "someone changed a file of ours: put your own settings into a drop-in of another name",
        check: |case| files(case, |found| found),
    },
    Rule {
        id: "daemon-reload-missing",
        level: Level::Broken,
        cause: "systemd still goes by what it read before the file changed",
        check: reload_missing,
    },
    Rule {
        id: "drop-in-without-effect",
        level: Level::Broken,
        cause: "a later drop-in takes back what ours says",
        check: without_effect,
    },
    Rule {
        id: "unit-masked",
        level: Level::Broken,
        cause: "systemd does not start it, and reads no drop-in of it: what the accord says of it counts for nothing",
        check: masked,
    },
    Rule {
        id: "unit-opens-files",
        level: Level::Advice,
        cause: "a command of the unit gives everybody write: any user may take a guest's network, and the accord's modes are undone at each start",
        check: opens_files,
    },
    Rule {
        id: "rotated-logs-owner",
        level: Level::Broken,
        cause: "after the next rotation the dataplane cannot write its logs: 'vlog/reopen' is refused, silently",
        check: rotated_logs,
    },
    Rule {
        id: "packaged-file-patched",
        level: Level::Broken,
        cause: "patches in packaged files are lost with an update, and some hand the switch's control sockets to QEMU",
        check: patched,
    },
];

fn our_files<'a>(case: &Case<'a>) -> impl Iterator<Item = (&'a File, &'a Observed)> {
    case.observed.iter().filter_map(|change| match &change.item {
        Item::File(file) => Some((file, change)),
        _ => None,
    })
}

fn files(case: &Case<'_>, wanted: fn(bool) -> bool) -> Vec<Evidence> {
    let broken = our_files(case).filter(|(_, change)| !change.holds());
    let there = |change: &Observed| matches!(&change.before, State::File { found: Some(_) });
    broken
        .filter(|(_, change)| wanted(there(change)))
        .map(|(file, change)| {
            let seen = if there(change) { "not what apply wrote, or not root's 0644" } else { "not there" };
            Evidence::applies(file.path.display().to_string(), seen)
        })
        .collect()
}

/// The units whose drop-in of ours is right on disk.
fn right_on_disk<'a>(case: &Case<'a>) -> Vec<(&'a File, &'a UnitFact)> {
    let Some(live) = case.live else { return Vec::new() };
    our_files(case)
        .filter(|(_, change)| change.holds())
        .filter_map(|(file, _)| {
            let unit = live.units.iter().find(|unit| Some(&unit.name) == file.unit.as_ref())?;
            Some((file, unit))
        })
        .collect()
}

fn loaded(file: &File, unit: &UnitFact) -> bool {
    unit.drop_ins.iter().any(|path| path == &file.path)
}

fn reload_missing(case: &Case<'_>) -> Vec<Evidence> {
    right_on_disk(case)
        .into_iter()
        .filter(|(file, unit)| unit.need_daemon_reload || !loaded(file, unit))
        .filter(|(_, unit)| unit.load_state != "masked")
        .map(|(_, unit)| {
            let seen = "changed on disk since systemd read it";
            Evidence::mended_by(unit.name.clone(), seen, "systemctl daemon-reload")
        })
        .collect()
}

fn without_effect(case: &Case<'_>) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    for (file, unit) in right_on_disk(case) {
        if unit.need_daemon_reload || !loaded(file, unit) {
            continue;
        }
        let lost: Vec<&str> = file.content.lines().filter(|line| !has_effect(line, unit)).collect();
        if !lost.is_empty() {
            let others: Vec<String> = unit
                .drop_ins
                .iter()
                .filter(|path| path.file_name().is_some_and(|name| name > std::ffi::OsStr::new(DROP_IN)))
                .map(|path| path.display().to_string())
                .collect();
            let seen = format!("{} is not in force", lost.join(", "));
            let mend = format!("systemctl cat {}; take it back in {}", unit.name, others.join(" or "));
            evidence.push(Evidence::mended_by(unit.name.clone(), seen, mend));
        }
    }
    evidence
}

/// Is one line of our drop-in among the unit's effective properties?
fn has_effect(line: &str, unit: &UnitFact) -> bool {
    let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { return true };
    let command = |commands: &[Vec<String>]| {
        let words: Vec<&str> = value.trim_start_matches(['-', '+']).split(' ').collect();
        commands.iter().any(|argv| argv == &words)
    };
    match key {
        "EnvironmentFile" => unit.environment_files.last().is_some_and(|(path, _)| path.as_os_str() == value),
        "RuntimeDirectory" => unit.runtime_directory.is_empty(),
        "UMask" => Some(unit.umask) == u32::from_str_radix(value, 8).ok(),
        "Group" => unit.group.as_deref() == Some(value),
        "ExecStartPre" => command(&unit.exec_start_pre),
        "ExecStartPost" => command(&unit.exec_start_post),
        // The options of a mount that is there are the kernel's, from when it was mounted.
        _ => true,
    }
}

fn masked(case: &Case<'_>) -> Vec<Evidence> {
    right_on_disk(case)
        .into_iter()
        .filter(|(_, unit)| unit.load_state == "masked")
        .map(|(_, unit)| {
            Evidence::mended_by(unit.name.clone(), "masked", format!("systemctl unmask {}", unit.name))
        })
        .collect()
}

fn opens_files(case: &Case<'_>) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    for unit in case.live.iter().flat_map(|live| &live.units) {
        let commands = unit.exec_start_pre.iter().chain(&unit.exec_start).chain(&unit.exec_start_post);
        for command in commands.filter(|command| opens(command)) {
            let seen = command.join(" ");
            let mend = format!("systemctl cat {}; take the line out where it is", unit.name);
            evidence.push(Evidence::mended_by(unit.name.clone(), seen, mend));
        }
    }
    evidence
}

/// `chmod` with write for others, itself or in a shell's words.
fn opens(command: &[String]) -> bool {
    let words: Vec<&str> = command.iter().flat_map(|word| word.split([' ', ';', '&'])).collect();
    let Some(at) = words.iter().position(|word| *word == "chmod" || word.ends_with("/chmod")) else {
        return false;
    };
    let mode = words[at + 1..].iter().find(|word| !word.starts_with('-'));
    mode.is_some_and(|mode| match u32::from_str_radix(mode, 8) {
        Ok(bits) => bits & 0o002 != 0 && bits & 0o1000 == 0,
        Err(_) => {
            let others = |who: &str| who.is_empty() || who.contains(['o', 'a']);
            mode.split(',').any(|part| {
                part.split_once(['+', '=']).is_some_and(|(who, what)| others(who) && what.contains('w'))
            })
        }
    })
}

fn rotated_logs(case: &Case<'_>) -> Vec<Evidence> {
    let broken = |change: &&Observed| !change.holds();
    let evidence = |change: &Observed| match &change.item {
        Item::LogOwner(logs) => {
            let seen = format!("new logs do not belong to {}", logs.user);
            Some(Evidence::applies(logs.path.display().to_string(), seen))
        }
        _ => None,
    };
    case.observed.iter().filter(broken).filter_map(evidence).collect()
}

fn patched(case: &Case<'_>) -> Vec<Evidence> {
    let broken = |change: &&Observed| matches!(change.item, Item::Unpatch(_)) && !change.holds();
    let evidence = |change: &Observed| {
        let Item::Unpatch(unpatch) = &change.item else { return None };
        let State::File { found: Some(file) } = &change.before else { return None };
        let patches = crate::edit::legacy::find(unpatch.kind, file.content.text());
        let seen: Vec<String> =
            patches.iter().map(|patch| format!("line {}: {}", patch.line, patch.text)).collect();
        Some(Evidence::applies(unpatch.path.display().to_string(), seen.join("; ")))
    };
    case.observed.iter().filter(broken).filter_map(evidence).collect()
}
