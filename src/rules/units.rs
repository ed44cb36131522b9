// SPDX-License-Identifier: Apache-2.0
//! Drop-ins and what systemd makes of them.

use std::path::Path;

use super::{Case, Evidence};
use crate::base::paths;
use crate::base::shell;
use crate::dataplane::ovs::legacy;
use crate::facts::surroundings::LaterDropIn;
use crate::fixes::{self, Taken};
use crate::items::{Change, File, Held, Kind as _, Subject};
use crate::systemd::UnitFact;

rules! {
    Broken "file-missing" [Change(|case, change| file(case, change, false))]
        cause: "without this file, the current settings are lost at the next start of the unit, or the next boot",
        effect: "VMs work until the next restart or boot, then fail as before apply",
        see: "systemctl cat ovs-vswitchd",
        fix: "vhost-accord apply",
        source: "systemd.unit(5), tmpfiles.d(5)",
    Broken "file-differs" [Change(|case, change| file(case, change, true))]
        cause: "another program or user changed this file of vhost-accord; put your own settings into a drop-in of another name",
        effect: "the changed settings take effect at the next restart",
        see: "vhost-accord plan",
        fix: "vhost-accord apply; put your own settings into a drop-in of another name",
        source: "systemd.unit(5)",
    Broken "daemon-reload-missing" [Node(reload_missing)]
        cause: "systemd still uses the settings that it read before the file changed",
        effect: "the next restart uses the old settings",
        see: "systemctl show -p NeedDaemonReload ovs-vswitchd",
        fix: "systemctl daemon-reload",
        source: "systemd.unit(5)",
    Broken "drop-in-without-effect" [Node(without_effect)]
        cause: "a later drop-in overrides the drop-in of vhost-accord",
        effect: "at its next start the dataplane uses the settings of another drop-in",
        see: "systemctl cat ovs-vswitchd dev-hugepages.mount; systemctl show ovs-vswitchd",
        fix: "comment the line out in the drop-in that the finding names, then systemctl daemon-reload",
        source: "systemd.unit(5): drop-ins apply in the order of their names",
    Broken "unit-masked" [Node(masked)]
        cause: "systemd does not start a masked unit and reads none of its drop-ins",
        effect: "the dataplane does not start at boot",
        see: "systemctl is-enabled ovs-vswitchd",
        fix: "systemctl unmask UNIT, then vhost-accord apply",
        source: "systemctl(1), mask",
    Advice "unit-opens-files" [Node(opens_files)]
        cause: "a command of the unit makes files writable for all users: any of them can take over a VM's network, and each start undoes the modes that apply set",
        effect: "VMs work; every local user may connect to their sockets, and the accord's modes last until the next start",
        see: "systemctl cat ovs-vswitchd ovsdb-server",
        fix: "take the chmod out of the unit or drop-in; the accord gives QEMU and the switch what they need",
        source: "guides for OVS-DPDK that end with chmod 777",
    Broken "rotated-logs-owner" [Change(rotated_logs)]
        cause: "the dataplane cannot write a log that logrotate creates with this owner: 'vlog/reopen' fails silently",
        effect: "after the first rotation the dataplane's log stays empty; logrotate hides the error",
        see: "cat /etc/logrotate.d/openvswitch*",
        fix: "vhost-accord apply",
        source: "debian openvswitch-switch.logrotate of OVS 3.1",
    Broken "packaged-file-patched" [Change(patched)]
        cause: "an update removes patches in packaged files, and some patches open OVS's control sockets to QEMU",
        effect: "VMs fail again after an update of Open vSwitch",
        see: "dpkg -V openvswitch-switch or rpm -V openvswitch",
        fix: "vhost-accord apply removes the patch and uses drop-ins instead",
        source: "TripleO Newton to Pike, OPNFV Apex first-boot scripts",
}

fn our_files<'a>(case: &Case<'a>) -> impl Iterator<Item = &'a Held<File>> {
    case.observed.iter().filter_map(|change| match change {
        Change::File(held) => Some(held),
        _ => None,
    })
}

fn file(case: &Case<'_>, change: &Change, is_there: bool) -> Option<Evidence> {
    let Change::File(Held { item, before }) = change else { return None };
    let seen = match before {
        Some(_) if follows(case, &item.path) => return None,
        Some(_) => "not what apply wrote, or not root:root 0644",
        None => "missing",
    };
    (before.is_some() == is_there).then(|| Evidence::applies(item.path.display().to_string(), seen))
}

/// Is it another one because a directory is to have another owner? The owner is the finding.
fn follows(case: &Case<'_>, path: &Path) -> bool {
    let of_tmpfiles = path.parent() == Path::new(paths::TMPFILES).parent();
    let is_owner = |change: &Change| matches!(change, Change::Owner(Held { item, before: Some(_) }) if item.subject == Subject::SocketDirectory);
    (of_tmpfiles || path == Path::new(paths::AGREED)) && case.missing().any(is_owner)
}

/// The units whose drop-in of ours is right on disk.
fn right_on_disk<'a>(case: &Case<'a>) -> impl Iterator<Item = (&'a File, &'a UnitFact)> {
    let units = case.live.map_or(&case.surroundings.units, |live| &live.units);
    our_files(case).filter(|held| held.item.holds(&held.before)).filter_map(|Held { item, .. }| {
        let unit = units.iter().find(|unit| Some(&unit.name) == item.unit.as_ref())?;
        Some((item, unit))
    })
}

fn loaded(file: &File, unit: &UnitFact) -> bool {
    unit.drop_ins.iter().any(|path| path == &file.path)
}

fn reload_missing(case: &Case<'_>) -> Vec<Evidence> {
    let is_older = |(file, unit): &(&File, &UnitFact)| {
        unit.load_state != "masked" && (unit.need_daemon_reload || !loaded(file, unit))
    };
    let evidence = |(_, unit): (&File, &UnitFact)| {
        let seen = "changed on disk since systemd read it";
        Evidence::fixed_by(&unit.name, seen, "systemctl daemon-reload")
    };
    right_on_disk(case).filter(is_older).map(evidence).collect()
}

fn without_effect(case: &Case<'_>) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    for (file, unit) in right_on_disk(case) {
        if unit.need_daemon_reload || !loaded(file, unit) {
            continue;
        }
        let later: Vec<&LaterDropIn> =
            case.surroundings.later.iter().filter(|drop_in| drop_in.unit == unit.name).collect();
        let lines = file.content.lines().filter(|line| !line.starts_with('#'));
        let lines = lines.filter_map(|line| line.split_once('='));
        let lost: Vec<Lost<'_>> = lines.filter_map(|line| lost(case, line, unit, &later)).collect();
        if !lost.is_empty() {
            let seen: Vec<&str> = lost.iter().map(|lost| lost.seen.as_str()).collect();
            evidence.push(Evidence::fixed_by(unit.name.clone(), seen.join("; "), fix(unit, &lost)));
        }
    }
    evidence
}

/// A line of ours that is not in force.
struct Lost<'a> {
    seen: String,
    /// The files with the lines that take it back.
    by: Vec<(&'a Path, Taken<'a>)>,
}

/// Takes all of it back at once: nothing else of the files is touched.
fn fix(unit: &UnitFact, lost: &[Lost<'_>]) -> String {
    let mut steps: Vec<String> = Vec::new();
    for (path, taken) in lost.iter().flat_map(|lost| &lost.by) {
        let step = fixes::take_out(&unit.name, path, taken);
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    steps.push("systemctl daemon-reload".to_string());
    steps.join(" && ")
}

/// Where one line of our drop-in is not what systemd goes by: who takes it back.
fn lost<'a>(
    case: &Case<'a>,
    (key, value): (&'a str, &'a str),
    unit: &UnitFact,
    later: &[&'a LaterDropIn],
) -> Option<Lost<'a>> {
    let section = if unit.name.ends_with(".mount") { "Mount" } else { "Service" };
    let values = |drop_in: &LaterDropIn| -> Vec<String> {
        drop_in.text.values(section, key).into_iter().map(str::to_string).collect()
    };
    let variable = (key == "EnvironmentFile").then(|| our_variable(case)).flatten();
    let overrides = |drop_in: &'a LaterDropIn| {
        let sets = |name: &str| drop_in.variables.iter().find(|(other, _)| other == name);
        variable.and_then(|name| sets(name).map(|(_, file)| (file.as_path(), Taken::Variable(name))))
    };
    let in_force = match key {
        // What a mount has that is there is the kernel's, from when it was mounted: the next one goes by the files.
        "Options" => {
            later.iter().rev().find_map(|drop_in| values(drop_in).pop()).is_none_or(|now| now == value)
        }
        _ => has_effect(key, value, unit) && later.iter().all(|drop_in| overrides(drop_in).is_none()),
    };
    if in_force {
        return None;
    }
    // An empty value empties a list; what is added to one later takes nothing from it.
    let adds = matches!(key, "Environment" | "EnvironmentFile" | "ExecStartPre" | "ExecStartPost");
    let assigned = (key == "Environment").then(|| value.split_once('=')).flatten().map(|(name, _)| name);
    let takes_back = |drop_in: &&'a LaterDropIn| {
        let values = values(drop_in);
        let assigns = |name: &&str| values.iter().any(|value| value.contains(&format!("{name}=")));
        let taken = match assigned.filter(assigns) {
            Some(name) => Taken::Assignment(name),
            None if adds => Some(Taken::Reset(key)).filter(|_| values.iter().any(String::is_empty))?,
            None => Some(Taken::Key(key)).filter(|_| !values.is_empty())?,
        };
        Some((drop_in.path.as_path(), taken))
    };
    let of_key = later.iter().filter_map(takes_back);
    let by: Vec<_> = of_key.chain(later.iter().filter_map(|drop_in| overrides(drop_in))).collect();
    let who = match by.last() {
        Some((path, Taken::Variable(name))) => format!("{} sets {name}", path.display()),
        Some((path, _)) => {
            let last = later.iter().rev().find_map(|drop_in| values(drop_in).pop());
            format!("{} has {key}={}", path.display(), last.unwrap_or_default())
        }
        None => "systemd has other settings".to_string(),
    };
    Some(Lost { seen: format!("{key}={value} has no effect: {who}"), by })
}

/// The variable that carries the dataplane's identity.
fn our_variable<'a>(case: &Case<'a>) -> Option<&'a str> {
    let environment = Path::new(paths::DATAPLANE_ENVIRONMENT);
    let Held { item: file, .. } = our_files(case).find(|held| held.item.path == environment)?;
    let line = file.content.lines().find(|line| !line.starts_with('#'))?;
    line.split_once('=').map(|(name, _)| name)
}

/// Is one line of our drop-in among the unit's effective properties?
fn has_effect(key: &str, value: &str, unit: &UnitFact) -> bool {
    let command = |commands: &[Vec<String>]| {
        let words: Vec<&str> = value.trim_start_matches(['-', '+']).split(' ').collect();
        commands.iter().any(|argv| argv == &words)
    };
    match key {
        "Environment" => unit.environment.iter().any(|assignment| assignment == value),
        "EnvironmentFile" => unit.environment_files.iter().any(|(path, _)| path.as_os_str() == value),
        "RuntimeDirectory" => unit.runtime_directory.is_empty(),
        "UMask" => Some(unit.umask) == u32::from_str_radix(value, 8).ok(),
        "Group" => unit.group.as_deref() == Some(value),
        "SocketUser" => unit.socket_user.as_deref() == Some(value),
        "SocketGroup" => unit.socket_group.as_deref() == Some(value),
        "SocketMode" => unit.socket_mode == u32::from_str_radix(value, 8).ok(),
        "ExecStartPre" => command(&unit.exec_start_pre),
        "ExecStartPost" => command(&unit.exec_start_post),
        _ => true,
    }
}

fn masked(case: &Case<'_>) -> Vec<Evidence> {
    let evidence = |(_, unit): (&File, &UnitFact)| {
        let fix = format!("systemctl unmask {}", shell::quote(&unit.name));
        (unit.load_state == "masked").then(|| Evidence::fixed_by(&unit.name, "masked", fix))
    };
    right_on_disk(case).filter_map(evidence).collect()
}

fn opens_files(case: &Case<'_>) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    for unit in case.live.iter().flat_map(|live| &live.units) {
        let commands = unit.exec_start_pre.iter().chain(&unit.exec_start).chain(&unit.exec_start_post);
        for command in commands.filter(|command| opens(command)) {
            let seen = command.join(" ");
            let fix = format!("systemctl cat {}; remove the line where it is", unit.name);
            evidence.push(Evidence::fixed_by(unit.name.clone(), seen, fix));
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

fn rotated_logs(_: &Case<'_>, change: &Change) -> Option<Evidence> {
    let Change::LogOwner(Held { item: logs, .. }) = change else { return None };
    let seen = format!("new logs do not belong to {}", logs.user);
    Some(Evidence::applies(logs.path.display().to_string(), seen))
}

fn patched(_: &Case<'_>, change: &Change) -> Option<Evidence> {
    let Change::Patch(Held { item, before: Some(file) }) = change else { return None };
    let patches = legacy::find(item.of, file.content.text());
    let seen: Vec<String> =
        patches.iter().map(|patch| format!("line {}: {}", patch.line, patch.text)).collect();
    Some(Evidence::applies(item.path.display().to_string(), seen.join("; ")))
}
