// SPDX-License-Identifier: Apache-2.0
//! libvirt's hook: libvirt runs it before every start of a VM and waits for it, without a timeout.
//!
//! It may refuse at `prepare`, `start`, `migrate` and `restore` only. Otherwise it exits at once with success: libvirt kills a
//! running guest if the hook fails at `started` or `reconnect`. It starts no process, asks no bus and no name service, and
//! prints nothing to standard output except, last, a domain that it converted.

mod call;
mod convert;
mod count;
mod fix;
pub mod input;
mod ledger;
mod release;

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

pub use call::{is_hook, operation};

use crate::base::abort::{self, Abort};
use crate::base::journald::{self, Priority, log};
use crate::base::privileges;
use crate::base::root::Root;
use crate::base::watchdog::Watchdog;
use crate::config::{Action, Config, HookConfig};
use crate::facts::Known;
use crate::facts::domains::{Domain, parse_domain};
use crate::node::endpoints::start::Facts;
use crate::rules::Finding;
use crate::rules::start::{self, Start, StartCase};
use count::Count;
use ledger::{Ledger, Phase, PutBack};

/// Before the configuration is read.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(2);
/// Time between two looks at a dataplane that is starting.
const PAUSE: Duration = Duration::from_millis(50);
/// The exit code of a refusal.
const REFUSED: i32 = 1;

/// Whether the VM starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The VM starts.
    Start,
    /// It does not: the line for the user who starts it.
    Refuse(String),
}

/// Runs the hook with libvirt's arguments, and returns the exit code. Never panics.
pub fn run(arguments: &[OsString]) -> i32 {
    let begun = Instant::now();
    let operation = operation(arguments);
    if operation.is_none() && !release::is_release(arguments) {
        return 0;
    }
    privileges::give_up();
    let Some(operation) = operation else {
        abort::on_panic(|_| 0);
        let _ = Abort::guard(0).and_then(|_| release::release(begun));
        return 0;
    };
    let name = arguments.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let count = Count::begin(operation, begun);
    guard_panics(&count, &name);
    let checked = check(&count, &name, begun);
    code(checked.unwrap_or_else(|error| failed(&error, &count, &name, &configuration().0)), &count)
}

/// A panic is handled like any other error: the VM is unchecked.
fn guard_panics(count: &Arc<Count>, name: &str) {
    let (name, count) = (name.to_string(), Arc::clone(count));
    abort::on_panic(move |defect| {
        let decision = failed(&anyhow::anyhow!(defect.to_string()), &count, &name, &configuration().0);
        code(decision, &count)
    });
}

/// Prints a refusal for the user who starts the VM, and returns the exit code.
fn code(decision: Decision, count: &Count) -> i32 {
    let code = match decision {
        Decision::Start => 0,
        Decision::Refuse(line) => {
            journald::refuse(&line);
            REFUSED
        }
    };
    count.end(code == REFUSED);
    code
}

/// The check failed.
fn failed(error: &anyhow::Error, count: &Count, name: &str, config: &HookConfig) -> Decision {
    count.failed();
    let what = format!("check-failed: {name}: {error:#}");
    let fields = [
        ("MESSAGE_ID", journald::CHECK_FAILED),
        ("VA_FINDING", "check-failed"),
        ("VA_DOMAIN", name),
        ("VA_OPERATION", count.operation.name()),
    ];
    match config.on_error {
        Action::Warn => {
            log(Priority::Warning, &format!("{what}; the VM starts unchecked"), &fields);
            Decision::Start
        }
        Action::Refuse => {
            log(Priority::Error, &what, &fields);
            Decision::Refuse(format!(
                "vhost-accord: {what}; refused by on-error = refuse; fix: vhost-accord check, or set on-error = warn"
            ))
        }
    }
}

/// Reads the configuration; one that cannot be read is no reason to refuse a VM.
fn configuration() -> (HookConfig, Option<Config>) {
    let read = || Config::read(&Root::open(Path::new("/"))?);
    match read() {
        Ok(config) => (config.hook.clone(), Some(config)),
        Err(error) => {
            log(Priority::Warning, &format!("{error:#}; the hook uses its defaults"), &[]);
            (HookConfig::default(), None)
        }
    }
}

/// The text of the domain, if anything in it may speak vhost-user.
fn read_text(deadline: Instant) -> Result<Option<String>> {
    let mut input = std::fs::File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let xml = input::read(&mut input, deadline)?;
    Ok(input::may_speak_vhost_user(&xml).then_some(xml))
}

/// The domain, if anything in it speaks vhost-user. Call it only with the watchdog running: the parser compares each attribute of
/// an element with all others, and an element in `<metadata>` can have a hundred thousand.
fn parse(xml: &str) -> Result<Option<Domain>> {
    let domain = parse_domain(xml)?;
    Ok((!domain.endpoints.is_empty()).then_some(domain))
}

fn check(count: &Arc<Count>, name: &str, begun: Instant) -> Result<Decision> {
    let abort = Abort::guard(REFUSED)?;
    let Some(xml) = read_text(begun + DEFAULT_DEADLINE)? else { return Ok(Decision::Start) };
    let (config, all) = configuration();
    if config.on_error == Action::Refuse {
        abort.fail();
    }
    let deadline = begun + config.deadline;
    // Before the watchdog: what one thread gives back, the other's processor is told of.
    input::expect_memory(xml.len())?;
    let ledger = Ledger::default();
    let cut_off = {
        let (config, name, ledger, count) =
            (config.clone(), name.to_string(), ledger.clone(), Arc::clone(count));
        Arc::new(move |why: &str| cut_off(why, &count, &name, &config, &ledger))
    };
    let (late, limit) = (Arc::clone(&cut_off), config.deadline.as_secs_f64());
    let _watchdog = Watchdog::start(deadline, move || late(&format!("took longer than {limit:.1} s")))?;
    abort::on_panic(move |defect| cut_off(defect));
    let _put_back = PutBack(ledger.clone());
    let Some(domain) = parse(&xml)? else { return Ok(Decision::Start) };
    count.concerns();
    let operation = count.operation;
    let root = Root::open(Path::new("/"))?;
    let mut start = Start::read(&root, operation, domain).context("reading what was agreed")?;
    if let Some(all) = &all {
        start.configure(all);
    }
    let limit = deadline - Watchdog::GRACE.min(config.deadline / 4);
    let wanted = config.incoming.filter(|_| convert::may_convert(operation));
    let convert = |wanted| convert::convert(&root, &mut start, &xml, (wanted, &ledger), limit);
    let conversion = wanted.map(convert).transpose()?.flatten();
    let (facts, findings) = examine(&root, &start, limit, count)?;
    let decision = decide(&start, &facts, findings, &config);
    Ok(match conversion {
        Some(conversion) => conversion.finish(&start, &ledger, decision),
        None => decision,
    })
}

/// The exit code after the watchdog ended the hook, or after a panic.
fn cut_off(why: &str, count: &Count, name: &str, config: &HookConfig, ledger: &Ledger) -> i32 {
    let decision = match ledger.end() {
        Phase::Done => Decision::Start,
        Phase::Printing => Decision::Refuse(convert::unfinished(name, why)),
        Phase::Turning | Phase::PutBack => failed(&anyhow::anyhow!(why.to_string()), count, name, config),
    };
    code(decision, count)
}

/// Looks, fixes what is ours, and looks again while the dataplane is starting.
fn examine(root: &Root, start: &Start, deadline: Instant, count: &Count) -> Result<(Facts, Vec<Finding>)> {
    let (mut last, mut silent) = (None, false);
    let seconds = start.agreed.as_ref().map_or(&[][..], |agreed| &agreed.seconds);
    // A look at every process takes long on a full node: a quarter of the time is left for it.
    let waited = deadline - deadline.saturating_duration_since(Instant::now()) / 4;
    loop {
        let begun = Instant::now();
        // A database that did not answer in time is not asked again.
        let known = silent.then(|| last.clone()).flatten();
        let mut facts = Facts::look(root, &start.domain, (known, seconds), deadline);
        silent |= facts.switch.known().is_none() && begun.elapsed() > PAUSE;
        // A later look leaves OVSDB less time; if it did not answer now, its earlier answer is used.
        if let (Known::Unknown(_), Some(before)) = (&facts.switch, &last) {
            facts.switch = Known::clone(before);
        }
        if fix::fix(root, start, &facts, count) {
            facts = facts.look_again(root, &start.domain);
        }
        let findings = start::run(&StartCase { start, facts: &facts });
        let starting = facts.is_starting();
        let passing = findings.iter().any(|finding| finding.passing && (starting || finding.foreign));
        if !passing || Instant::now() + PAUSE >= waited {
            return Ok(named(root, start, facts, findings));
        }
        last = Some(facts.switch);
        std::thread::sleep(PAUSE);
    }
}

/// If there are findings, judges again with the other dataplanes of the node known: the socket may belong to one of them.
fn named(root: &Root, start: &Start, mut facts: Facts, findings: Vec<Finding>) -> (Facts, Vec<Finding>) {
    if findings.is_empty() {
        return (facts, findings);
    }
    facts.name_others(root);
    let findings = start::run(&StartCase { start, facts: &facts });
    (facts, findings)
}

fn decide(start: &Start, facts: &Facts, findings: Vec<Finding>, config: &HookConfig) -> Decision {
    for why in facts.unknown() {
        let what = format!("not everything could be checked: {why}");
        start.log(Priority::Warning, &what, &[("VA_FINDING", "unknown")]);
    }
    let refuses = |finding: &Finding| {
        finding.sure && finding.family.is_some_and(|family| config.on_problem(family) == Action::Refuse)
    };
    let refused: Vec<&Finding> = findings.iter().filter(|finding| refuses(finding)).collect();
    for finding in &findings {
        let (priority, id) =
            if refuses(finding) { (Priority::Error, journald::REFUSAL) } else { (Priority::Warning, "") };
        let fields = [
            ("MESSAGE_ID", id),
            ("VA_FINDING", finding.id),
            ("VA_SOCKET", &finding.subject),
            ("VA_FIX", &finding.fix),
        ];
        start.log(priority, &finding.text(), &fields);
    }
    let Some(first) = refused.first() else { return Decision::Start };
    let others: Vec<String> =
        refused.iter().skip(1).map(|finding| format!("{} {}", finding.id, finding.subject)).collect();
    let more = if others.is_empty() { String::new() } else { format!(" (also: {})", others.join(", ")) };
    Decision::Refuse(format!("vhost-accord: {}{more}", first.text()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::start::Operation;

    #[test]
    fn what_may_kill_a_guest_never_fails() {
        for operation in ["started", "stopped", "reconnect", "attach", "future"] {
            assert_eq!(run(&["vm", operation, "begin", "-"].map(OsString::from)), 0);
        }
    }

    /// A panic ends its process, so it happens in a child that runs this test alone.
    #[test]
    fn a_panic_lets_the_vm_start_and_refuses_one_of_half_a_definition() {
        const CHILD: &str = "VHOST_ACCORD_TEST_PANIC";
        if let Ok(phase) = std::env::var(CHILD) {
            let ledger = Ledger::default();
            if phase == "printing" {
                assert!(ledger.begin_to_print());
            }
            abort::on_panic(move |defect| {
                assert!(defect.contains("number 7"), "{defect}");
                let count = Count::begin(Operation::Prepare, Instant::now());
                cut_off(defect, &count, "vm", &HookConfig::default(), &ledger)
            });
            panic!("number {}", 7);
        }
        for (phase, expected) in [("turning", 0), ("printing", REFUSED)] {
            let name = "hook::tests::a_panic_lets_the_vm_start_and_refuses_one_of_half_a_definition";
            let mut run = std::process::Command::new(std::env::current_exe().unwrap());
            let status = run.args(["--exact", name, "--nocapture"]).env(CHILD, phase).status().unwrap();
            assert_eq!(status.code(), Some(expected), "{phase}");
        }
    }
}
