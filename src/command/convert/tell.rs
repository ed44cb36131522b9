// SPDX-License-Identifier: Apache-2.0
//! What `convert` prints: the list, what was done, and what was not and why.

use anyhow::Result;
use serde::Serialize;

use super::done::Done;
use super::inventory::Machine;
use super::row::{Row, Verdict};
use crate::base::root::Root;
use crate::cli::ConvertArgs;
use crate::command::{Outcome, check, plan};
use crate::config::PortType;
use crate::items::Change;
use crate::items::Side;
use crate::journal::Journal;
use crate::report::{self, Style};
use crate::rules::{Finding, Level};
use crate::survey::Survey;

#[derive(Debug, Default, Serialize)]
pub struct Output {
    to: Option<PortType>,
    cards: Vec<Row>,
    /// VMs that a killed run had stopped.
    interrupted: Vec<String>,
    pub done: Vec<Done>,
    /// Findings of `check` that did not exist before.
    findings: Vec<Finding>,
}

impl Output {
    pub fn list(&mut self, to: PortType, machines: &[Machine], journal: &Journal) {
        self.to = Some(to);
        let pending = journal.entries.iter().filter_map(|entry| entry.pending.as_ref());
        self.interrupted = pending
            .filter_map(|change| match change {
                Change::Conversion(stopped) => Some(stopped.item.name.clone()),
                _ => None,
            })
            .collect();
        self.cards = machines.iter().flat_map(|machine| machine.rows.clone()).collect();
    }

    /// A VM at a time: the next one can take minutes.
    pub fn tell_now(&mut self, json: bool, done: Done) {
        if !json {
            report::out(&done.text());
        }
        self.done.push(done);
    }

    /// Looks again, for what came of it.
    pub fn judge(&mut self, before: &[Finding], after: Vec<Finding>) {
        let had = |new: &Finding| before.iter().any(|old| (old.id, &old.subject) == (new.id, &new.subject));
        self.findings = after.into_iter().filter(|new| !had(new)).collect();
    }
}

/// The list, or the diff of what would be done.
pub fn listed(
    args: &ConvertArgs,
    output: &Output,
    root: &Root,
    survey: &Survey,
    chosen: &[&Machine],
) -> Result<Outcome> {
    if args.json {
        report::json(output)?;
        return Ok(Outcome::Fine);
    }
    if args.dry_run {
        for machine in chosen.iter().filter(|machine| machine.verdict() > Verdict::Blocked) {
            let change = Change::from(super::perform::change(root, machine)?);
            let diff = change.show(&survey.accounts);
            report::out(&plan::coloured(&report::clean(&diff)));
        }
    }
    let shown = |row: &&Row| chosen.iter().any(|machine| machine.name == row.vm);
    output.cards.iter().filter(shown).for_each(|row| report::out(&text(row)));
    for name in &output.interrupted {
        let line = format!(
            "VM {name} was stopped by a 'vhost-accord convert' that was killed; run it again, or 'vhost-accord revert', to start the VM"
        );
        report::out(&format!("{}\n", report::colour(Style::Bad, &report::one_line(&line))));
    }
    report::out(&format!("{}\n", summary(output.to, chosen)));
    Ok(Outcome::Fine)
}

fn summary(to: Option<PortType>, machines: &[&Machine]) -> String {
    let to = to.map(|to| to.to_string()).unwrap_or_default();
    if machines.is_empty() {
        return "No VM has a vhost-user network card.".to_string();
    }
    let count = |verdict| machines.iter().filter(|machine| machine.verdict() == verdict).count();
    let words = [Verdict::Done, Verdict::Ready, Verdict::DefinitionOnly, Verdict::Pause, Verdict::Blocked];
    let counts = counted(words.map(|verdict| (verdict.name(), count(verdict))));
    format!("To {to}: {}: {counts}.", report::count(machines.len(), "VM"))
}

/// The words that count.
fn counted<const N: usize>(words: [(&str, usize); N]) -> String {
    let counted = words.into_iter().filter(|(_, count)| *count > 0);
    counted.map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

/// A card in a few lines.
pub fn text(row: &Row) -> String {
    let style = match row.verdict {
        Verdict::Done | Verdict::Ready | Verdict::DefinitionOnly => Style::Good,
        Verdict::Pause => Style::Advice,
        Verdict::Blocked => Style::Bad,
    };
    let kind = |side: &Option<Side>| side.as_ref().map_or("none".to_string(), |side| side.kind.to_string());
    let (port, made) = row.port.as_ref().map_or(("none", String::new()), |port| {
        let by = if port.made_by == "nova" { " of nova" } else { "" };
        (port.name.as_str(), format!(" {}{by}", port.kind))
    });
    let runs = row.running.as_ref().map(|side| format!(", runs with {}", side.kind)).unwrap_or_default();
    let mac = row.mac.as_deref().unwrap_or("no MAC address");
    let mut text = format!("VM {} ({}), {mac}: ", row.vm, row.state);
    text = report::one_line(&text) + &report::colour(style, row.verdict.name()) + "\n";
    let line = format!("port {port}{made}, definition {}{runs}", kind(&row.definition));
    text.push_str(&format!("  {}\n", report::one_line(&line)));
    if let Some(why) = &row.blocked {
        text.push_str(&format!("  {}\n", report::one_line(why)));
    }
    row.steps.iter().for_each(|step| text.push_str(&format!("    {}\n", report::one_line(step))));
    text
}

/// What was done, and what `check` says of it.
pub fn done(args: &ConvertArgs, output: &Output) -> Result<Outcome> {
    let broken = output.findings.iter().filter(|finding| finding.level == Level::Broken);
    let count = |outcome: &str| output.done.iter().filter(|done| done.outcome == outcome).count();
    let words = ["converted", "finished", "nothing", "left", "failed"];
    if args.json {
        report::json(output)?;
    } else {
        broken.clone().for_each(|finding| report::out(&check::finding_text(finding)));
        let counts = counted(words.map(|word| (word, count(word))));
        report::out(&format!("{}.\n", if counts.is_empty() { "Nothing to convert" } else { &counts }));
    }
    Ok(if count("failed") > 0 || broken.count() > 0 {
        Outcome::Waiting
    } else if count("left") > 0 {
        Outcome::Advice
    } else {
        Outcome::Fine
    })
}
