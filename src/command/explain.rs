// SPDX-License-Identifier: Apache-2.0
//! `explain`: the page of a finding, or what logs say.

use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;

use super::Outcome;
use crate::base::root::{Report, Root};
use crate::catalogue::{self, Entry};
use crate::cli::ExplainArgs;
use crate::explain::read::{self, Source};
use crate::explain::{Class, Event, Now, Reading, now};
use crate::report::{self, Style, one_line};
use crate::rules::Finding;
use crate::survey::{Options, Survey};
use crate::systemd;

#[derive(Serialize)]
struct Explained {
    #[serde(flatten)]
    event: Event,
    now: Now,
}

#[derive(Serialize)]
struct Output {
    version: u32,
    sources: Vec<Source>,
    explained: Vec<Explained>,
    unknown: u64,
    examples: Vec<String>,
    dropped: u64,
}

pub fn run(args: &ExplainArgs) -> Result<Outcome> {
    if args.list {
        return list(args.json);
    }
    let pages = pages(args)?;
    if !pages.is_empty() {
        return tell_pages(&pages, args.json);
    }
    let mut reading = Reading::default();
    let sources = sources(args, &mut reading)?;
    reading.finish();
    let Reading { events, unknown, examples, dropped } = reading;
    let explained = join(events, args.sos.as_deref());
    let output = Output { version: 1, sources, explained, unknown, examples, dropped };
    if args.json {
        report::json(&output)?;
    } else {
        report::out(&text(&output));
    }
    let still = |explained: &Explained| matches!(explained.now, Now::StillSo(_));
    Ok(if output.explained.iter().any(still) { Outcome::Waiting } else { Outcome::Fine })
}

/// The findings that were named; none where logs were.
fn pages(args: &ExplainArgs) -> Result<Vec<Entry>> {
    let mut pages = Vec::new();
    for word in &args.what {
        let id = word.to_str().and_then(catalogue::find);
        if id.is_none() && (word.as_os_str() == "-" || word.exists()) {
            continue;
        }
        let Some(entry) = id else {
            let name = report::clean(&word.display().to_string());
            match catalogue::nearest(&name) {
                Some(near) => bail!("{name}: no finding and no file; did you mean {near}?"),
                None => bail!("{name}: no finding and no file (explain --list)"),
            }
        };
        pages.push(entry);
    }
    if !pages.is_empty() && pages.len() != args.what.len() {
        bail!("either findings or logs, not both at once");
    }
    Ok(pages)
}

fn list(json: bool) -> Result<Outcome> {
    let entries = catalogue::entries();
    if json {
        report::json(&entries)?;
        return Ok(Outcome::Fine);
    }
    let row = |entry: &Entry| [entry.id.to_string(), entry.looked_at().to_string(), entry.cause.to_string()];
    report::out(&report::table(&entries.iter().map(row).collect::<Vec<_>>()));
    Ok(Outcome::Fine)
}

fn tell_pages(pages: &[Entry], json: bool) -> Result<Outcome> {
    if json {
        report::json(&pages)?;
    } else {
        report::out(&pages.iter().map(Entry::to_string).collect::<Vec<_>>().join("\n"));
    }
    Ok(Outcome::Fine)
}

fn sources(args: &ExplainArgs, reading: &mut Reading) -> Result<Vec<Source>> {
    if args.what.is_empty() {
        let root = super::open_root_or_report(args.sos.as_deref(), &args.root, false)?;
        let mut sources = read::usual(&root, reading)?;
        if let Some((command, text)) = root.report().and_then(journal) {
            let lines = read::stream(&command, text.as_bytes(), reading)?;
            sources.push(Source { name: command, lines, cut: None });
        }
        if sources.is_empty() {
            bail!("no logs in the usual places; name one, or - for standard input");
        }
        return Ok(sources);
    }
    let source = |path: &std::path::PathBuf, reading: &mut Reading| match path.as_os_str() == "-" {
        true => read::input(std::io::stdin(), reading),
        false => read::file(path, reading),
    };
    args.what.iter().map(|path| source(path, reading)).collect()
}

/// sos asks for the journal again and again: of one boot, of a unit. What tells most is read, so that nothing counts twice.
fn journal(report: &Report) -> Option<(String, String)> {
    let all = report.said("journalctl").into_iter().filter(|(command, _)| !command.contains("--unit"));
    all.max_by_key(|(_, text)| text.len())
}

/// With the running node, or the report, if it may be looked at.
fn join(events: Vec<Event>, sos: Option<&Path>) -> Vec<Explained> {
    let node = look(sos);
    let state = |event: &Event| match &node {
        Ok((root, survey, findings)) => now(root, survey, findings, event),
        Err(error) => Now::Unknown(format!("the node was not looked at: {error:#}")),
    };
    events.into_iter().map(|event| Explained { now: state(&event), event }).collect()
}

fn look(sos: Option<&Path>) -> Result<(Root, Survey, Vec<Finding>)> {
    let root = super::open_root_or_report(sos, Path::new("/"), false)?;
    let manager = systemd::connect(&root)?;
    let survey = Survey::take(&root, manager.as_ref(), Options::default())?;
    drop(manager);
    let findings = survey.judged(&root)?.findings;
    Ok((root, survey, findings))
}

fn text(output: &Output) -> String {
    let mut text = String::new();
    for Explained { event, now } in &output.explained {
        text.push_str(&event_text(event, now));
    }
    if output.dropped > 0 {
        text.push_str(&format!("{} more lines of other failures were left out\n", output.dropped));
    }
    if output.unknown > 0 {
        let (verb, them) = if output.unknown == 1 {
            ("line looks like an error", "is")
        } else {
            ("lines look like errors", "are")
        };
        text.push_str(&format!("{} {verb}, and {them} not known here:\n", output.unknown));
        for line in &output.examples {
            text.push_str(&format!("    {}\n", one_line(line)));
        }
    }
    for source in &output.sources {
        let cut = source.cut.as_ref().map_or(String::new(), |cut| format!(": {cut}"));
        text.push_str(&format!("read: {} ({} lines){cut}\n", one_line(&source.name), source.lines));
    }
    if output.explained.is_empty() {
        text.push_str("Nothing in it is known to keep VMs and dataplane apart.\n");
    }
    text
}

fn event_text(event: &Event, now: &Now) -> String {
    let style = if event.class == Class::Harmless { Style::Dim } else { Style::Bad };
    let subject = event.subject.as_ref().map_or(String::new(), |subject| format!(": {}", one_line(subject)));
    let head = report::colour(style, event.id);
    let mut text = format!("{head} ({}){subject}\n    {}\n", event.class.name(), one_line(&event.line));
    text.push_str(&format!("    seen {}\n", seen(event)));
    text.push_str(&format!("    why: {}\n", one_line(&event.cause)));
    if event.also_security_module {
        text.push_str(
            "    not owner and mode alone: a security module denied the same, see its record here\n",
        );
    }
    let (style, state) = match now {
        Now::StillSo(what) => (Style::Bad, format!("still so: {what}")),
        Now::Agrees(what) => (Style::Good, format!("agrees, the log is older: {what}")),
        Now::Unknown(what) => (Style::Dim, format!("not known: {what}")),
    };
    text.push_str(&format!("    now: {}\n", report::colour(style, &one_line(&state))));
    text.push_str(&format!("    mend: {}\n", event.mend));
    match event.findings.first() {
        Some(id) => text + &format!("    more: vhost-accord explain {id}\n"),
        None => text,
    }
}

fn seen(event: &Event) -> String {
    let times = if event.count == 1 { "once".to_string() } else { format!("{} times", event.count) };
    let when = match (&event.first, &event.last) {
        (Some(first), Some(last)) if first != last => format!(", {first} to {last}"),
        (Some(first), _) => format!(", {first}"),
        _ => String::new(),
    };
    format!("{times}{when}, in {}", one_line(&event.logs.join(", ")))
}
